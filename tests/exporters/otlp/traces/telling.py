"""A way to tell what processes do, as events with readable times, and to look at the spans."""

from collections.abc import Sequence
from typing import Any

import msgspec
from realm_exporter_otlp.traces.fold import SpanFold
from realm_exporter_otlp.traces.spans import Span
from realm_exporter_otlp.traces.state import Limits, State

from realm_telemetry.event import PROCESS_LOST_NUMBER, Event
from realm_telemetry.kinds.catalog import render, resolve

SECOND = 1_000_000_000
EPOCH = 1_764_000_000 * SECOND + 123_456_789
"""When second 0 of every story is: with nanoseconds, which must not get lost."""

OWN_FIELDS = ("run_id", "hero_id", "campaign_id", "source", "trace_id", "span_id", "trace_flags")


class Process:
    """One producer; `at` seconds are the story's, events arrive at once unless told otherwise."""

    def __init__(self, number: int = 1, **bound: Any) -> None:
        self.id = f"{number:016x}"
        self.bound = bound
        self._last = 0

    def tell(
        self, at: float, kind: str, message: str | None = None, arrives: float = 0.0, **details: Any
    ) -> Event:
        details = self.bound | details
        own = {name: details.pop(name) for name in OWN_FIELDS if name in details}
        self._last += 1
        number = PROCESS_LOST_NUMBER if kind == "process_lost" else self._last
        channel, severity = resolve(kind)
        time_ns = EPOCH + round(at * SECOND)
        event = Event(kind, channel, severity, message or "", details, time_ns, self.id, number)
        text = render(kind, details) if message is None else message
        arrived = time_ns + round(arrives * SECOND)
        return msgspec.structs.replace(event, message=text, observed_unix_nano=arrived, **own)


def spans_of(*events: Event, limits: Limits = Limits()) -> list[Span]:  # noqa: B008 - frozen
    """The spans that end with these events, in one batch."""
    return SpanFold(State(limits)).spans_of(events)


def exported(*batches: Sequence[Event]) -> list[Span]:
    """The spans that end with these events, batch by batch."""
    fold = SpanFold(State())
    return [span for batch in batches for span in fold.spans_of(batch)]


def by_name(spans: Sequence[Span]) -> dict[str, Span]:
    """Spans by name, each of which is there once."""
    found = {span.name: span for span in spans}
    assert len(found) == len(spans), [span.name for span in spans]
    return found
