"""Spans as OTLP requests, and how they are sent. Source: opentelemetry/proto/trace/v1/trace.proto.

A span that is rejected must not block the others, and an outage must lose none. Many events make
one span and none of them is at fault, so the sender itself finds out which span a receiver rejects.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import msgspec
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from realm_exporter_otlp.encoding import SCOPE, key_values, resource_of
from realm_exporter_otlp.traces.spans import Span, SpanEvent
from realm_exporter_otlp.transport import Channel, send_split
from realm_telemetry.errors import ExportError
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


class Refused(msgspec.Struct, frozen=True):
    """How many spans the receiver rejects, and why; with none, its warning."""

    spans: int = 0
    words: str = ""

    def and_also(self, other: "Refused") -> "Refused":
        """Both together, with the words of one that refused something."""
        words = other.words if other.spans and not self.spans else self.words or other.words
        return Refused(self.spans + other.spans, words)


class Sender:
    """Sends spans, and remembers the last that was accepted."""

    def __init__(
        self, channel: Channel, encode: Callable[[Sequence[Span]], Message], max_bytes: int
    ) -> None:
        self._channel = channel
        self._encode = encode
        self._max_bytes = max_bytes
        self._taken: list[Span] = []

    def send(self, spans: Sequence[Span]) -> Refused:
        """Send spans; return how many of them are rejected.

        Raises ExportError, always a retryable one: nothing, or not all, was taken.
        """
        if not spans:
            return Refused()
        try:
            return self._send(spans)
        except ExportError as error:
            if error.retryable:
                raise
            self._make_sure(error)
        return self._send_halves(spans)

    def _send(self, spans: Sequence[Span]) -> Refused:
        sent = send_split(self._channel, spans, self._encode, self._max_bytes)
        for part, answer in sent.answers:
            if not answer.rejected:
                self._taken = [part[-1]]
        refused = Refused(sent.answer.rejected, sent.answer.message)
        if not sent.too_large:
            return refused
        return Refused(len(sent.too_large), sent.too_large[0][1]).and_also(refused)

    def _make_sure(self, refusal: ExportError) -> None:
        """Raise unless the receiver accepts a span again that it has accepted before.

        If not, the receiver itself is at fault. By its ids that is the same span. Before the first
        one the request is empty.
        """
        try:
            self._channel.send(self._encode(self._taken))
        except ExportError as error:
            raise ExportError(
                str(error), retryable=True, retry_after_s=error.retry_after_s
            ) from refusal

    def _send_halves(self, spans: Sequence[Span]) -> Refused:
        middle = len(spans) // 2
        refused = Refused()
        for half in (spans[:middle], spans[middle:]):
            try:
                refused = refused.and_also(self._send(half) if half else Refused())
            except ExportError as error:
                if error.retryable:
                    raise
                blame = Refused(1, str(error)) if len(half) == 1 else self._send_halves(half)
                refused = refused.and_also(blame)
        return refused
