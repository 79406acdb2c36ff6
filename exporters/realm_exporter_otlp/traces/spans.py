"""Spans as plain data, open ones and those that are done, and how one becomes the other."""

from typing import Any, Final

import msgspec

from realm_exporter_otlp.traces.ids import Context, span_id
from realm_exporter_otlp.traces.lifecycles import Key, Lifecycle, Status, key_of, span_name
from realm_telemetry.event import Event
from realm_telemetry.otel import names

MAX_ATTRIBUTES: Final = 128
"""Attributes of a span, as many as the SDK's spans have; the last of the details are left out."""

MAX_EVENT_DETAILS: Final = 32
MAX_EVENT_TEXT: Final = 1_024
"""Characters of a text that a span event keeps."""

LIFECYCLE: Final = "realm.lifecycle"
BEGAN: Final = "realm.span.start"
ENDED: Final = "realm.span.end"
START_EVENT: Final = "realm.span.start.event_id"
END_EVENT: Final = "realm.span.end.event_id"
MESSAGE: Final = "realm.message"

_ERROR_DETAILS: Final = ("error", "error_type", "traceback")


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened in a span."""

    name: str
    time_unix_nano: int
    attributes: dict[str, Any]
    dropped_attributes: int = 0


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A span that is done.

    producer: whose resource it has. parent_id: empty for a root.
    """

    name: str
    producer: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    flags: int
    start_unix_nano: int
    end_unix_nano: int
    status: Status = "unset"
    status_message: str = ""
    attributes: dict[str, Any]
    dropped_attributes: int = 0
    events: tuple[SpanEvent, ...] = ()
    dropped_events: int = 0


class OpenSpan(msgspec.Struct, frozen=True):
    """A lifecycle that has begun and not ended.

    context: its trace and its own id. events: the last of those that happened in it.
    begun: False for one of which only the end is known.
    """

    key: Key
    lifecycle: Lifecycle
    start: Event
    context: Context
    parent_id: bytes
    events: tuple[SpanEvent, ...] = ()
    dropped_events: int = 0
    begun: bool = True


def ended(span: OpenSpan, event: Event, word: str, status: Status) -> Span:
    """Return the span as the event that ends it tells; word: how."""
    details = span.start.details | event.details
    failure = _exception(event) if status == "error" else ()
    # By their own times: two hosts' clocks may disagree, and a span cannot end before it starts.
    end_ns = max(event.time_unix_nano, span.start.time_unix_nano)
    return _span(
        span,
        end_ns,
        {ENDED: word, END_EVENT: event.id},
        {key: value for key, value in details.items() if not (failure and key in _ERROR_DETAILS)},
        status,
        _status_message(event) if status == "error" else "",
        span.events + failure,
    )


def closed(span: OpenSpan, end_unix_nano: int, why: str, status: Status, words: str = "") -> Span:
    """Return a span that no event of its own ends; why: what closes it. words: for people."""
    end_ns = max(end_unix_nano, span.start.time_unix_nano)
    return _span(span, end_ns, {ENDED: why}, span.start.details, status, words, span.events)


def unbegun(event: Event, lifecycle: Lifecycle, context: Context, parent_id: bytes) -> OpenSpan:
    """Return the span that an end without a start belongs to, as if it were open.

    It begins as long before as the end's `duration_s` says, or else with its end.
    """
    start_ns = event.time_unix_nano - _duration_ns(event)
    start = msgspec.structs.replace(event, time_unix_nano=max(start_ns, 0), details={})
    key = key_of(event, lifecycle)
    return OpenSpan(key, lifecycle, start, context, parent_id, begun=False)


def point(event: Event, above: Context) -> Span:
    """Return an event as a span without length: the one that it belongs to has been sent."""
    details = _details(event.details)
    return Span(
        name=event.kind,
        producer=event.producer,
        trace_id=above.trace_id,
        span_id=span_id(event),
        parent_id=above.span_id,
        flags=above.flags,
        start_unix_nano=max(event.time_unix_nano, 0),
        end_unix_nano=max(event.time_unix_nano, 0),
        attributes=_identity(event) | {BEGAN: "none", START_EVENT: event.id} | details,
        status="error" if event.severity == "error" else "unset",
        status_message=event.message if event.severity == "error" else "",
    )


def span_event(event: Event) -> SpanEvent:
    """Return an event as it stands in a span: small, because an open span is kept in memory."""
    kept = {
        key: value[:MAX_EVENT_TEXT] if isinstance(value, str) else value
        for key, value in event.details.items()
        if value is None or isinstance(value, str | int | float)
    }
    kept = dict(list(kept.items())[:MAX_EVENT_DETAILS])
    attributes = {
        names.UID: event.id,
        names.CHANNEL: event.channel,
        names.SEVERITY: event.severity,
        MESSAGE: event.message[:MAX_EVENT_TEXT],
    }
    return SpanEvent(
        event.kind,
        max(event.time_unix_nano, 0),
        attributes | _details(kept),
        len(event.details) - len(kept),
    )


def _span(
    span: OpenSpan,
    end_ns: int,
    about: dict[str, Any],
    details: dict[str, Any],
    status: Status,
    status_message: str,
    events: tuple[SpanEvent, ...],
) -> Span:
    attributes = _identity(span.start) | {LIFECYCLE: span.lifecycle.name} | _began(span) | about
    room = MAX_ATTRIBUTES - len(attributes)
    return Span(
        name=span_name(msgspec.structs.replace(span.start, details=details), span.lifecycle),
        producer=span.start.producer,
        trace_id=span.context.trace_id,
        span_id=span.context.span_id,
        parent_id=span.parent_id,
        flags=span.context.flags,
        start_unix_nano=max(span.start.time_unix_nano, 0),
        end_unix_nano=max(end_ns, 0),
        status=status,
        status_message=status_message,
        attributes=attributes | _details(dict(list(details.items())[:room])),
        dropped_attributes=max(len(details) - room, 0),
        events=events,
        dropped_events=span.dropped_events,
    )


def _began(span: OpenSpan) -> dict[str, Any]:
    return {START_EVENT: span.start.id} if span.begun else {BEGAN: "missing"}


def _identity(event: Event) -> dict[str, Any]:
    fields = {
        names.RUN: event.run_id,
        names.HERO: event.hero_id,
        names.CAMPAIGN: event.campaign_id,
        names.SOURCE: event.source,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _details(details: dict[str, Any]) -> dict[str, Any]:
    return {names.DETAIL_PREFIX + key: value for key, value in details.items()}


def _exception(event: Event) -> tuple[SpanEvent, ...]:
    """The exception of a failed event, by OpenTelemetry's conventions for exceptions on spans."""
    named = {
        "exception.type": event.details.get("error_type"),
        "exception.message": event.details.get("error"),
        "exception.stacktrace": event.details.get("traceback"),
    }
    found = {name: str(value) for name, value in named.items() if value is not None}
    if not found:
        return ()
    return (SpanEvent("exception", max(event.time_unix_nano, 0), found),)


def _status_message(event: Event) -> str:
    error = event.details.get("error")
    return event.message if error is None else str(error)


def _duration_ns(event: Event) -> int:
    duration = event.details.get("duration_s")
    if not isinstance(duration, int | float) or not 0 < duration < 1e9:
        return 0
    # Through microseconds, which is how exact `duration_s` is.
    return round(duration * 1_000_000) * 1_000
