"""What the log knows of each producer: resource, stored numbers, the receipt, and the totals."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import FIRST_CONTENT_NUMBER, PROCESS_LOST_NUMBER, Event
from realm_telemetry.log.event_rows import event_id_bytes
from realm_telemetry.log.ranges import Ranges, Run
from realm_telemetry.log.records import (
    HISTORY_PIPELINES,
    LiveProducer,
    ProducerInfo,
    Receipt,
    ReceiptTotals,
    Skipped,
)
from realm_telemetry.log.sqlite.odd_rows import read_details
from realm_telemetry.values.details import within_limits

UNBOUND: Final = ""
"""Of a producer that is not known, or whose first events came from a sender without a log."""

OWN: Final = None
"""Of a producer whose events a shipper moves into this log."""

_REMOTE: Final = "remote/"


class KnownProducers:
    """The numbers of producers that are done, for the writer: stored, or known to need no row.

    Cached while no other connection commits. All methods are to be called inside a write
    transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._done: dict[str, Ranges | None] = {}
        self._sources: dict[str, str | None] = {}
        self._version = -1

    def refresh(self) -> None:
        """Forget the cache if another connection has written since."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self.forget()
            self._version = version

    def forget(self) -> None:
        """Empty the cache, as after a rollback."""
        self._done.clear()
        self._sources.clear()

    def done(self, producer: str) -> Ranges | None:
        """The numbers done so far; None for a producer that is not registered."""
        if producer not in self._done:
            self._read(producer)
        return self._done[producer]

    def source(self, producer: str) -> str | None:
        """Where a producer's events come from: OWN, UNBOUND, or the log_id of another log."""
        if producer not in self._sources:
            self._read(producer)
        return self._sources[producer]

    def _read(self, producer: str) -> None:
        row = self._connection.execute(
            "SELECT done, pipeline, origin FROM realm_producers WHERE producer = ?", (producer,)
        ).fetchone()
        self._done[producer] = Ranges.load(row[0]) if row and row[0] else None
        self._sources[producer] = _source(row[1], row[2]) if row and row[0] else UNBOUND

    def register(self, info: ProducerInfo) -> bool:
        """Add a producer, or replace what it reports of itself; its numbers stay.

        False for a producer whose events come from elsewhere: what is known of it stays.
        """
        self.refresh()
        origin = info.origin
        if origin is not None:
            bound = self.source(info.producer)
            if bound not in (UNBOUND, origin):
                return False
            if self.done(info.producer) is not None:
                origin = bound
        # Only of a new producer: registering one again would read millions of rows here.
        done = self.done(info.producer)
        if done is None:
            done = self._numbers_in_rows(info.producer)
        self._connection.execute(
            "INSERT INTO realm_producers"
            " (producer, pipeline, resource_json, history, clock_offset_ns, done, stored, origin)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (producer) DO UPDATE SET"
            " done = CASE done WHEN '' THEN excluded.done ELSE done END,"
            " stored = CASE done WHEN '' THEN excluded.stored ELSE stored END,"
            " pipeline = excluded.pipeline, resource_json = excluded.resource_json,"
            " history = excluded.history, clock_offset_ns = excluded.clock_offset_ns,"
            " origin = excluded.origin",
            (
                info.producer,
                info.pipeline,
                _resource_text(info.resource),
                info.history,
                info.clock_offset_ns,
                done.dump(),
                len(done) - (PROCESS_LOST_NUMBER in done),
                origin,
            ),
        )
        self._done.pop(info.producer, None)
        self._sources.pop(info.producer, None)
        return True

    def note_resource(self, producer: str, pipeline: str, resource: Mapping[str, Any]) -> None:
        """Keep what another log knew of a producer, if nothing is known here.

        Its numbers are not kept: those that come by way of an import may have gaps everywhere,
        and rows are known by their event ids.
        """
        self._connection.execute(
            "INSERT OR IGNORE INTO realm_producers (producer, pipeline, resource_json, done)"
            " VALUES (?, ?, ?, '')",
            (producer, pipeline, _resource_text(resource)),
        )

    def add(self, runs: Iterable[Run], events: Sequence[Event], skipped: Skipped) -> None:
        """Note that these runs of `events` are stored now, and that some numbers need no row."""
        stored: Counter[str] = Counter()
        last: dict[str, Event] = {}
        for run in runs:
            done = self.done(run.producer)
            # Each number made of content would be a range of its own, and tell nothing.
            if done is not None and _is_counted(run.last):
                new = done.add(run.first, run.last)
                lost = run.last == PROCESS_LOST_NUMBER
                stored[run.producer] += max(new - lost, 0)
                last[run.producer] = events[run.stop - 1]
        for producer, ranges in skipped.items():
            if (done := self.done(producer)) is not None:
                for first, end in ranges:
                    done.add(first, end)
        for producer in {*last, *skipped}:
            self._save(producer, stored[producer], last.get(producer))

    def _save(self, producer: str, stored: int, event: Event | None) -> None:
        done = self.done(producer)
        if done is None:
            return
        step = event.details.get("step") if event else None
        self._connection.execute(
            "UPDATE realm_producers SET done = ?, stored = stored + ?,"
            " last_kind = coalesce(?, last_kind), last_step = coalesce(?, last_step),"
            " last_time_unix_nano = coalesce(?, last_time_unix_nano) WHERE producer = ?",
            (
                done.dump(),
                stored,
                event.kind if event else None,
                step if isinstance(step, int) and abs(step) < 2**63 else None,
                event.time_unix_nano if event else None,
                producer,
            ),
        )

    def _numbers_in_rows(self, producer: str) -> Ranges:
        first, last = (event_id_bytes(producer, number) for number in (0, 2**64 - 1))
        rows = self._connection.execute(
            "SELECT event_id FROM battle_log WHERE event_id BETWEEN ? AND ? ORDER BY event_id",
            (first, last),
        )
        numbers = (int.from_bytes(row[0][8:], "big") for row in rows)
        return Ranges((number, number) for number in numbers if _is_counted(number))


def _resource_text(resource: Mapping[str, Any]) -> str:
    """Write a resource within the limits of an event's details."""
    event = Event("", "system", "info", "", dict(resource), 0, "0" * 16, 1)
    return msgspec.json.encode(within_limits(event).details).decode()


def _resource(text: Any) -> dict[str, Any]:
    """Read a resource that other software may have written."""
    return read_details(text) if text and isinstance(text, str) else {}


def _source(pipeline: str, origin: str | None) -> str | None:
    """Where the events of a registered producer come from."""
    if pipeline.startswith(_REMOTE):
        return origin or UNBOUND
    return UNBOUND if pipeline in HISTORY_PIPELINES else OWN


def _is_counted(number: int) -> bool:
    return number < FIRST_CONTENT_NUMBER or number == PROCESS_LOST_NUMBER


def stored_numbers(connection: sqlite3.Connection, producer: str) -> Ranges:
    """The numbers that are done of a producer; none of one that is not registered."""
    row = connection.execute(
        "SELECT done FROM realm_producers WHERE producer = ?", (producer,)
    ).fetchone()
    done = Ranges.load(row[0]) if row and row[0] else Ranges()
    return Ranges(pair for pair in done.pairs() if pair[1] < FIRST_CONTENT_NUMBER)


def stored_among(connection: sqlite3.Connection, events: Sequence[Event]) -> int:
    """How many of these events are in rows, or were and are refused since."""
    known = KnownProducers(connection)
    stored, in_rows = 0, []
    for event in events:
        done = known.done(event.producer)
        if done is None or not _is_counted(event.number):
            in_rows.append(event_id_bytes(event.producer, event.number))
        else:
            stored += event.number in done
    if in_rows:
        marks = ", ".join("?" * len(in_rows))
        stored += connection.execute(
            f"SELECT count(*) FROM battle_log WHERE event_id IN ({marks})", in_rows
        ).fetchone()[0]
    return stored


def record_receipt(
    connection: sqlite3.Connection,
    producer: str,
    *,
    emitted: int | None,
    dropped: int | None,
    ended: bool | None,
) -> None:
    """Keep what a producer reports of itself; None leaves what is known."""
    connection.execute(
        "UPDATE realm_producers SET emitted = coalesce(?, emitted),"
        " dropped = coalesce(?, dropped), ended = coalesce(?, ended) WHERE producer = ?",
        (_storable(emitted), _storable(dropped), ended, producer),
    )


def _storable(number: int | None) -> int | None:
    """Limit a number to SQLite's signed integers; another host may send all 64 bits."""
    return None if number is None else min(number, 2**63 - 1)


_PRODUCER_COLUMNS: Final = (
    "producer, pipeline, resource_json, history, clock_offset_ns, ended,"
    " last_kind, last_step, last_time_unix_nano"
)


def read_producers(connection: sqlite3.Connection) -> list[ProducerInfo]:
    """All registered producers."""
    rows = connection.execute(f"SELECT {_PRODUCER_COLUMNS} FROM realm_producers ORDER BY producer")
    return [
        ProducerInfo(
            row[0],
            row[1],
            _resource(row[2]),
            bool(row[3]),
            row[4],
            bool(row[5]),
            *row[6:],
        )
        for row in rows
    ]


def read_receipts(connection: sqlite3.Connection) -> list[Receipt]:
    """The receipts of all registered producers."""
    rows = connection.execute(
        "SELECT producer, pipeline, emitted, stored, dropped, ended, done, clock_offset_ns"
        " FROM realm_producers WHERE done != '' ORDER BY producer"
    )
    return [_receipt(*row) for row in rows]


def _receipt(
    producer: str,
    pipeline: str,
    emitted: int | None,
    stored: int,
    dropped: int,
    ended: int,
    done: str,
    clock_offset_ns: int,
) -> Receipt:
    complete = emitted is not None and not dropped and Ranges.load(done).covers(1, emitted)
    return Receipt(
        producer, pipeline, emitted, stored, dropped, bool(ended), complete, clock_offset_ns
    )


MOST_LIVE: Final = 50

# The ranges of `done` are sorted and do not touch: 1 to `emitted` are there if the first has them.
_TOTALS: Final = """
SELECT count(*), total(NOT ended), total(emitted), total(iif(emitted IS NULL, 0, stored)),
    total(iif(emitted IS NULL, stored, 0)), total(dropped),
    total(emitted IS NOT NULL AND (dropped > 0 OR emitted > 0
        AND (json_extract(done, '$[0][0]') IS NOT 1 OR json_extract(done, '$[0][1]') < emitted)))
FROM realm_producers WHERE done != ''"""
_LIVE: Final = """
SELECT producer, coalesce(CASE WHEN json_valid(resource_json)
        THEN json_extract(resource_json, '$."service.name"') END, ''),
    emitted, stored, dropped FROM realm_producers WHERE done != '' AND NOT ended
ORDER BY last_time_unix_nano DESC, producer LIMIT ?"""


def receipt_totals(connection: sqlite3.Connection, most_live: int = MOST_LIVE) -> ReceiptTotals:
    """Add up the receipts of all registered producers."""
    numbers = connection.execute(_TOTALS).fetchone()
    live = [LiveProducer(*row) for row in connection.execute(_LIVE, (most_live,))]
    producers, alive, emitted, stored, stored_so_far, dropped, incomplete = map(int, numbers)
    return ReceiptTotals(
        producers, alive, emitted, stored, stored_so_far, dropped, incomplete, live
    )
