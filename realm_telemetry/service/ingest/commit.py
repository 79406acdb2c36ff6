"""Batches into the log, and how many events of each were there already."""

from collections.abc import Sequence

from realm_telemetry.event import Event
from realm_telemetry.log.engine import Reader, Snapshot, Writer
from realm_telemetry.log.records import MAX_BATCH, AppendResult


def commit_one(writer: Writer, events: Sequence[Event], *, keep_arrival: bool = False) -> int:
    """Store a batch of any size; returns its duplicates.

    A batch over MAX_BATCH takes several transactions, so that other writers get their turn. If
    one fails, the sender sends all again and the stored ones count as duplicates.
    """
    return sum(
        writer.append(events[start : start + MAX_BATCH], keep_arrival=keep_arrival).duplicates
        for start in range(0, len(events), MAX_BATCH)
    )


def commit_together(
    writer: Writer,
    reader: Reader,
    batches: Sequence[Sequence[Event]],
    *,
    keep_arrival: bool = False,
) -> list[int]:
    """Store several batches in one transaction; returns the duplicates of each."""
    events = [event for batch in batches for event in batch]
    result = writer.append(events, keep_arrival=keep_arrival)
    if not result.duplicates:
        return [0] * len(batches)
    with reader.snapshot() as log:
        return _duplicates_of_each(log, result, batches)


def _duplicates_of_each(
    log: Snapshot, result: AppendResult, batches: Sequence[Sequence[Event]]
) -> list[int]:
    """Rare, so by looking each event up: it is new if its row is of this transaction."""
    counts, seen = [], set[str]()
    for batch in batches:
        new = 0
        for event in batch:
            if event.id not in seen and _is_of(result, log.get(event.id)):
                new += 1
            seen.add(event.id)
        counts.append(len(batch) - new)
    return counts


def _is_of(result: AppendResult, row: object) -> bool:
    cursor = getattr(row, "cursor", 0)
    return bool(cursor) and result.first_cursor <= cursor <= result.last_cursor
