"""One row, and those around it."""

import sqlite3

from realm_telemetry.log.rows import READ_COLUMNS, LogRow, event_id_bytes, read_rows, to_log_row
from realm_telemetry.log.sqlite.older import older_producer
from realm_telemetry.log.sqlite.paths import OLDEST, TIME_PATH, Bounds, newest
from realm_telemetry.log.tokens import Position


def by_cursor(connection: sqlite3.Connection, cursor: int, log_id: str) -> LogRow | None:
    """The row with a cursor."""
    rows = read_rows(connection, [cursor], log_id) if cursor < 2**63 else []
    return rows[0] if rows else None


def by_event_id(
    connection: sqlite3.Connection, producer: str, number: int, log_id: str
) -> LogRow | None:
    """The row of an event; an older row is found by its row id, filled in or not."""
    if producer == older_producer(log_id):
        return by_cursor(connection, number, log_id)
    row = connection.execute(
        f"SELECT {READ_COLUMNS} FROM battle_log WHERE event_id = ?",
        (event_id_bytes(producer, number),),
    ).fetchone()
    return to_log_row(row, log_id) if row else None


def around(
    connection: sqlite3.Connection, row: LogRow, before: int, after: int, log_id: str
) -> list[LogRow]:
    """The neighbours of a row by time, oldest first, with the row between them."""
    place = Position(row.event.time_unix_nano, row.cursor)
    earlier = newest(connection, TIME_PATH, Bounds(OLDEST, place, 2**63 - 1), before)
    later = connection.execute(
        f"SELECT id {TIME_PATH.source()} AND (time_unix_nano, id) > (?, ?)"
        " ORDER BY time_unix_nano, id LIMIT ?",
        (*place, after),
    ).fetchall()
    ids = [position.cursor for position in reversed(earlier)]
    return read_rows(connection, [*ids, row.cursor, *(found[0] for found in later)], log_id)
