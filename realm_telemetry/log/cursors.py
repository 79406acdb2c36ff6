"""How far each exporter has read, and the events that one of them refused."""

import sqlite3

import msgspec


class DeadLetter(msgspec.Struct, frozen=True):
    """An event that an exporter will never take.

    event_id: 32 hex digits, None if the row was gone already.
    """

    pipeline: str
    exporter: str
    cursor: int
    event_id: str | None
    reason: str
    time_unix_nano: int


def load_cursors(connection: sqlite3.Connection, pipeline: str) -> dict[str, int]:
    """The last cursor that each exporter of a pipeline has acknowledged."""
    return dict(
        connection.execute(
            "SELECT exporter, cursor FROM realm_cursors WHERE pipeline = ?", (pipeline,)
        )
    )


def save_cursor(connection: sqlite3.Connection, pipeline: str, exporter: str, cursor: int) -> None:
    """Move an exporter's cursor."""
    connection.execute(
        "INSERT INTO realm_cursors VALUES (?, ?, ?)"
        " ON CONFLICT (pipeline, exporter) DO UPDATE SET cursor = excluded.cursor",
        (pipeline, exporter, cursor),
    )


def drop_cursor(connection: sqlite3.Connection, pipeline: str, exporter: str) -> None:
    """Forget an exporter that is no longer set up, so that nothing is kept for it."""
    connection.execute(
        "DELETE FROM realm_cursors WHERE pipeline = ? AND exporter = ?", (pipeline, exporter)
    )


def add_dead_letter(
    connection: sqlite3.Connection,
    pipeline: str,
    exporter: str,
    cursor: int,
    reason: str,
    time_unix_nano: int,
) -> None:
    """Keep the refused event's id and the reason, even after its row is gone."""
    connection.execute(
        "INSERT INTO realm_dead_letters"
        " (pipeline, exporter, cursor, event_id, reason, time_unix_nano)"
        " VALUES (?, ?, ?, (SELECT event_id FROM battle_log WHERE id = ?), ?, ?)",
        (pipeline, exporter, cursor, cursor, reason, time_unix_nano),
    )


def read_dead_letters(connection: sqlite3.Connection, pipeline: str | None) -> list[DeadLetter]:
    """The refused events of one pipeline or of all, oldest first."""
    rows = connection.execute(
        "SELECT pipeline, exporter, cursor, lower(hex(event_id)), reason, time_unix_nano"
        " FROM realm_dead_letters WHERE pipeline = coalesce(?, pipeline) ORDER BY id",
        (pipeline,),
    )
    return [DeadLetter(row[0], row[1], row[2], row[3] or None, row[4], row[5]) for row in rows]
