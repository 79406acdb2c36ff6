"""What an HTTP answer that is no success means for the records that were sent.

Source: https://opentelemetry.io/docs/specs/otlp/#failures-1
"""

import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import requests
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from realm_exporter_otlp.settings import MAX_SHOWN, WAIT_FOR_A_PERSON_S, Target
from realm_telemetry.delivery.retry_after import retry_after_s
from realm_telemetry.errors import ExportError
from realm_telemetry.kinds.line import printable

_GRPC_PORT: Final = 4317

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
# Not the records are at fault here but a setting, and once it is mended they will be taken; by the
# protocol's letter they would be given up.
_ENDPOINT_AT_FAULT: Final = frozenset({301, 302, 303, 307, 308, 404, 405, 421})
_HEADERS_AT_FAULT: Final = frozenset({401, 403, 407})
_FORMAT_AT_FAULT: Final = frozenset({415})


def to_error(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> ExportError:
    """Return the ExportError for a status that is not 2xx."""
    fix = _fix(target, status)
    wait_s = retry_after_s(headers.get("retry-after"), time.time())
    if wait_s is None and fix:
        wait_s = WAIT_FOR_A_PERSON_S
    words = _words(headers.get("content-type", ""), body)
    message = f"{target.shown} answered {status}{f' ({words})' if words else ''}"
    return ExportError(
        f"{message}. {fix}" if fix else message,
        retryable=bool(fix) or status in _RETRYABLE,
        retry_after_s=wait_s,
    )


def unreachable(target: Target, error: requests.RequestException) -> ExportError:
    """Return the ExportError for a request without an answer."""
    return ExportError(
        f"{target.shown}: {_describe(target, error)}. {_hint(target)}", retryable=True
    )


def nonsense(target: Target) -> ExportError:
    """Return the ExportError for a success that no OTLP receiver says."""
    return ExportError(
        f"{target.shown} answered something that no OTLP receiver says. Check"
        f" {target.endpoint_setting}, and what stands between",
        retryable=True,
    )


def _fix(target: Target, status: int) -> str:
    if status in _ENDPOINT_AT_FAULT:
        path = f"/v1/{target.signal}"
        return (
            f"Set {target.endpoint_setting} to the address of an OTLP receiver: over HTTP its"
            f" path, most often {path}, is added, but not to signal_endpoint or"
            f" OTEL_EXPORTER_OTLP_{target.signal.upper()}_ENDPOINT"
        )
    if status in _HEADERS_AT_FAULT:
        return target.headers_fix
    if status in _FORMAT_AT_FAULT:
        return f"Set options.{target.exporter}.compression to 'none', or protocol to another one"
    return ""


def _hint(target: Target) -> str:
    if urlsplit(target.endpoint).port == _GRPC_PORT:
        return (
            f"Port {_GRPC_PORT} most often speaks gRPC: set options.{target.exporter}.protocol or"
            " OTEL_EXPORTER_OTLP_PROTOCOL to 'grpc', or take port 4318"
        )
    return f"Does a collector listen there? {target.endpoint_setting} says where it is"


def _describe(target: Target, error: requests.RequestException) -> str:
    """Say it in few words; those of the library hold addresses of objects and of retries."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS failed ({_cause(error)}); options.{target.exporter}.certificate may help"
    if isinstance(error, requests.ConnectTimeout):
        return "no connection within the time for it"
    if isinstance(error, requests.Timeout):
        return f"no answer within {target.timeout_s:g} s"
    return _cause(error)


def _cause(error: BaseException) -> str:
    """The innermost reason, such as `Connection refused`."""
    reason: BaseException = error
    for _ in range(20):
        inner = getattr(reason, "reason", None) or (reason.args[0] if reason.args else None)
        if isinstance(inner, BaseException):
            reason = inner
            continue
        deeper = reason.__cause__ or reason.__context__
        if deeper is None or (isinstance(reason, OSError) and reason.strerror):
            break
        reason = deeper
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return printable(str(text)[:MAX_SHOWN])


def _words(content_type: str, body: bytes) -> str:
    """The receiver's own words: a google.rpc.Status, or text."""
    if content_type.startswith("application/x-protobuf"):
        try:
            return printable(Status.FromString(body).message[:MAX_SHOWN])
        except DecodeError:
            return ""
    return printable(body[:MAX_SHOWN].decode("utf-8", "replace").strip())
