"""OTLP requests in JSON: protobuf's JSON mapping with OTLP's deviations.

Ids are hex, 64-bit integers are strings or numbers, enums are numbers only. Unknown fields are
ignored, null counts as missing, keys are lowerCamelCase only.
Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import InvalidEventError
from realm_telemetry.otel.attributes import PlainRecord
from realm_telemetry.otel.otlp.parts import (
    KEPT_ITEMS,
    MAX_DEPTH,
    Entries,
    Group,
    Item,
    ScopeFields,
    too_deep,
)
from realm_telemetry.otel.otlp.records import (
    record_of,
    resource_fields,
    scope_fields,
    span_event,
    span_item,
)
from realm_telemetry.values.json_text import read_json

Number = int | float | str | None
"""As JSON may have it; `_integer` reads it."""


class Message(msgspec.Struct, rename="camel"):
    """A message: null is as good as missing, and unknown fields are passed over."""


class AnyValue(Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Number = None
    double_value: float | str | None = None
    array_value: "ArrayValue | None" = None
    kvlist_value: "KeyValueList | None" = None
    bytes_value: str | None = None


class ArrayValue(Message):
    values: list[AnyValue] | None = None


class KeyValue(Message):
    key: str | None = None
    value: AnyValue | None = None


class KeyValueList(Message):
    values: list[KeyValue] | None = None


class Attributed(Message):
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Number = None


class ScopeShape(Attributed):
    name: str | None = None
    version: str | None = None


class ScopeItems(Message):
    """ScopeLogs, ScopeSpans or ScopeMetrics; the items are read one at a time."""

    scope: ScopeShape | None = None
    schema_url: str | None = None
    log_records: list[msgspec.Raw] | None = None
    spans: list[msgspec.Raw] | None = None
    metrics: list[msgspec.Raw] | None = None


class ResourceItems(Message):
    resource: Attributed | None = None
    schema_url: str | None = None
    scope_logs: list[ScopeItems] | None = None
    scope_spans: list[ScopeItems] | None = None
    scope_metrics: list[ScopeItems] | None = None


class Request(Message):
    resource_logs: list[ResourceItems] | None = None
    resource_spans: list[ResourceItems] | None = None
    resource_metrics: list[ResourceItems] | None = None


class LogRecord(Attributed):
    time_unix_nano: Number = None
    observed_time_unix_nano: Number = None
    severity_number: int | None = None
    severity_text: str | None = None
    body: AnyValue | None = None
    flags: Number = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str | None = None


class SpanEvent(Attributed):
    time_unix_nano: Number = None
    name: str | None = None


class Span(Message):
    trace_id: str | None = None
    span_id: str | None = None
    name: str | None = None
    flags: Number = None
    events: list[SpanEvent] | None = None


class Points(Message):
    data_points: list[msgspec.Raw] | None = None


class Metric(Message):
    gauge: Points | None = None
    sum: Points | None = None
    histogram: Points | None = None
    exponential_histogram: Points | None = None
    summary: Points | None = None


REQUEST: Final = msgspec.json.Decoder(Request)
LOG_RECORD: Final = msgspec.json.Decoder(LogRecord)
SPAN: Final = msgspec.json.Decoder(Span)
METRIC: Final = msgspec.json.Decoder(Metric)


T = TypeVar("T")

ReadItem = Callable[[msgspec.Raw], Item]

VALUES_PER_ENTRY: Final = 200
"""JSON values a request may have for each entry it may have, on average."""


class Names(NamedTuple):
    """What a signal calls its resources, scopes and items."""

    resources: str
    scopes: str
    items: str


def groups(data: bytes, entries: Entries, names: Names, read_item: ReadItem) -> Iterator[Group]:
    """Take a request apart.

    Raises InvalidEventError for what is no such request, PayloadTooLargeError.
    """
    _check_values(data, entries)
    for resource in getattr(_decode(REQUEST, data), names.resources) or ():
        entries.count()
        given = resource.resource or Attributed()
        whole = resource_fields(
            _attributes(given.attributes),
            _integer(given.dropped_attributes_count, _UINT32),
            resource.schema_url or "",
        )
        for scope in getattr(resource, names.scopes) or ():
            entries.count()
            raw = getattr(scope, names.items) or []
            entries.count(len(raw))
            yield Group(whole, _scope_fields(scope), map(read_item, raw))


def _scope_fields(group: ScopeItems) -> ScopeFields:
    scope = group.scope or ScopeShape()
    return scope_fields(
        scope.name or "",
        scope.version or "",
        _attributes(scope.attributes),
        _integer(scope.dropped_attributes_count, _UINT32),
        group.schema_url or "",
    )


def log_record(raw: msgspec.Raw) -> Item:
    """Read a LogRecord."""
    one = _decode(LOG_RECORD, raw)
    record = record_of(
        _integer(one.time_unix_nano, _UINT64),
        _integer(one.observed_time_unix_nano, _UINT64),
        _attributes(one.attributes),
        _id(one.trace_id),
        _id(one.span_id),
        _integer(one.flags, _UINT32),
        _integer(one.dropped_attributes_count, _UINT32),
    )
    record.severity_number = _integer(one.severity_number, _INT32)
    record.severity_text = one.severity_text or ""
    record.event_name = one.event_name or ""
    record.body = value_of(one.body)
    return Item([record], 0, len(memoryview(raw)))


def span(raw: msgspec.Raw) -> Item:
    """Read the events of a Span, which itself is refused."""
    one = _decode(SPAN, raw)
    records = (_event(one, event) for event in one.events or ())
    return span_item(records, len(memoryview(raw)))


def _event(whole: Span, event: SpanEvent) -> PlainRecord:
    record = record_of(
        _integer(event.time_unix_nano, _UINT64),
        0,
        _attributes(event.attributes),
        _id(whole.trace_id),
        _id(whole.span_id),
        _integer(whole.flags, _UINT32),
        _integer(event.dropped_attributes_count, _UINT32),
    )
    return span_event(record, event.name or "", whole.name or "")


def metric(raw: msgspec.Raw) -> Item:
    """Count the data points of a Metric, which are refused."""
    one = _decode(METRIC, raw)
    kinds = (one.gauge, one.sum, one.histogram, one.exponential_histogram, one.summary)
    points = sum(len(kind.data_points or ()) for kind in kinds if kind is not None)
    return Item([], points, len(memoryview(raw)))


def value_of(value: AnyValue | None, depth: int = 0) -> Any:
    """Return an AnyValue as a plain value, of a container at most KEPT_ITEMS."""
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return _integer(value.int_value, _INT64)
    if value.double_value is not None:
        return _double(value.double_value)
    if value.bool_value is not None:
        return value.bool_value
    if value.bytes_value is not None:
        return _bytes(value.bytes_value)
    return _container(value, depth)


def _container(value: AnyValue, depth: int) -> Any:
    if value.array_value is not None:
        if depth >= MAX_DEPTH:
            return too_deep("list")
        return [value_of(each, depth + 1) for each in (value.array_value.values or [])[:KEPT_ITEMS]]
    if value.kvlist_value is not None:
        if depth >= MAX_DEPTH:
            return too_deep("dict")
        return _attributes((value.kvlist_value.values or [])[:KEPT_ITEMS], depth + 1)
    return None


def _attributes(pairs: Iterable[KeyValue] | None, depth: int = 0) -> dict[str, Any]:
    return {pair.key or "": value_of(pair.value, depth) for pair in pairs or ()}


_INT64: Final = (-(2**63), 2**63 - 1)
_UINT64: Final = (0, 2**64 - 1)
_INT32: Final = (-(2**31), 2**31 - 1)
_UINT32: Final = (0, 2**32 - 1)


def _integer(value: Number, bounds: tuple[int, int]) -> int:
    if value is None:
        return 0
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise InvalidEventError(f"{value!r:.80} is no integer") from None
    if not bounds[0] <= number <= bounds[1] or (type(value) is float and number != value):
        raise InvalidEventError(f"{number} is not an integer from {bounds[0]} to {bounds[1]}")
    return number


def _double(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InvalidEventError(f"{value!r:.80} is no number") from None


def _bytes(text: str) -> bytes:
    # Either alphabet, padded or not: https://protobuf.dev/programming-guides/json/
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError as error:
        raise InvalidEventError(f"bytesValue: {error}") from None


def _id(text: str | None) -> bytes:
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        raise InvalidEventError(f"the id {text!r:.80} is not hex") from None


def _check_values(data: bytes, entries: Entries) -> None:
    """Refuse what would become gigabytes of small objects.

    Each value but a container's first stands behind a comma; commas in text count as well, which
    the bound has room for.
    """
    most = entries.most * VALUES_PER_ENTRY
    if data.count(b",") + data.count(b"{") + data.count(b"[") > most:
        raise PayloadTooLargeError(f"the request has more than {most:,} values")


def _decode(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T:
    return read_json(memoryview(data), decoder)
