"""Stamps that a wrong clock cannot freeze: which of two values is later, whoever's clock was ahead.

A stamp is (time, producer, number). Two things make its time one that later events could not beat:

- A producer's clock is ahead of the log's: an event that arrives over 60 s before its own time is
  stamped with its arrival.
- The log's own clock was ahead and went back. The log has the first row after each such step, and
  its arrival. Every stamp of an earlier row is lowered to that arrival.

Both keep the order among the stamps that they lower, by the time they had. So the stamp of a row
depends on the row and on the steps that came after it, never on the order of folding.
"""

from typing import Any, Final

from realm_telemetry.event import Event

Stamp = tuple[Any, ...]

AHEAD_NS: Final = 60_000_000_000
"""How far an event's time may be ahead of its arrival: clocks of hosts differ a little."""

UNDERWAY_NS: Final = 1_000_000_000
"""How much lower than an arrival a stamp is made: what arrives then is as old as its way took."""


def stamp_of(event: Event) -> Stamp:
    """Return the stamp of an event."""
    time, arrival = event.time_unix_nano, event.observed_unix_nano
    if arrival is not None and time > arrival + AHEAD_NS:
        return lowered((time, event.producer, event.number), arrival)
    return (time, event.producer, event.number)


def set_back_before(row: object) -> int | None:
    """Return a row's arrival if the log's clock went back before it.

    Rows of version 0.1.0, whose process goes on with these files, do not say.
    """
    return getattr(row, "set_back_unix_nano", None)


def lowered(stamp: Stamp, arrival_unix_nano: int) -> Stamp:
    """Return a stamp that what arrived from a moment on is later than, or the stamp itself.

    stamp: may have more in front of its time.
    """
    *front, time, producer, number = stamp
    limit = arrival_unix_nano - UNDERWAY_NS
    if time <= limit:
        return stamp
    # The tilde is above all digits: a stamp that had the time of the limit stays below.
    return (*front, limit, f"~{time + 2**63:016x}{producer}", number)
