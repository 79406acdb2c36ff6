"""Spans as OTLP's messages. Source: opentelemetry/proto/trace/v1/trace.proto."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from realm_exporter_otlp.encoding import SCOPE, key_values, resource_of
from realm_exporter_otlp.traces.spans import Span, SpanEvent
from realm_telemetry.values.details import safe_text

_STATUS_CODES: Final = {
    "unset": trace_pb2.Status.STATUS_CODE_UNSET,
    "ok": trace_pb2.Status.STATUS_CODE_OK,
    "error": trace_pb2.Status.STATUS_CODE_ERROR,
}


def encode_spans(
    spans: Sequence[Span], resource: Callable[[str], Mapping[str, Any]]
) -> ExportTraceServiceRequest:
    """Return a request with the spans, grouped by neighbours of one producer.

    resource: what is known of a producer.
    """
    return ExportTraceServiceRequest(
        resource_spans=[
            trace_pb2.ResourceSpans(
                resource=resource_of(producer, resource(producer)),
                scope_spans=[trace_pb2.ScopeSpans(scope=SCOPE, spans=map(encode_span, group))],
            )
            for producer, group in groupby(spans, attrgetter("producer"))
        ]
    )


def encode_span(span: Span) -> trace_pb2.Span:
    """Return one span."""
    return trace_pb2.Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        flags=span.flags,
        name=safe_text(span.name),
        kind=trace_pb2.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=span.start_unix_nano,
        end_time_unix_nano=span.end_unix_nano,
        attributes=key_values(span.attributes),
        dropped_attributes_count=span.dropped_attributes,
        events=map(_event, span.events),
        dropped_events_count=span.dropped_events,
        status=trace_pb2.Status(
            code=_STATUS_CODES[span.status], message=safe_text(span.status_message)
        ),
    )


def _event(event: SpanEvent) -> trace_pb2.Span.Event:
    return trace_pb2.Span.Event(
        name=safe_text(event.name),
        time_unix_nano=event.time_unix_nano,
        attributes=key_values(event.attributes),
        dropped_attributes_count=event.dropped_attributes,
    )
