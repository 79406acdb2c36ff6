"""OTLP requests in protobuf.

The outer messages have one layout for all signals: field 1 of a request holds the resources, field
2 of a resource the scopes, field 2 of a scope the items. They are walked over, and the values of a
message are counted before a parser builds objects from it. Resources, scopes and items are parsed
one at a time, so that a body costs little more memory than it has bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import InvalidEventError
from realm_telemetry.otel.otlp.parts import (
    KEPT_ITEMS,
    MAX_DEPTH,
    MAX_VALUES,
    Entries,
    Group,
    Item,
    ResourceFields,
    too_deep,
)
from realm_telemetry.otel.otlp.records import (
    record_of,
    resource_fields,
    scope_fields,
    span_event,
    span_item,
)
from realm_telemetry.values.json_text import utf_8_text
from realm_telemetry.wire.fields import parse_mended, submessages

Layout = Mapping[int, "Layout"]
"""Which fields of a message are messages, and their layouts."""

_ANY_VALUE: Final[dict[int, Layout]] = {}
_KEY_VALUE: Final[Layout] = {2: _ANY_VALUE}
_ANY_VALUE.update({5: {1: _ANY_VALUE}, 6: {1: _KEY_VALUE}})

RESOURCE: Final[Layout] = {1: _KEY_VALUE}
SCOPE: Final[Layout] = {3: _KEY_VALUE}
LOG_RECORD: Final[Layout] = {5: _ANY_VALUE, 6: _KEY_VALUE}
SPAN: Final[Layout] = {9: _KEY_VALUE, 11: {3: _KEY_VALUE}, 13: {4: _KEY_VALUE}}


def has_more_values(data: bytes, layout: Layout, most: int) -> bool:
    """Whether a message holds more than `most` length-delimited fields, at any depth."""
    seen = 0
    waiting = [(layout, 0, len(data))]
    while waiting:
        inner, start, end = waiting.pop()
        for number, first, last in submessages(data, start, end):
            seen += 1
            if seen > most:
                return True
            if number in inner:
                waiting.append((inner[number], first, last))
    return False


M = TypeVar("M", bound=Message)

ReadItem = Callable[[bytes], Item]

_SMALL_BYTES: Final = 64 * 1024
"""Below this size, parsing any content costs little."""


def groups(data: bytes, entries: Entries, name: str, read_item: ReadItem) -> Iterator[Group]:
    """Take a request apart.

    name: what its resources are called. Raises InvalidEventError for what is no such request,
    PayloadTooLargeError.
    """
    resources = 0
    for number, start, end in submessages(data, 0, len(data)):
        if number == 1:
            resources += 1
            entries.count()
            yield from _scopes(data, start, end, entries, read_item)
        else:
            entries.unknown.add(f"field {number} of the request")
    if data and not resources:
        raise InvalidEventError(f"it has no {name}")


def _scopes(
    data: bytes, start: int, end: int, entries: Entries, read_item: ReadItem
) -> Iterator[Group]:
    resource, url, scopes = Resource(), "", []
    for number, first, last in submessages(data, start, end):
        if number == 1:
            resource = _parse(Resource, data[first:last], RESOURCE)
        elif number == 2:
            entries.count()
            scopes.append((first, last))
        elif number == 3:
            url = utf_8_text(data[first:last])
        else:
            entries.unknown.add(f"field {number} of a resource")
    given = resource_fields(
        _attributes(resource.attributes), resource.dropped_attributes_count, url
    )
    for first, last in scopes:
        yield _group(given, data, first, last, entries, read_item)


def _group(
    resource: ResourceFields,
    data: bytes,
    start: int,
    end: int,
    entries: Entries,
    read_item: ReadItem,
) -> Group:
    scope, url, places = InstrumentationScope(), "", []
    for number, first, last in submessages(data, start, end):
        if number == 1:
            scope = _parse(InstrumentationScope, data[first:last], SCOPE)
        elif number == 2:
            entries.count()
            places.append((first, last))
        elif number == 3:
            url = utf_8_text(data[first:last])
        else:
            entries.unknown.add(f"field {number} of a scope")
    given = scope_fields(
        scope.name,
        scope.version,
        _attributes(scope.attributes),
        scope.dropped_attributes_count,
        url,
    )
    return Group(resource, given, (read_item(data[first:last]) for first, last in places))


def log_record(data: bytes) -> Item:
    """Read a LogRecord."""
    if _is_bomb(data, LOG_RECORD):
        return Item([], 1, len(data), _BOMB)
    one = _parse(LogRecord, data)
    if not one.time_unix_nano and not one.observed_time_unix_nano and len(UnknownFieldSet(one)):
        return Item([], 1, len(data), "what has no time and fields of no LogRecord is none")
    record = record_of(
        one.time_unix_nano,
        one.observed_time_unix_nano,
        _attributes(one.attributes),
        one.trace_id,
        one.span_id,
        one.flags,
        one.dropped_attributes_count,
    )
    record.severity_number = one.severity_number
    record.severity_text = one.severity_text
    record.event_name = one.event_name
    record.body = value_of(one.body)
    return Item([record], 0, len(data))


def span(data: bytes) -> Item:
    """Read the events of a Span, which itself is refused."""
    if _is_bomb(data, SPAN):
        return Item([], 1, len(data), _BOMB)
    one = _parse(Span, data)
    if not one.start_time_unix_nano and len(UnknownFieldSet(one)):
        return Item([], 1, len(data), "what has no time and fields of no Span is none")
    records = (
        span_event(
            record_of(
                event.time_unix_nano,
                0,
                _attributes(event.attributes),
                one.trace_id,
                one.span_id,
                one.flags,
                event.dropped_attributes_count,
            ),
            event.name,
            one.name,
        )
        for event in one.events
    )
    return span_item(records, len(data))


_BOMB: Final = f"one of over {MAX_VALUES:,} values"
_POINTS: Final = frozenset({5, 7, 9, 10, 11})
"""A Metric's gauge, sum, histogram, exponential histogram and summary; their field 1 is points."""


def metric(data: bytes) -> Item:
    """Count the data points of a Metric, which are refused."""
    points = 0
    for number, start, end in submessages(data, 0, len(data)):
        if number in _POINTS:
            for inner, _, _ in submessages(data, start, end):
                points += inner == 1
                if points > MAX_VALUES:
                    raise PayloadTooLargeError(f"a Metric has over {MAX_VALUES:,} data points")
    return Item([], points, len(data), "" if points else "a Metric without data points")


def value_of(value: AnyValue) -> Any:
    """Return an AnyValue as a plain value, of a container at most KEPT_ITEMS."""
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind in _SCALARS else _container(value, kind, 0)


_SCALARS: Final = frozenset(
    {"string_value", "int_value", "double_value", "bool_value", "bytes_value"}
)


def _attributes(pairs: Iterable[KeyValue], depth: int = 0) -> dict[str, Any]:
    # Half of the work on a record, so scalars are read here and not by a call each.
    attributes = {}
    for pair in pairs:
        value = pair.value
        kind = value.WhichOneof("value")
        plain = getattr(value, kind) if kind in _SCALARS else _container(value, kind, depth)
        attributes[pair.key] = plain
    return attributes


def _container(value: AnyValue, kind: str | None, depth: int) -> Any:
    if kind == "array_value":
        if depth >= MAX_DEPTH:
            return too_deep("list")
        return _values(value.array_value.values[:KEPT_ITEMS], depth + 1)
    if kind == "kvlist_value":
        if depth >= MAX_DEPTH:
            return too_deep("dict")
        return _attributes(value.kvlist_value.values[:KEPT_ITEMS], depth + 1)
    return None


def _values(values: Iterable[AnyValue], depth: int) -> list[Any]:
    plain = []
    for value in values:
        kind = value.WhichOneof("value")
        plain.append(getattr(value, kind) if kind in _SCALARS else _container(value, kind, depth))
    return plain


def _is_bomb(data: bytes, layout: Layout) -> bool:
    return len(data) > _SMALL_BYTES and has_more_values(data, layout, MAX_VALUES)


def _parse(message: type[M], data: bytes, layout: Layout | None = None) -> M:
    if layout is not None and _is_bomb(data, layout):
        raise PayloadTooLargeError(f"a {message.DESCRIPTOR.name} has over {MAX_VALUES:,} values")
    try:
        return parse_mended(message, data)
    except DecodeError as error:
        raise InvalidEventError(f"{message.DESCRIPTOR.name}: {error}") from None
