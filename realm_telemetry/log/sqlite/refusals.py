"""Events that are refused because of whose number they have, and those that are no duplicates.

An event id is a producer and a number, and both are public. So a number of a producer is taken only
from where its first events came from, and an event that has the id of another one is never counted
as if it were that one.
"""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from realm_telemetry.event import FIRST_CONTENT_NUMBER, PROCESS_LOST_NUMBER, Event
from realm_telemetry.log.event_rows import Row
from realm_telemetry.log.records import RefusedEvent
from realm_telemetry.log.sqlite.producers import OWN, UNBOUND, KnownProducers

_ID, _TIME, _KIND = 0, 1, 4
_AT_ONCE: Final = 500
_SELECT: Final = "SELECT event_id, time_unix_nano, kind FROM battle_log WHERE event_id IN (%s)"


def foreign_events(
    connection: sqlite3.Connection,
    known: KnownProducers,
    events: Sequence[Event],
    rows: Sequence[Row],
    source: str,
) -> dict[int, RefusedEvent]:
    """Find events of producers that another source writes, by position.

    source: the log_id of the sender's log; empty for a sender without one.
    Those that are stored already are left: they are duplicates, or differ.
    """
    owners = {event.producer: known.source(event.producer) for event in events}
    strange = {name for name, owner in owners.items() if owner not in (UNBOUND, source)}
    if not strange:
        return {}
    positions = [
        at
        for at, event in enumerate(events)
        if event.producer in strange and not _is_of_content(event.number)
    ]
    stored = stored_values(connection, [rows[at][_ID] for at in positions])
    refused = {}
    for at in positions:
        event = events[at]
        done = known.done(event.producer)
        if rows[at][_ID] in stored or (done is not None and event.number in done):
            continue
        refused[at] = RefusedEvent(at, event.id, _whose(owners[event.producer]))
    return refused


def _is_of_content(number: int) -> bool:
    """Whether a number is made of content: then it takes none that a producer counts."""
    return FIRST_CONTENT_NUMBER <= number < PROCESS_LOST_NUMBER


def _whose(owner: str | None) -> str:
    if owner == OWN:
        return "its producer writes to this log itself; others cannot add to its events"
    return (
        f"its producer's events come from the log {owner}, and this sender reads another one."
        " If that log was replaced, send them with `realm replay --to`"
    )


def differing_events(
    connection: sqlite3.Connection,
    events: Sequence[Event],
    rows: Sequence[Row],
    untimed: Collection[str],
) -> dict[int, RefusedEvent]:
    """Find events whose id is stored with another kind or time, by position.

    untimed: ids of events whose time was given to them here.
    Numbers made of content are left out: the same content is the same event.
    """
    counted = [at for at, event in enumerate(events) if event.number < FIRST_CONTENT_NUMBER]
    stored = stored_values(connection, [rows[at][_ID] for at in counted])
    refused = {}
    for at in counted:
        row, event = rows[at], events[at]
        time, kind = stored.get(row[_ID], (row[_TIME], row[_KIND]))
        if kind != row[_KIND] or (time != row[_TIME] and event.id not in untimed):
            reason = f"its id is that of another event, of the kind {kind}, which is in the log"
            refused[at] = RefusedEvent(at, event.id, reason)
    return refused


def stored_values(
    connection: sqlite3.Connection, ids: Sequence[bytes]
) -> dict[bytes, tuple[int, str]]:
    """Time and kind of the rows that are there, by event id."""
    found = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        for event_id, time, kind in connection.execute(_SELECT % marks, some):
            found[bytes(event_id)] = (time, kind)
    return found
