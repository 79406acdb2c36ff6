"""What OTLP answers: export responses, and google.rpc.Status for failures.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from typing import Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from realm_telemetry.otel.otlp.requests import Reading
from realm_telemetry.otel.otlp.signals import Signal
from realm_telemetry.values.details import TRUNCATED

_CODES: Final = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    413: Code.RESOURCE_EXHAUSTED,
    415: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
}


def answer_body(signal: Signal, reading: Reading, *, as_json: bool) -> bytes:
    """Answer a request that was taken; partial_success is set only if there is something to say."""
    message = _remarks(signal, reading)
    if not message:
        return b"{}" if as_json else b""
    response = signal.response()
    partial = response.partial_success  # type: ignore[attr-defined]  # of each of the three
    setattr(partial, signal.rejected, reading.refused + reading.foreign)
    partial.error_message = message
    return _encoded(response, as_json)


def _remarks(signal: Signal, reading: Reading) -> str:
    parts = [signal.why] if reading.refused and signal.why else []
    if reading.foreign:
        parts.append(
            f"{reading.foreign:,} have the id of another event, or of a producer that comes from"
            " elsewhere; they are not stored."
        )
    if reading.problems:
        parts.append(f"Not read: {_listed(reading.problems)}.")
    if reading.unknown:
        parts.append(
            f"Fields that OTLP does not have there were left out: {_listed(reading.unknown)}."
        )
    if reading.cut:
        parts.append(
            f"{reading.cut:,} were over the limits of an event and are stored cut;"
            f" the detail {TRUNCATED} of each says where."
        )
    return " ".join(parts)


def _listed(texts: set[str]) -> str:
    first = [text[:_MAX_CHARS] for text in sorted(texts)[:_MAX_LISTED]]
    more = len(texts) - len(first)
    return "; ".join(first) + (f"; and {more} more" if more else "")


_MAX_LISTED: Final = 5
_MAX_CHARS: Final = 200


def failure_body(status: int, message: str, *, as_json: bool) -> bytes:
    """Answer a request that failed.

    status: HTTP's.
    """
    answer = Status(code=_CODES.get(status, Code.UNKNOWN), message=message)
    if status == 400:
        violation = BadRequest.FieldViolation(field="body", description=message)
        answer.details.add().Pack(BadRequest(field_violations=[violation]))
    return _encoded(answer, as_json)


def _encoded(message: Message, as_json: bool) -> bytes:
    if as_json:
        return MessageToJson(message, indent=None).encode()
    return message.SerializeToString()
