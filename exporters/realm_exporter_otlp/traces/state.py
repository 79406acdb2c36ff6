"""What has to be remembered between two batches: the open spans, and little else; all bounded."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from realm_exporter_otlp.traces.lifecycles import Key, Lifecycle
from realm_exporter_otlp.traces.runs import Run, arrival
from realm_exporter_otlp.traces.spans import OpenSpan, span_event
from realm_telemetry.event import Event

FindRun = Callable[[Event], Run]
"""What the log has of the trainings of an event's run when the event happened."""

_NEVER: Final = 2**63
LOOK_AGAIN_NS: Final = 10_000_000_000
"""How long a run without a training is taken for one."""


class Limits(msgspec.Struct, frozen=True):
    """How much is kept.

    open_spans: above it, the span whose producer has been silent the longest is closed.
    span_events: of one span, the last are kept; all_span_events: of all open spans together, above
        it new ones are left out. What is left out is counted on its span.
    runs, ended: runs, and lifecycles that have ended, which are remembered.
    silent_after_ns: after which a producer's spans are closed, by the log's arrival times.
    """

    open_spans: int = 2_048
    span_events: int = 128
    all_span_events: int = 8_192
    runs: int = 1_024
    ended: int = 4_096
    silent_after_ns: int = 86_400_000_000_000


class Seen(msgspec.Struct, frozen=True):
    """When a producer was last heard of: by arrival, and by its own clock."""

    arrived_unix_nano: int
    time_unix_nano: int


class _Looked(msgspec.Struct, frozen=True):
    run: Run
    at_unix_nano: int


class State:
    """Open spans in the order in which they began, and what tells where events belong.

    silent_from_ns: before an event arrives later than this, no producer has been silent too long.
    """

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - it is frozen
        self.limits = limits
        self.open: dict[Key, OpenSpan] = {}
        self.seen: dict[str, Seen] = {}
        self._runs: dict[str, _Looked] = {}
        self._ended: dict[Key, int] = {}
        self._span_events = 0
        self.silent_from_ns = _NEVER

    def copy(self) -> "State":
        """Return a state of its own: what it holds is never changed, only replaced."""
        copy = State(self.limits)
        copy.open = dict(self.open)
        copy.seen = dict(self.seen)
        copy._runs = dict(self._runs)
        copy._ended = dict(self._ended)
        copy._span_events = self._span_events
        copy.silent_from_ns = self.silent_from_ns
        return copy

    def begin(self, span: OpenSpan) -> None:
        """Add an open span."""
        self.open[span.key] = span
        self.hear(span.start)
        silent_ns = arrival(span.start) + self.limits.silent_after_ns
        self.silent_from_ns = min(self.silent_from_ns, silent_ns)

    def finish(self, span: OpenSpan) -> None:
        """Take an open span out; it is of no use to remember a producer without any."""
        del self.open[span.key]
        self._span_events -= len(span.events)
        producer = span.start.producer
        if not any(other.start.producer == producer for other in self.open.values()):
            self.seen.pop(producer, None)

    def hear(self, event: Event) -> None:
        """Note that a producer lives."""
        self.seen[event.producer] = Seen(arrival(event), event.time_unix_nano)

    def silent(self, now_ns: int) -> dict[str, int]:
        """Return the producers that were silent too long, each with its last sign of life."""
        after_ns = self.limits.silent_after_ns
        silent_from_ns = {
            name: seen.arrived_unix_nano + after_ns for name, seen in self.seen.items()
        }
        silent = {name for name, from_ns in silent_from_ns.items() if now_ns > from_ns}
        rest = (from_ns for name, from_ns in silent_from_ns.items() if name not in silent)
        self.silent_from_ns = min(rest, default=_NEVER)
        return {name: self.seen[name].time_unix_nano for name in silent}

    def resume(self, limits: Limits, now_ns: int, last_heard: Mapping[str, int]) -> None:
        """Go on with a state that was made of a part of the events, up to now.

        last_heard: of producers, the time of their last event of any kind. Who was silent too long
        by then has been dealt with.
        """
        self.limits = limits
        for name, seen in self.seen.items():
            time_ns = max(last_heard.get(name, 0), seen.time_unix_nano)
            arrived_ns = max(last_heard.get(name, 0), seen.arrived_unix_nano)
            self.seen[name] = Seen(arrived_ns, time_ns)
        silent = self.silent(now_ns)
        for span in list(self.open.values()):
            if span.start.producer in silent:
                self.finish(span)
                self.leave_run(span)

    def add(self, span: OpenSpan, event: Event) -> None:
        """Let an event be one of an open span."""
        events, dropped = span.events, span.dropped_events
        if self._span_events >= self.limits.all_span_events:
            dropped += 1
        else:
            events = (*events, span_event(event))
            self._span_events += 1
        if len(events) > self.limits.span_events:
            events, dropped = events[1:], dropped + 1
            self._span_events -= 1
        self.open[span.key] = msgspec.structs.replace(span, events=events, dropped_events=dropped)

    def matching(self, key: Key) -> OpenSpan | None:
        """Return the span that an end belongs to: its producer's, or another's if that has none.

        Not another's where nothing but the name is the same.
        """
        found = self.open.get(key)
        if found is None and key.producer and any(key.values):
            for other in self.open.values():
                if other.key[:2] == key[:2]:
                    return other
        return found

    def innermost(self, event: Event, within: Lifecycle | None = None) -> OpenSpan | None:
        """Return the span of the same producer and run that began last.

        within: only one that may have a child like this.
        """
        for span in reversed(self.open.values()):
            same_run = event.run_id is None or span.start.run_id in (None, event.run_id)
            fits = within is None or span.lifecycle.holds(within)
            if span.start.producer == event.producer and same_run and fits:
                return span
        return None

    def by_id(self, span_id: bytes) -> OpenSpan | None:
        """Return the open span of an id."""
        return next((span for span in self.open.values() if span.context.span_id == span_id), None)

    def above(self, span: OpenSpan) -> Iterator[OpenSpan]:
        """Yield a span and the open spans that it is in."""
        here: OpenSpan | None = span
        while here is not None:
            yield here
            here = self.by_id(here.parent_id)

    def note_end(self, key: Key, time_unix_nano: int) -> None:
        """Remember that a lifecycle has ended."""
        self._ended.pop(key, None)
        self._ended[key] = time_unix_nano
        if len(self._ended) > self.limits.ended:
            del self._ended[next(iter(self._ended))]

    def ended_at(self, key: Key) -> int | None:
        """Return when a lifecycle ended that has the same key; None if it is not remembered."""
        return self._ended.get(key)

    def run(self, event: Event, find: FindRun) -> Run:
        """Return the run of an event that has one, as it is remembered or else found."""
        run_id = event.run_id or ""
        looked = self._runs.pop(run_id, None)
        stale = looked and not looked.run.attempts
        if looked is None or (stale and arrival(event) - looked.at_unix_nano > LOOK_AGAIN_NS):
            looked = _Looked(find(event), arrival(event))
        self._runs[run_id] = looked
        if len(self._runs) > self.limits.runs:
            del self._runs[next(iter(self._runs))]
        return looked.run

    def follow_run(self, event: Event, find: FindRun) -> None:
        """Let an event change its run, if it has one."""
        if event.run_id is not None:
            self._set_run(event.run_id, self.run(event, find).after(event))

    def leave_run(self, span: OpenSpan) -> None:
        """Let the process of a span train in its run no more."""
        run_id = span.start.run_id
        if run_id in self._runs:
            self._set_run(run_id, self._runs[run_id].run.without(span.start.producer))

    def _set_run(self, run_id: str, run: Run) -> None:
        self._runs[run_id] = msgspec.structs.replace(self._runs[run_id], run=run)
