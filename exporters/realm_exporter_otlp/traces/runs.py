"""Training runs: which span is the root of what happens in a run, also after it has been sent."""

from collections.abc import Iterable
from typing import Final

import msgspec

from realm_exporter_otlp.traces.ids import Context, context_of, span_id, trace_id
from realm_exporter_otlp.traces.lifecycles import LOST, START, TRAINING, phase_of
from realm_telemetry.event import Event

MAX_ATTEMPTS: Final = 16
"""Of one run, the last that are remembered."""


class Attempt(msgspec.Struct, frozen=True):
    """One training of a run: the root of a trace."""

    context: Context
    parent_id: bytes
    start_unix_nano: int
    arrived_unix_nano: int


class Run(msgspec.Struct, frozen=True):
    """A run's trainings, oldest first. going: the processes that are in the last of them."""

    attempts: tuple[Attempt, ...] = ()
    going: frozenset[str] = frozenset()

    def at(self, event: Event) -> Attempt | None:
        """Return the last training that had begun, as far as was known when an event arrived.

        What is only known later does not count: the same event must have the same parent
        whenever it is looked at.
        """
        for attempt in reversed(self.attempts):
            began = attempt.start_unix_nano <= event.time_unix_nano
            if began and attempt.arrived_unix_nano <= arrival(event):
                return attempt
        return None

    def joins(self, event: Event) -> bool:
        """Whether a training that starts is one of several processes that train together."""
        return bool(self.going - {event.producer}) and self.at(event) is not None

    def after(self, event: Event) -> "Run":
        """Return the run as it is after one more of its events."""
        phase = phase_of(event.kind)
        if phase is not None and phase.lifecycle is TRAINING and phase.word == START:
            attempts = self.attempts
            if not self.joins(event):
                attempts = (*attempts, _attempt(event))[-MAX_ATTEMPTS:]
            return Run(attempts, self.going | {event.producer})
        if event.kind == LOST or (phase is not None and phase.lifecycle is TRAINING):
            return self.without(event.producer)
        return self

    def without(self, producer: str) -> "Run":
        """Return the run without a process that trains no more."""
        return Run(self.attempts, self.going - {producer})


def run_of(events: Iterable[Event]) -> Run:
    """Return what events tell of one run, in order of arrival."""
    run = Run()
    for event in events:
        run = run.after(event)
    return run


def arrival(event: Event) -> int:
    """Return when an event arrived in the log; where there is none, when it happened."""
    if event.observed_unix_nano is None:
        return event.time_unix_nano
    return event.observed_unix_nano


def _attempt(event: Event) -> Attempt:
    own = context_of(event)
    context = Context(
        own.trace_id if own else trace_id(event), span_id(event), own.flags if own else 1
    )
    parent_id = own.span_id if own else b""
    return Attempt(context, parent_id, event.time_unix_nano, arrival(event))
