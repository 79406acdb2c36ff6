"""Log records as frames of format 2, and the resource and scope that they refer to.

A record's payload is an array: where it comes from (a reference), then the fields of an OTLP
log record, then what the SDK counted as dropped and whether attributes were encoded exactly. A
control frame before it in the same segment holds what the reference stands for, once.

Values are msgpack, which has no tuple, no integer beyond 64 bits, no text with lone surrogates and,
as msgspec reads it, keys of one type only. Extension types stand for these, so that an exporter
gets a record equal to the one that was logged.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from realm_telemetry.otel.sdk import (
    Context,
    InstrumentationScope,
    LogRecord,
    ReadableLogRecord,
    ReadWriteLogRecord,
    Resource,
    SeverityNumber,
    TraceFlags,
)
from realm_telemetry.values.details import to_json_value

_BIG_INT, _SURROGATES, _TUPLE, _PAIRS = 1, 2, 3, 4
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1

encode: Final = msgspec.msgpack.Encoder().encode

ORIGIN_TYPE: Final = "origin"
MAX_KNOWN_ORIGINS: Final = 1_000
_NO_CONTEXT: Final = Context()
# Not empty, or LogRecord would take the current context.
_ANY_CONTEXT: Final = Context({"realm-record": True})


def exact(value: Any) -> Any:
    """Return a value that encodes to msgpack and comes back equal.

    What is no value of OpenTelemetry's (`AnyValue`) becomes JSON, as in an event.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _int(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return _collection(value)


def _int(value: int) -> Any:
    if _MIN_INT <= value <= _MAX_INT:
        return value
    return msgspec.msgpack.Ext(_BIG_INT, b"%x" % value)


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return msgspec.msgpack.Ext(_SURROGATES, value.encode("utf-8", "surrogatepass"))
    return value


def _collection(value: Any) -> Any:
    if isinstance(value, tuple):
        return msgspec.msgpack.Ext(_TUPLE, encode([exact(item) for item in value]))
    if isinstance(value, Mapping):
        pairs = [(exact(key), exact(item)) for key, item in value.items()]
        if all(type(key) is str for key, _ in pairs):
            return dict(pairs)
        return msgspec.msgpack.Ext(_PAIRS, encode(pairs))
    if isinstance(value, Sequence):
        return [exact(item) for item in value]
    return exact(to_json_value(value))


def decode(data: bytes) -> Any:
    """Read what was encoded.

    Raises msgspec.DecodeError.
    """
    return _decode(data)


def _extension(code: int, data: memoryview) -> Any:
    if code == _BIG_INT:
        return int(bytes(data), 16)
    if code == _SURROGATES:
        return bytes(data).decode("utf-8", "surrogatepass")
    if code == _TUPLE:
        return tuple(_decode(data))
    if code == _PAIRS:
        return {key: item for key, item in _decode(data)}  # noqa: C416 - pairs are lists
    raise msgspec.DecodeError(f"unknown extension {code}")


_decode: Final = msgspec.msgpack.Decoder(ext_hook=_extension).decode


def tuples(value: Any) -> Any:
    """Return a value with tuples for lists at any depth: attributes hold no others."""
    if type(value) is list:
        return tuple(tuples(item) for item in value)
    if type(value) is dict:
        return {key: tuples(item) for key, item in value.items()}
    return value


class RecordOrigin:
    """A resource and a scope.

    reference: stands for it in the frames of records.
    control: payload of the control frame that defines the reference.
    """

    __slots__ = ("control", "reference", "resource", "scope")

    def __init__(self, resource: Resource, scope: InstrumentationScope | None) -> None:
        # Held, so that their ids are theirs alone.
        self.resource = resource
        self.scope = scope
        fields = {
            "resource": [exact(dict(resource.attributes)), resource.schema_url],
            "scope": None if scope is None else _scope_fields(scope),
        }
        self.reference = blake2b(encode(fields), digest_size=8).digest()
        self.control = encode({"type": ORIGIN_TYPE, "reference": self.reference, **fields})


def _scope_fields(scope: InstrumentationScope) -> list[Any]:
    attributes = scope.attributes
    return [
        exact(scope.name),
        exact(scope.version),
        exact(scope.schema_url),
        None if attributes is None else exact(dict(attributes)),
    ]


class Origins:
    """The origins of a process, found by the identity of their parts."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], RecordOrigin] = {}

    def of(self, record: ReadWriteLogRecord) -> RecordOrigin:
        """Return a record's origin."""
        resource, scope = record.resource, record.instrumentation_scope
        origin = self._known.get((id(resource), id(scope)))
        if origin is None or origin.resource is not resource:
            origin = RecordOrigin(resource if resource is not None else Resource.create({}), scope)
            if len(self._known) >= MAX_KNOWN_ORIGINS:
                self._known = {}
            self._known[id(resource), id(scope)] = origin
        return origin


def encode_record(record: ReadWriteLogRecord, origin: RecordOrigin) -> bytes:
    """Encode a log record as the payload of a frame."""
    log_record = record.log_record
    body, attributes = log_record.body, _plain(log_record.attributes)
    dropped = record.dropped_attributes
    if body is None or type(body) is str:
        try:
            return encode(_fields(log_record, origin, body, attributes, dropped, False))
        except (TypeError, ValueError, OverflowError):
            pass  # something that plain msgpack has not got
    return encode(_fields(log_record, origin, exact(body), exact(attributes), dropped, True))


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any] | None:
    # The SDK's mapping takes its lock for each look-up; its copy is one plain dict.
    copy = getattr(attributes, "copy", None)
    if copy is not None:
        return copy()  # type: ignore[no-any-return]  # of a mapping
    return None if attributes is None else dict(attributes)


def _fields(
    record: LogRecord,
    origin: RecordOrigin,
    body: Any,
    attributes: Any,
    dropped: int,
    exactly: bool,
) -> tuple[Any, ...]:
    trace_id, number = record.trace_id, record.severity_number
    event_name, text, flags = record.event_name, record.severity_text, record.trace_flags
    return (
        origin.reference,
        record.timestamp,
        record.observed_timestamp,
        None if trace_id is None else trace_id.to_bytes(16, "big"),
        record.span_id,
        None if flags is None else int(flags),
        None if number is None else getattr(number, "value", number),
        exact(text) if exactly else text,
        body,
        attributes,
        exact(event_name) if exactly else event_name,
        dropped,
        exactly,
    )


class KeptLogRecord(ReadableLogRecord):
    """A record out of a spool: its attributes are within limits and a plain dict."""

    @property
    def dropped_attributes(self) -> int:
        """How many attributes the SDK dropped before."""
        return int(self.__dict__.get("_dropped", 0))


def decode_record(payload: bytes, origins: Mapping[bytes, RecordOrigin]) -> KeptLogRecord:
    """Read the payload of a record's frame.

    Raises ValueError (msgspec's errors are some), TypeError or KeyError for what is none.
    """
    (
        reference, timestamp, observed, trace_id, span_id, flags, number, text,
        body, attributes, event_name, dropped, exactly,
    ) = decode(payload)  # fmt: skip
    record = LogRecord(
        timestamp=timestamp,
        observed_timestamp=observed or 0,
        context=_ANY_CONTEXT,
        severity_number=None if number is None else SeverityNumber(number),
        severity_text=text,
        body=body,
        attributes=attributes if exactly else tuples(attributes),
        event_name=event_name,
    )
    record.observed_timestamp = observed
    record.context = _NO_CONTEXT
    # The constructor takes 0 for "not given", and None means unknown.
    record.trace_id = int.from_bytes(trace_id, "big") if trace_id is not None else None  # type: ignore[assignment]
    record.span_id = span_id
    record.trace_flags = TraceFlags(flags) if flags is not None else None  # type: ignore[assignment]
    origin = origins[reference]
    kept = KeptLogRecord(record, origin.resource, origin.scope)
    kept.__dict__["_dropped"] = dropped  # the class is a frozen dataclass
    return kept


def decode_origin(payload: bytes) -> tuple[bytes, RecordOrigin] | None:
    """Read a control frame's payload: what a reference stands for; None for another frame.

    Raises ValueError, TypeError or KeyError for what is no control frame.
    """
    fields = decode(payload)
    if fields["type"] != ORIGIN_TYPE:
        return None
    attributes, schema_url = fields["resource"]
    scope = fields["scope"]
    resource = Resource(attributes, schema_url)
    return fields["reference"], RecordOrigin(resource, scope and InstrumentationScope(*scope))
