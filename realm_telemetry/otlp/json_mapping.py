"""OTLP requests in JSON: protobuf's JSON mapping with OTLP's deviations.

Ids are hex, 64-bit integers strings or numbers, enums numbers only, unknown fields passed over.
Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import InvalidEventError
from realm_telemetry.otel.plain import PlainRecord
from realm_telemetry.otlp.parts import KEPT_ITEMS, MAX_DEPTH, Entries, Group, Item, too_deep
from realm_telemetry.otlp.plain import record_of, resource_said, scope_said, span_event

T = TypeVar("T")

Number = int | float | str | None
"""As JSON may have it; `_integer` reads it."""

ReadItem = Callable[[msgspec.Raw], Item]

VALUES_PER_ENTRY: Final = 200
"""JSON values a request may have for each entry it may have, on average."""


class _Message(msgspec.Struct, rename="camel"):
    """A message: null is as good as missing, and unknown fields are passed over."""


class _AnyValue(_Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Number = None
    double_value: float | str | None = None
    array_value: "_ArrayValue | None" = None
    kvlist_value: "_KeyValueList | None" = None
    bytes_value: str | None = None


class _ArrayValue(_Message):
    values: list[_AnyValue] | None = None


class _KeyValue(_Message):
    key: str | None = None
    value: _AnyValue | None = None


class _KeyValueList(_Message):
    values: list[_KeyValue] | None = None


class _Attributed(_Message):
    attributes: list[_KeyValue] | None = None
    dropped_attributes_count: Number = None


class _Scope(_Attributed):
    name: str | None = None
    version: str | None = None


class _ScopeItems(_Message):
    """ScopeLogs, ScopeSpans or ScopeMetrics; the items are read one at a time."""

    scope: _Scope | None = None
    schema_url: str | None = None
    log_records: list[msgspec.Raw] | None = None
    spans: list[msgspec.Raw] | None = None
    metrics: list[msgspec.Raw] | None = None


class _ResourceItems(_Message):
    resource: _Attributed | None = None
    schema_url: str | None = None
    scope_logs: list[_ScopeItems] | None = None
    scope_spans: list[_ScopeItems] | None = None
    scope_metrics: list[_ScopeItems] | None = None


class _Request(_Message):
    resource_logs: list[_ResourceItems] | None = None
    resource_spans: list[_ResourceItems] | None = None
    resource_metrics: list[_ResourceItems] | None = None


class _LogRecord(_Attributed):
    time_unix_nano: Number = None
    observed_time_unix_nano: Number = None
    severity_number: int | None = None
    severity_text: str | None = None
    body: _AnyValue | None = None
    flags: Number = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str | None = None


class _SpanEvent(_Attributed):
    time_unix_nano: Number = None
    name: str | None = None


class _Span(_Message):
    trace_id: str | None = None
    span_id: str | None = None
    name: str | None = None
    flags: Number = None
    events: list[_SpanEvent] | None = None


class _Points(_Message):
    data_points: list[msgspec.Raw] | None = None


class _Metric(_Message):
    gauge: _Points | None = None
    sum: _Points | None = None
    histogram: _Points | None = None
    exponential_histogram: _Points | None = None
    summary: _Points | None = None


_request: Final = msgspec.json.Decoder(_Request)
_log_record: Final = msgspec.json.Decoder(_LogRecord)
_span: Final = msgspec.json.Decoder(_Span)
_metric: Final = msgspec.json.Decoder(_Metric)


def groups(data: bytes, entries: Entries, names: tuple[str, str, str], read_item: ReadItem) -> (
    Iterator[Group]
):  # fmt: skip
    """Take a request apart.

    names: of the resources, the scopes and the items of the signal.
    Raises InvalidEventError for what is no such request, PayloadTooLargeError.
    """
    _check_values(data, entries)
    resources, scopes, items = names
    for resource in getattr(_decode(_request, data), resources) or ():
        entries.count()
        said = resource.resource or _Attributed()
        whole = resource_said(
            _attributes(said.attributes),
            _integer(said.dropped_attributes_count, _UINT32),
            resource.schema_url or "",
        )
        for scope in getattr(resource, scopes) or ():
            entries.count()
            raw = getattr(scope, items) or []
            entries.count(len(raw))
            yield Group(whole, _scope_said(scope), map(read_item, raw))


def _scope_said(group: _ScopeItems) -> Any:
    scope = group.scope or _Scope()
    return scope_said(
        scope.name or "",
        scope.version or "",
        _attributes(scope.attributes),
        _integer(scope.dropped_attributes_count, _UINT32),
        group.schema_url or "",
    )


def log_record(raw: msgspec.Raw) -> Item:
    """Read a LogRecord."""
    one = _decode(_log_record, raw)
    record = record_of(
        _integer(one.time_unix_nano, _UINT64),
        _integer(one.observed_time_unix_nano, _UINT64),
        _attributes(one.attributes),
        _id(one.trace_id),
        _id(one.span_id),
        _integer(one.flags, _UINT32),
        _integer(one.dropped_attributes_count, _UINT32),
    )
    record.severity_number = one.severity_number or 0
    record.severity_text = one.severity_text or ""
    record.event_name = one.event_name or ""
    record.body = value_of(one.body)
    return Item([record], 0, len(memoryview(raw)))


def span(raw: msgspec.Raw) -> Item:
    """Read the events of a Span, which itself is refused."""
    one = _decode(_span, raw)
    records = [_event(one, event) for event in one.events or ()]
    return Item(records, 1, len(memoryview(raw)))


def _event(whole: _Span, event: _SpanEvent) -> PlainRecord:
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
    one = _decode(_metric, raw)
    kinds = (one.gauge, one.sum, one.histogram, one.exponential_histogram, one.summary)
    points = sum(len(kind.data_points or ()) for kind in kinds if kind is not None)
    return Item([], points, len(memoryview(raw)))


def value_of(value: _AnyValue | None, depth: int = 0) -> Any:
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


def _container(value: _AnyValue, depth: int) -> Any:
    if value.array_value is not None:
        if depth >= MAX_DEPTH:
            return too_deep("list")
        return [value_of(each, depth + 1) for each in (value.array_value.values or [])[:KEPT_ITEMS]]
    if value.kvlist_value is not None:
        if depth >= MAX_DEPTH:
            return too_deep("dict")
        return _attributes((value.kvlist_value.values or [])[:KEPT_ITEMS], depth + 1)
    return None


def _attributes(pairs: Iterable[_KeyValue] | None, depth: int = 0) -> dict[str, Any]:
    return {pair.key or "": value_of(pair.value, depth) for pair in pairs or ()}


_INT64: Final = (-(2**63), 2**63 - 1)
_UINT64: Final = (0, 2**64 - 1)
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
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEventError(str(error)) from None
