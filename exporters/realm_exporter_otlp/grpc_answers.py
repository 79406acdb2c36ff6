"""What a gRPC error means for the records that were sent.

Source: https://opentelemetry.io/docs/specs/otlp/#failures
"""

from typing import Any, Final
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from realm_exporter_otlp.settings import MAX_SHOWN, WAIT_FOR_A_PERSON_S, Target
from realm_telemetry.delivery.retry_after import MAX_RETRY_AFTER_S
from realm_telemetry.errors import ExportError, PayloadTooLargeError
from realm_telemetry.kinds.line import printable

_HTTP_PORT: Final = 4318

_RETRYABLE: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
# Not the records are at fault here but a setting, and once it is mended they will be taken.
_HEADERS_AT_FAULT: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_ENDPOINT_AT_FAULT: Final = frozenset({"UNIMPLEMENTED", "NOT_FOUND"})
_SIZE_CODES: Final = frozenset({"RESOURCE_EXHAUSTED", "OUT_OF_RANGE"})
_TOO_LARGE_WORDS: Final = ("too large", "too big", "larger than", "exceeds", "message size")


def to_error(target: Target, error: Any) -> ExportError | PayloadTooLargeError:
    """Return what to raise for a `grpc.RpcError`."""
    code = error.code().name
    words = printable(str(error.details() or "")[:MAX_SHOWN])
    message = f"{target.shown} answered {code}{f' ({words})' if words else ''}"
    wait_s = retry_delay_s(error.trailing_metadata())
    if wait_s is None and _is_size(code, words):
        return PayloadTooLargeError(message)
    fix = _fix(target, code)
    if wait_s is None and (code in _HEADERS_AT_FAULT or code in _ENDPOINT_AT_FAULT):
        wait_s = WAIT_FOR_A_PERSON_S
    return ExportError(
        f"{message}. {fix}" if fix else message,
        # A quota that is used up comes back, as it does from HTTP's 429. By the protocol's letter
        # it would only if it said when, and all that is sent meanwhile would be given up.
        retryable=bool(fix) or code in _RETRYABLE or code == "RESOURCE_EXHAUSTED",
        retry_after_s=wait_s,
    )


def retry_delay_s(metadata: Any) -> float | None:
    """Read RetryInfo in a call's trailing metadata; seconds, at most an hour."""
    for key, value in metadata or ():
        try:
            if key == "grpc-status-details-bin":
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        return _seconds(info)
            elif key == "google.rpc.retryinfo-bin":
                return _seconds(RetryInfo.FromString(value))
        except DecodeError:
            continue
    return None


def _seconds(info: RetryInfo) -> float:
    delay_s: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return min(max(delay_s, 0.0), MAX_RETRY_AFTER_S)


def _is_size(code: str, words: str) -> bool:
    """Whether a message was refused for its size: only the words tell it from a quota."""
    return code in _SIZE_CODES and any(each in words.lower() for each in _TOO_LARGE_WORDS)


def _fix(target: Target, code: str) -> str:
    if code in _HEADERS_AT_FAULT:
        return target.headers_fix
    if code in _ENDPOINT_AT_FAULT:
        return f"Set {target.endpoint_setting} to the address of an OTLP receiver that speaks gRPC"
    if code == "UNAVAILABLE":
        return _hint(target)
    return ""


def _hint(target: Target) -> str:
    if urlsplit(target.endpoint).port == _HTTP_PORT:
        return (
            f"Port {_HTTP_PORT} most often speaks HTTP: set options.{target.exporter}.protocol or"
            " OTEL_EXPORTER_OTLP_PROTOCOL to 'http/protobuf', or take port 4317"
        )
    if not target.insecure:
        return (
            f"Does a collector with TLS listen there? Without TLS write http:// before the address,"
            f" or set options.{target.exporter}.insecure or OTEL_EXPORTER_OTLP_INSECURE to true"
        )
    return f"Does a collector listen there? {target.endpoint_setting} says where it is"
