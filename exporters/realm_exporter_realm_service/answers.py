"""What an answer that is not a BatchAnswer means for the events that were sent."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from realm_telemetry.delivery.retry_after import retry_after_s
from realm_telemetry.errors import ExportError
from realm_telemetry.kinds.line import printable

_WAIT_FOR_A_PERSON_S: Final = 30.0
_MAX_SHOWN: Final = 300

_URL_FIX: Final = "Set service_url (REALM_SERVICE_URL) to the address of a RealmService"
_TOKEN_FIX: Final = "Set token (REALM_TOKEN) to the one that service was started with"

# Not the events are at fault here but a setting, and once it is mended they will be taken.
_SETTINGS_AT_FAULT: Final = {
    301: _URL_FIX,
    302: _URL_FIX,
    307: _URL_FIX,
    308: _URL_FIX,
    401: _TOKEN_FIX,
    403: f"{_TOKEN_FIX}, and service_url to a host name that it allows",
    404: _URL_FIX,
    405: _URL_FIX,
    407: "Set HTTPS_PROXY with its user and password, or NO_PROXY for this host",
    421: _URL_FIX,
}
_BUSY: Final = frozenset({408, 425, 429})


class ErrorBody(msgspec.Struct):
    """The service's own words, from its catalogue of errors."""

    message: str = ""
    hint: str = ""


def to_error(
    url: str, status: int, headers: Mapping[str, str], body: bytes, now: Callable[[], float]
) -> ExportError:
    """Return the ExportError for a status that is not 200.

    now: wall clock in seconds, for a Retry-After that is a date.
    """
    fix = _SETTINGS_AT_FAULT.get(status)
    wait_s = retry_after_s(headers.get("retry-after"), now())
    if wait_s is None and fix:
        wait_s = _WAIT_FOR_A_PERSON_S
    words = _words(body)
    message = f"{url} answered {status}{f' ({words})' if words else ''}"
    retryable = bool(fix) or status in _BUSY or status >= 500
    return ExportError(
        f"{message}. {fix}." if fix else message, retryable=retryable, retry_after_s=wait_s
    )


def _words(body: bytes) -> str:
    try:
        said = msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return printable(body[:_MAX_SHOWN].decode("utf-8", "replace").strip())
    return printable(f"{said.message} {said.hint}".strip()[:_MAX_SHOWN])
