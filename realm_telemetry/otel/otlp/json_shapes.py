"""OTLP's messages as JSON has them, and their decoders.

Unknown fields are passed over, null is as good as missing, keys are lowerCamelCase only.
Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from typing import Final

import msgspec

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
