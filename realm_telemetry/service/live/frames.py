"""Server-sent events as bytes, and the coalescing of routine events (`routine=latest`).

A frame is fields, one a line, ended by an empty line. The data is JSON on one line: a JSON text
has no bare line break, so nothing inside an event can end a frame or forge a field.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
Coalescing sends one routine event per interval, kind and producer. The first one after silence goes
at once. Later ones within the interval replace each other; the last is sent when the interval ends,
with the number of events it stands for.
"""

from typing import Any, Final, NamedTuple

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_to_dict

KEEPALIVE: Final = b": keepalive\n\n"
RETRY: Final = b"retry: 1000\n\n"

_encode = msgspec.json.encode


def stream_name(log_id: str, failovers: int) -> str:
    """Return what ids of a stream begin with: the log, and how many failovers it has had."""
    return f"{log_id}.{failovers}" if failovers else log_id


def event_frame(name: str, cursor: int, event: Event) -> bytes:
    """An event with its id, `name-rowid`, at which a reader resumes. name: of the stream."""
    return b"id: %s-%d\nevent: event\ndata: %s\n\n" % (
        name.encode(),
        cursor,
        _encode(event_to_dict(event, cursor)),
    )


def replayed_frame(cursor: int, event: Event) -> bytes:
    """A replayed event. No id: a reader that resumed there would go back."""
    shape = event_to_dict(event, cursor)
    shape["replayed"] = True
    return b"event: event\ndata: %s\n\n" % _encode(shape)


def coalesced_frame(
    name: str, cursor: int, event: Event, coalesced: int, *, resumable: bool
) -> bytes:
    """A routine event that stands for `coalesced` others.

    resumable: False leaves the id out, because one further on has gone before: a reader that
    resumed here would get that one twice.
    """
    shape = event_to_dict(event, cursor)
    if coalesced:
        shape["coalesced"] = coalesced
    head = b"id: %s-%d\n" % (name.encode(), cursor) if resumable else b""
    return b"%sevent: event\ndata: %s\n\n" % (head, _encode(shape))


def message_frame(name: str, data: dict[str, Any], *, event_id: str | None = None) -> bytes:
    """Any other message: snapshot, reset, gap."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: ".encode() + _encode(data) + b"\n\n"


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
