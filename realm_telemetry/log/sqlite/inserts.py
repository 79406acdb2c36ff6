"""The statements of one append."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.log.event_rows import INSERT_COLUMNS, Row, event_id_bytes
from realm_telemetry.log.sqlite.schema import HOUR_NS

# Rows to a statement. A statement for each row costs twice as much: the triggers make SQLite open
# a savepoint for every statement, and copy each page that it changes a second time. CPU of a row
# whose keys lie anywhere: 24.6 us with 1, 15.5 with 20, 11.8 with 100, 10.1 with 500.
_ROWS_PER_STATEMENT: Final = (500, 100, 10, 1)
_INSERT: Final = {
    count: f"INSERT INTO battle_log ({', '.join(INSERT_COLUMNS)}) VALUES "
    + ", ".join(["(" + ", ".join("?" * len(INSERT_COLUMNS)) + ")"] * count)
    # Not OR IGNORE, which would swallow a row with a missing message as if it were a duplicate.
    + " ON CONFLICT (event_id) WHERE event_id IS NOT NULL DO NOTHING"
    for count in _ROWS_PER_STATEMENT
}

CLOCK_JUMP_NS: Final = 60_000_000_000

CountKey = tuple[int, str, str, str]


def last_cursor(connection: sqlite3.Connection) -> int:
    """The row id of the last row, or of the last that was there if all are gone."""
    # sqlite_sequence alone would do, but it also counts ids that a refused duplicate took.
    row = connection.execute(
        "SELECT coalesce((SELECT max(id) FROM battle_log),"
        " (SELECT seq FROM sqlite_sequence WHERE name = 'battle_log'), 0)"
    ).fetchone()
    return int(row[0])


def last_arrival(connection: sqlite3.Connection) -> int | None:
    """The arrival of the last row; None if there is none, or other software wrote it."""
    row = connection.execute(
        "SELECT observed_unix_nano FROM battle_log ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return row[0] if row and isinstance(row[0], int) else None


def note_clock(
    connection: sqlite3.Connection, before: int | None, arrival: int, first: int
) -> bool:
    """Keep that the log's clock went back, where it did by over 60 s since the row before.

    before, arrival: of the row before and of the first one stored now. first: its cursor.
    Returns whether it did.
    """
    if before is None or arrival >= before - CLOCK_JUMP_NS:
        return False
    connection.execute("INSERT INTO realm_clock_jumps VALUES (?, ?)", (first, arrival))
    return True


class Inserted(NamedTuple):
    """What an insert has stored.

    rows: in the order of INSERT_COLUMNS. first, last: their cursors, 0 if there are none.
    before, arrival_before: cursor and arrival of the row before them.
    """

    rows: list[Row]
    first: int
    last: int
    before: int
    arrival_before: int | None


def insert_rows(connection: sqlite3.Connection, rows: list[Row]) -> Inserted:
    """Insert rows whose event id is not there yet; returns those."""
    before, arrival_before = last_cursor(connection), last_arrival(connection)
    stored = _insert(connection, rows)
    if not stored:
        return Inserted([], 0, 0, before, arrival_before)
    last = last_cursor(connection)
    if stored == len(rows):
        return Inserted(rows, last - stored + 1, last, before, arrival_before)
    rows, first = _rows_after(connection, before)
    return Inserted(rows, first, last, before, arrival_before)


def _insert(connection: sqlite3.Connection, rows: list[Row]) -> int:
    stored = position = 0
    for count in _ROWS_PER_STATEMENT:
        while len(rows) - position >= count:
            values = [value for row in rows[position : position + count] for value in row]
            stored += connection.execute(_INSERT[count], values).rowcount
            position += count
    return stored


def _rows_after(connection: sqlite3.Connection, cursor: int) -> tuple[list[Row], int]:
    """The rows after a cursor, in the order of INSERT_COLUMNS, and the row id of the first."""
    rows = connection.execute(
        f"SELECT {', '.join(INSERT_COLUMNS)}, id FROM battle_log WHERE id > ? ORDER BY id",
        (cursor,),
    ).fetchall()
    return [row[:-1] for row in rows], rows[0][-1]


def add_counts(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Add stored rows to the hourly counts, those by run, and the totals."""
    found = Counter([(row[1] // HOUR_NS, row[5], row[6], row[4], row[10]) for row in rows])
    counts: Counter[CountKey] = Counter()
    for (hour, channel, severity, kind, _), count in found.items():
        counts[hour, channel, severity, kind] += count
    connection.executemany(
        "INSERT INTO realm_hourly_counts (hour, channel, severity, kind, happened)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET happened = happened + excluded.happened",
        [(*key, count) for key, count in counts.items()],
    )
    connection.executemany(
        "INSERT INTO realm_run_counts (hour, channel, severity, kind, run_id, happened)"
        " VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET happened = happened + excluded.happened",
        [(*key, count) for key, count in found.items() if key[-1] is not None],
    )
    totals: Counter[tuple[str, str, str]] = Counter()
    for key, count in counts.items():
        totals[key[1:]] += count
    connection.executemany(
        "INSERT INTO realm_totals (channel, severity, kind, happened)"
        " VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET happened = happened + excluded.happened",
        [(*key, count) for key, count in totals.items()],
    )


def add_webhooks(
    connection: sqlite3.Connection, events: Sequence[Event], kept: Mapping[str, str], before: int
) -> None:
    """Note which addresses events stored after the cursor `before` ask for.

    kept: what the log is to hold of each address, see log.addresses.
    """
    connection.executemany(
        "INSERT OR IGNORE INTO webhook_requests"
        " SELECT id, ? FROM battle_log WHERE event_id = ? AND id > ?",
        [
            (
                msgspec.json.encode([kept[url] for url in event.webhooks if url in kept]).decode(),
                event_id_bytes(event.producer, event.number),
                before,
            )
            for event in events
            if kept and event.webhooks
        ],
    )
