"""Events in, spans out. Pure: the same events in the same order are the same spans.

A span is given out when it ends, because OTLP has no open ones. What closes a span that no event
ends is decided by the events too, by their times of arrival, never by a clock: the same part
of the log gives the same spans, at any time and in batches of any size.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from realm_exporter_otlp.traces.ids import Context, context_of, span_id, trace_id
from realm_exporter_otlp.traces.lifecycles import (
    LOST,
    START,
    TRAINING,
    Key,
    Lifecycle,
    job_key,
    key_of,
    phase_of,
)
from realm_exporter_otlp.traces.runs import Attempt, Run, arrival
from realm_exporter_otlp.traces.spans import OpenSpan, Span, closed, ended, point, unbegun
from realm_exporter_otlp.traces.state import FindRun, State
from realm_telemetry.event import Event
from realm_telemetry.folds.runtime import Row
from realm_telemetry.kinds.catalog import is_routine

PROCESS_LOST: Final = "process_lost"
RESTARTED: Final = "restarted"
SILENT: Final = "silent"
TOO_MANY: Final = "too_many_open"
SHUTDOWN: Final = "shutdown"
"""What closes a span when no event of its own does."""


def no_run(event: Event) -> Run:
    """Return what is known of runs where there is no log."""
    return Run()


class SpanFold:
    """Takes events and gives spans.

    state: changed as it goes; hand over a copy to be able to begin again.
    cursor: of the last row of the log in it.
    """

    def __init__(self, state: State, find_run: FindRun = no_run, cursor: int = 0) -> None:
        self.state = state
        self.cursor = cursor
        self._find_run = find_run
        self._spans: list[Span] = []

    def take(self, rows: Sequence[Row]) -> None:
        """Fold in rows of the log, of which no spans are wanted any more."""
        new = [row for row in rows if row.cursor > self.cursor]
        self.spans_of([row.event for row in new])
        if new:
            self.cursor = new[-1].cursor

    def spans_of(self, events: Sequence[Event]) -> list[Span]:
        """Fold in events; return the spans that end with them. Their order does not matter."""
        for event in in_order(events):
            self._meet(event)
        spans, self._spans = self._spans, []
        return spans

    def copy(self) -> "SpanFold":
        """Return a fold of its own."""
        return SpanFold(self.state.copy(), self._find_run, self.cursor)

    def close_all(self, why: str = SHUTDOWN) -> list[Span]:
        """Close what is open, where no later call will close it."""
        for span in list(self.state.open.values()):
            self._close(span, self.state.seen[span.start.producer].time_unix_nano, why)
        spans, self._spans = self._spans, []
        return spans

    def _meet(self, event: Event) -> None:
        if arrival(event) > self.state.silent_from_ns:
            self._close_silent(arrival(event))
        if event.producer in self.state.seen and event.kind != LOST:
            self.state.hear(event)
        if is_routine(event.kind):
            return
        phase = phase_of(event.kind)
        if event.kind == LOST:
            self._lost(event)
        elif phase is None:
            self._other(event)
        elif phase.word == START:
            self._start(event, phase.lifecycle)
        else:
            self._end(event, phase.lifecycle, phase.word)

    def _start(self, event: Event, lifecycle: Lifecycle) -> None:
        key = key_of(event, lifecycle)
        ended_at = self.state.ended_at(key)
        if ended_at is not None and event.time_unix_nano <= ended_at:
            self._other(event)  # its end came first, and was sent as a span
            return
        before = self.state.open.get(key)
        if before is not None:
            self._close(before, event.time_unix_nano, RESTARTED, "it began anew")
        context, parent_id = self._place(event, lifecycle)
        self.state.begin(OpenSpan(key, lifecycle, event, context, parent_id))
        if lifecycle is TRAINING:
            self.state.follow_run(event, self._find_run)
        self._keep_within_bounds()

    def _end(self, event: Event, lifecycle: Lifecycle, word: str) -> None:
        key = key_of(event, lifecycle)
        span = self.state.matching(key)
        if span is not None:
            key = span.key
            self.state.finish(span)
            self._spans.append(ended(span, event, word, lifecycle.ends[word]))
        elif word in lifecycle.not_alone or (self._has_ended(key) and word not in lifecycle.alone):
            self._other(event)
        else:
            context, parent_id = self._place(event, lifecycle)
            span = unbegun(event, lifecycle, context, parent_id)
            self._spans.append(ended(span, event, word, lifecycle.ends[word]))
        self.state.note_end(key, event.time_unix_nano)
        if lifecycle is TRAINING:
            self.state.follow_run(event, self._find_run)

    def _has_ended(self, key: Key) -> bool:
        return self.state.ended_at(key) is not None

    def _lost(self, event: Event) -> None:
        its_own = [s for s in self.state.open.values() if s.start.producer == event.producer]
        for span in its_own:
            self._close(span, event.time_unix_nano, PROCESS_LOST, event.message)
        self.state.follow_run(event, self._find_run)
        # Its own spans show it. A training that it worked for goes on, and shows it too.
        self._other(event, alone=not its_own)

    def _other(self, event: Event, *, alone: bool = True) -> None:
        """Put an event into the span that it belongs to.

        alone: whether it becomes a span by itself where that one has been sent.
        """
        attempt = None
        span = self._span_of(event)
        if span is None:
            attempt = self._attempt(event)
            span = self.state.by_id(attempt.context.span_id) if attempt else None
        if span is not None:
            self.state.add(span, event)
        elif attempt is not None and alone:
            self._spans.append(point(event, attempt.context))

    def _span_of(self, event: Event) -> OpenSpan | None:
        """Return the producer's innermost span, unless the event names a job that it is not in."""
        mine = self.state.innermost(event)
        named = job_key(event)
        job = self.state.open.get(named) if named else None
        if job is None or (mine is not None and job in self.state.above(mine)):
            return mine
        return job

    def _place(self, event: Event, lifecycle: Lifecycle) -> tuple[Context, bytes]:
        """Return the context of the span that an event begins, and its parent's id."""
        own = context_of(event)
        above = own or self._context_above(event, lifecycle)
        if above is None:
            return Context(trace_id(event), span_id(event)), b""
        return Context(above.trace_id, span_id(event), above.flags), above.span_id

    def _context_above(self, event: Event, lifecycle: Lifecycle) -> Context | None:
        if lifecycle is TRAINING:
            run = self._run(event)
            attempt = run.at(event) if run is not None and run.joins(event) else None
            return attempt.context if attempt else None
        named = job_key(event)
        job = self.state.open.get(named) if named else None
        if job is not None and job.lifecycle.holds(lifecycle):
            return job.context
        mine = self.state.innermost(event, within=lifecycle)
        if mine is not None:
            return mine.context
        attempt = self._attempt(event)
        return attempt.context if attempt else None

    def _attempt(self, event: Event) -> Attempt | None:
        run = self._run(event)
        return run.at(event) if run is not None else None

    def _run(self, event: Event) -> Run | None:
        if event.run_id is None:
            return None
        return self.state.run(event, self._find_run)

    def _close(self, span: OpenSpan, end_ns: int, why: str, words: str = "") -> None:
        self.state.finish(span)
        self._spans.append(closed(span, end_ns, why, "error" if words else "unset", words))
        if span.lifecycle is TRAINING:
            self.state.leave_run(span)

    def _close_silent(self, now_ns: int) -> None:
        """Close the spans of producers that were silent for too long before now."""
        silent = self.state.silent(now_ns)
        for span in list(self.state.open.values()):
            end_ns = silent.get(span.start.producer)
            if end_ns is not None:
                self._close(span, end_ns, SILENT, "nothing was heard of its process any more")

    def _keep_within_bounds(self) -> None:
        while len(self.state.open) > self.state.limits.open_spans:
            quietest = min(
                self.state.open.values(),
                key=lambda span: self.state.seen[span.start.producer].arrived_unix_nano,
            )
            seen = self.state.seen[quietest.start.producer]
            self._close(quietest, seen.time_unix_nano, TOO_MANY)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return events in the order in which they happened: of one producer, that of their numbers.

    A clock that was set back does not turn a start and its end around.
    """
    latest: dict[str, int] = {}
    timed: list[tuple[int, str, int, Event]] = []
    for event in sorted(events, key=lambda each: (each.producer, each.number)):
        time_ns = max(latest.get(event.producer, event.time_unix_nano), event.time_unix_nano)
        latest[event.producer] = time_ns
        timed.append((time_ns, event.producer, event.number, event))
    timed.sort(key=lambda each: each[:3])
    return [event for *_, event in timed]
