"""`routine=latest`: one routine event per interval, kind and producer, and how many it stands for.

The first of a quiet kind goes through at once. Later ones within the interval replace each other
and the last goes when the interval ends. Counting them tells a reader what was left out.
"""

from typing import Final, NamedTuple

from realm_telemetry.event import Event

_FORGET_ABOVE: Final = 1_000


class Coalesced(NamedTuple):
    """An event to send; `coalesced` routine events before it were left out for it."""

    cursor: int
    event: Event
    coalesced: int


class Coalescer:
    """Thins routine events by time.

    Bounded by the number of kinds and producers seen in one interval; times are seconds.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next_at: dict[tuple[str, str], float] = {}
        self._held: dict[tuple[str, str], Coalesced] = {}

    @property
    def holding(self) -> bool:
        """Whether an event waits for the end of its interval."""
        return bool(self._held)

    def offer(self, cursor: int, event: Event, now_s: float) -> Coalesced | None:
        """Take a routine event; returns it if it may go now."""
        key = (event.kind, event.producer)
        held = self._held.get(key)
        if held is None and self._next_at.get(key, 0.0) <= now_s:
            self._next_at[key] = now_s + self._interval_s
            return Coalesced(cursor, event, 0)
        self._held[key] = Coalesced(cursor, event, held.coalesced + 1 if held else 0)
        return None

    def due(self, now_s: float) -> list[Coalesced]:
        """Take out what has waited its interval, in the order of the log."""
        keys = [key for key in self._held if self._next_at[key] <= now_s]
        taken = [self._held.pop(key) for key in keys]
        for key in keys:
            self._next_at[key] = now_s + self._interval_s
        if len(self._next_at) > _FORGET_ABOVE:
            self._forget_quiet(now_s)
        return sorted(taken, key=lambda one: one.cursor)

    def _forget_quiet(self, now_s: float) -> None:
        self._next_at = {
            key: at for key, at in self._next_at.items() if at > now_s or key in self._held
        }


def thin_batch(rows: list[tuple[int, Event]], routine: frozenset[int]) -> list[Coalesced]:
    """Keep the last routine event per kind and producer of a batch out of the log.

    routine: the cursors of the batch that are routine.
    """
    counts: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], int] = {}
    for cursor, event in rows:
        if cursor in routine:
            key = (event.kind, event.producer)
            counts[key] = counts.get(key, -1) + 1
            last[key] = cursor
    kept = []
    for cursor, event in rows:
        key = (event.kind, event.producer)
        if cursor not in routine:
            kept.append(Coalesced(cursor, event, 0))
        elif last[key] == cursor:
            kept.append(Coalesced(cursor, event, counts[key]))
    return kept
