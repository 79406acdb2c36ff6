"""OTLP requests in JSON: protobuf's JSON mapping with OTLP's deviations.

Ids are hex, 64-bit integers are strings or numbers, null counts as missing. What OTLP's own senders
never write is taken as well where its meaning is clear: names in snake_case, enums by name, ids in
base64. A message with any of these, or with a field that is unknown, fails the strict decoder and
is read again forgivingly; unknown fields are left out, and named in the answer.
Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar, get_args

import msgspec
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

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


UNREAD: Final = msgspec.Raw(b"null")
"""Of a field that OTLP has and nobody here reads."""


class Message(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A message: null is as good as missing.

    All fields of OTLP are listed, also those that nobody here reads: others are unknown.
    """


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


class ResourceShape(Attributed):
    entity_refs: msgspec.Raw = UNREAD


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
    resource: ResourceShape | None = None
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
    severity_number: Number = None
    severity_text: str | None = None
    body: AnyValue | None = None
    flags: Number = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str | None = None


class SpanEvent(Attributed):
    time_unix_nano: Number = None
    name: str | None = None


class Span(Attributed):
    trace_id: str | None = None
    span_id: str | None = None
    trace_state: msgspec.Raw = UNREAD
    parent_span_id: msgspec.Raw = UNREAD
    flags: Number = None
    name: str | None = None
    kind: msgspec.Raw = UNREAD
    start_time_unix_nano: msgspec.Raw = UNREAD
    end_time_unix_nano: msgspec.Raw = UNREAD
    events: list[SpanEvent] | None = None
    dropped_events_count: msgspec.Raw = UNREAD
    links: msgspec.Raw = UNREAD
    dropped_links_count: msgspec.Raw = UNREAD
    status: msgspec.Raw = UNREAD


class Points(Message):
    data_points: list[msgspec.Raw] | None = None
    aggregation_temporality: msgspec.Raw = UNREAD
    is_monotonic: msgspec.Raw = UNREAD


class Metric(Message):
    name: msgspec.Raw = UNREAD
    description: msgspec.Raw = UNREAD
    unit: msgspec.Raw = UNREAD
    metadata: msgspec.Raw = UNREAD
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

ReadItem = Callable[[msgspec.Raw, set[str]], Item]

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
    request = _decode(REQUEST, data, entries.unknown)
    resources = getattr(request, names.resources)
    _note_others(request, _RESOURCES, names.resources, entries)
    if resources is None and entries.unknown:
        found = ", ".join(sorted(entries.unknown)[:5])
        raise InvalidEventError(f"it has no {_camel(names.resources)}, but {found[:200]}")
    for resource in resources or ():
        entries.count()
        _note_others(resource, _SCOPES, names.scopes, entries)
        given = resource.resource or ResourceShape()
        whole = resource_fields(
            _attributes(given.attributes),
            _integer(given.dropped_attributes_count, _UINT32),
            resource.schema_url or "",
        )
        for scope in getattr(resource, names.scopes) or ():
            entries.count()
            raw = getattr(scope, names.items) or []
            entries.count(len(raw))
            _note_others(scope, _ITEMS, names.items, entries)
            yield Group(whole, _scope_fields(scope), _items(raw, read_item, entries.unknown))


def _items(raw: list[msgspec.Raw], read_item: ReadItem, unknown: set[str]) -> Iterator[Item]:
    """Read items one at a time; one that is wrong is refused alone."""
    for each in raw:
        try:
            yield read_item(each, unknown)
        except InvalidEventError as error:
            yield Item([], 1, len(memoryview(each)), str(error))


_RESOURCES: Final = {
    "resource_logs": "/v1/logs",
    "resource_spans": "/v1/traces",
    "resource_metrics": "/v1/metrics",
}
_SCOPES: Final = {
    "scope_logs": "/v1/logs",
    "scope_spans": "/v1/traces",
    "scope_metrics": "/v1/metrics",
}
_ITEMS: Final = {"log_records": "/v1/logs", "spans": "/v1/traces", "metrics": "/v1/metrics"}


def _note_others(message: Message, paths: Mapping[str, str], own: str, entries: Entries) -> None:
    """Note what belongs to another signal."""
    for name, path in paths.items():
        if name != own and getattr(message, name):
            entries.unknown.add(f"{_camel(name)} (send them to {path})")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _scope_fields(group: ScopeItems) -> ScopeFields:
    scope = group.scope or ScopeShape()
    return scope_fields(
        scope.name or "",
        scope.version or "",
        _attributes(scope.attributes),
        _integer(scope.dropped_attributes_count, _UINT32),
        group.schema_url or "",
    )


def log_record(raw: msgspec.Raw, unknown: set[str]) -> Item:
    """Read a LogRecord."""
    one = _decode(LOG_RECORD, raw, unknown)
    record = record_of(
        _integer(one.time_unix_nano, _UINT64),
        _integer(one.observed_time_unix_nano, _UINT64),
        _attributes(one.attributes),
        _id(one.trace_id),
        _id(one.span_id),
        _integer(one.flags, _UINT32),
        _integer(one.dropped_attributes_count, _UINT32),
    )
    record.severity_number = _severity_number(one.severity_number)
    record.severity_text = one.severity_text or ""
    record.event_name = one.event_name or ""
    record.body = value_of(one.body)
    return Item([record], 0, len(memoryview(raw)))


def span(raw: msgspec.Raw, unknown: set[str]) -> Item:
    """Read the events of a Span, which itself is refused."""
    one = _decode(SPAN, raw, unknown)
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


def metric(raw: msgspec.Raw, unknown: set[str]) -> Item:
    """Count the data points of a Metric, which are refused."""
    one = _decode(METRIC, raw, unknown)
    kinds = (one.gauge, one.sum, one.histogram, one.exponential_histogram, one.summary)
    points = sum(len(kind.data_points or ()) for kind in kinds if kind is not None)
    problem = "" if points else "a Metric without data points"
    return Item([], points, len(memoryview(raw)), problem)


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


_ID_BYTES: Final = (8, 16)
"""Of a span's and a trace's id."""

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


def _severity_number(value: Number) -> int:
    if isinstance(value, str) and value in SeverityNumber.keys():  # noqa: SIM118 - no mapping
        return SeverityNumber.Value(value)
    return _integer(value, _INT32)


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
        pass
    try:
        found = _bytes(text or "")
    except InvalidEventError:
        found = b""
    if len(found) not in _ID_BYTES:
        raise InvalidEventError(f"the id {text!r:.80} is not hex")
    return found


def _check_values(data: bytes, entries: Entries) -> None:
    """Refuse what would become gigabytes of small objects.

    Each value but a container's first stands behind a comma; commas in text count as well, which
    the bound has room for.
    """
    most = entries.most * VALUES_PER_ENTRY
    if data.count(b",") + data.count(b"{") + data.count(b"[") > most:
        raise PayloadTooLargeError(f"the request has more than {most:,} values")


def _decode(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, unknown: set[str]) -> T:
    """Decode a message, strictly or as the top of this module says."""
    try:
        return decoder.decode(data)
    except RecursionError:
        raise InvalidEventError("it is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    value: Any = read_json(memoryview(data))
    try:
        known = _known(value, _FIELDS[decoder.type], unknown, "")
        return decoder.decode(msgspec.json.encode(known))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidEventError(str(error)) from None


class _Field(NamedTuple):
    """A field of a message: its name in JSON, and what is inside; None where nobody looks."""

    name: str
    message: "type[Message] | None"


def _fields_of(message: type[Message]) -> dict[str, _Field]:
    """Return the fields of a message by both of their names."""
    fields: dict[str, _Field] = {}
    for each in msgspec.structs.fields(message):
        inner = _INSIDE.get(each.name) or _message_in(each.type)
        fields |= dict.fromkeys((each.encode_name, each.name), _Field(each.encode_name, inner))
    return fields


def _message_in(annotation: Any) -> "type[Message] | None":
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return annotation
    return next(filter(None, map(_message_in, get_args(annotation))), None)


_INSIDE: Final[dict[str, type[Message]]] = {
    "log_records": LogRecord,
    "spans": Span,
    "metrics": Metric,
}
"""What is inside of items that are cut out unread."""

_MESSAGES: Final[tuple[type[Message], ...]] = (
    AnyValue, ArrayValue, KeyValue, KeyValueList, ResourceShape, ScopeShape, ScopeItems,
    ResourceItems, Request, LogRecord, SpanEvent, Span, Points, Metric,
)  # fmt: skip
_FIELDS: Final[dict[Any, dict[str, _Field]]] = {
    message: _fields_of(message) for message in _MESSAGES
}


def _known(value: Any, fields: Mapping[str, _Field], unknown: set[str], where: str) -> Any:
    """Return a message with the names that OTLP has; adds the paths of others to `unknown`."""
    if isinstance(value, list):
        return [_known(each, fields, unknown, where) for each in value]
    if not isinstance(value, dict):
        return value
    known = {}
    for name, inner in value.items():
        field = fields.get(name)
        if field is None:
            unknown.add(f"{where}{name}"[-_MAX_PATH_CHARS:])
        elif field.message is None:
            known[field.name] = inner
        else:
            path = f"{where}{field.name}."
            known[field.name] = _known(inner, _FIELDS[field.message], unknown, path)
    return known


_MAX_PATH_CHARS: Final = 100
