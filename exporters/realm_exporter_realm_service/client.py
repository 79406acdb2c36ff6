"""The HTTP client of one RealmService: every wait is bounded, every answer is checked."""

import gzip
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from realm_telemetry.delivery.addresses import ELSEWHERE
from realm_telemetry.delivery.http import (
    BUSY,
    MAX_SHOWN,
    SERVER_ERRORS,
    Answers,
    Reply,
    UnreachableError,
    asked_wait,
    is_loopback,
)
from realm_telemetry.delivery.http_client import HttpClient, host_of
from realm_telemetry.errors import ConfigError, ExportError, PayloadTooLargeError
from realm_telemetry.event import InvalidEventError
from realm_telemetry.kinds.line import printable
from realm_telemetry.wire import CONTENT_TYPE, BatchAnswer, decode_answer

EVENTS_PATH: Final = "/api/v1/events"
HEALTH_PATH: Final = "/health"
COMPRESSIONS: Final = ("auto", "zstd", "gzip", "none")

_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_WORTH_COMPRESSING: Final = 1024

_URL_FIX: Final = "Set service_url (REALM_SERVICE_URL) to the address of a RealmService."
_TOKEN_FIX: Final = "Set token (REALM_TOKEN) to the one that service was started with"
_ANSWERS: Final = Answers(
    BUSY | SERVER_ERRORS,
    {
        **dict.fromkeys((301, 302, 307, 308, 404, 405, 421), _URL_FIX),
        401: f"{_TOKEN_FIX}.",
        403: f"{_TOKEN_FIX}, and service_url to a host name that it allows.",
        407: "Set HTTPS_PROXY with its user and password, or NO_PROXY for this host.",
    },
)


class AwayError(ExportError):
    """This service is not there, or has no log just now; another one of the same log may have."""


class ErrorBody(msgspec.Struct):
    """The service's own words, from its catalogue of errors."""

    message: str = ""
    hint: str = ""


def _words(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return printable(body[:MAX_SHOWN].decode("utf-8", "replace").strip())
    return printable(f"{found.message} {found.hint}".strip()[:MAX_SHOWN])


class _Health(msgspec.Struct):
    log_id: str | None = None


class ServiceClient:
    """Speaks to one RealmService; used by one thread at a time.

    connect_timeout_s, timeout_s: until it is connected; for a whole request.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        compression: str = "auto",
        connect_timeout_s: float = 2.0,
        timeout_s: float = 10.0,
        clock: Any = time,
    ) -> None:
        """Opens no connection. Raises ConfigError."""
        self.url = url.rstrip("/")
        self.token = token
        loopback = is_loopback(_checked_host(self.url))
        self._clock = clock
        self._encoding = _choose_encoding(compression, loopback)
        self._http = HttpClient(
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            max_answer_bytes=_MAX_ANSWER_BYTES,
            proxies=not loopback,
        )
        self._access = _headers(token)

    def log_id(self) -> str | None:
        """Ask which log the service serves; None if it does not say.

        Raises ExportError.
        """
        answer = self._request("GET", HEALTH_PATH)
        if answer.status != 200:
            raise self._error(HEALTH_PATH, answer)
        try:
            return msgspec.json.decode(answer.body, type=_Health).log_id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._nonsense(HEALTH_PATH) from error

    def send(self, batch: bytes) -> BatchAnswer:
        """Send an EventBatch.

        Raises PayloadTooLargeError if the service says so, else ExportError.
        """
        answer = self._post(batch)
        if answer.status == 415 and self._encoding == "zstd":
            self._encoding = "gzip"  # the service has no zstandard installed
            answer = self._post(batch)
        if answer.status == 413:
            raise PayloadTooLargeError(f"{self.url} does not take {len(batch):,} bytes at once")
        if answer.status != 200:
            raise self._error(EVENTS_PATH, answer)
        try:
            if not answer.headers.get("content-type", "").startswith(CONTENT_TYPE):
                raise self._nonsense(EVENTS_PATH)
            return decode_answer(answer.body)
        except InvalidEventError as error:
            raise self._nonsense(EVENTS_PATH) from error

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        self._http.close()

    def _post(self, batch: bytes) -> Reply:
        headers = {"Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE}
        if self._encoding != "identity" and len(batch) >= _WORTH_COMPRESSING:
            headers["Content-Encoding"] = self._encoding
            batch = _COMPRESSORS[self._encoding](batch)
        return self._request("POST", EVENTS_PATH, batch, headers)

    def _request(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        try:
            reply = self._http.request(
                method, self.url + path, content, {**self._access, **(headers or {})}
            )
        except UnreachableError as error:
            raise AwayError(
                f"{self.url}{path}: {error}. Is a RealmService running there"
                " (`realm serve`)? service_url (REALM_SERVICE_URL) says where it is",
                retryable=True,
            ) from error
        if not reply.whole:
            raise self._nonsense(path)
        return reply

    def _error(self, path: str, reply: Reply) -> ExportError:
        wait_s = asked_wait(reply, self._clock.time()).wait_s
        found = _ANSWERS.error(self.url + path, reply.status, _words(reply.body), wait_s)
        if reply.status not in ELSEWHERE:
            return found
        return AwayError(str(found), retryable=True, retry_after_s=found.retry_after_s)

    def _nonsense(self, path: str) -> ExportError:
        return ExportError(
            f"{self.url}{path} answered something that no RealmService says."
            " Check service_url (REALM_SERVICE_URL), and what stands between",
            retryable=True,
        )


def _checked_host(url: str) -> str:
    host = host_of(url)
    if host is None:
        raise ConfigError(
            "service_url", f"{url!r} is not an address", "Write it like http://127.0.0.1:8866"
        )
    return host


def _headers(token: str | None) -> dict[str, str]:
    if not token:
        return {}
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(
            "token", "has characters that no header can carry", "Use letters and digits."
        )
    return {"Authorization": f"Bearer {token}"}


def _choose_encoding(compression: str, loopback: bool) -> str:
    if compression == "none" or (compression == "auto" and loopback):
        return "identity"
    if compression == "gzip":
        return "gzip"
    try:
        import zstandard  # noqa: F401 - only whether it is there
    except ModuleNotFoundError:
        if compression == "zstd":
            raise ConfigError(
                "options.realm_service.compression",
                "zstd needs the module zstandard",
                "pip install 'realm-telemetry[service]'",
            ) from None
        return "gzip"
    return "zstd"


def _zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=1).compress(data)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1)


_COMPRESSORS: Final[dict[str, Callable[[bytes], bytes]]] = {"gzip": _gzip, "zstd": _zstd}
