"""The events that an exporter refused."""

import sqlite3

from realm_telemetry.log.records import DeadLetter


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


def read_dead_letters(
    connection: sqlite3.Connection, pipeline: str | None = None
) -> list[DeadLetter]:
    """The refused events of one pipeline or of all, oldest first."""
    rows = connection.execute(
        "SELECT pipeline, exporter, cursor, lower(hex(event_id)), reason, time_unix_nano"
        " FROM realm_dead_letters WHERE pipeline = coalesce(?, pipeline) ORDER BY id",
        (pipeline,),
    )
    return [DeadLetter(row[0], row[1], row[2], row[3] or None, row[4], row[5]) for row in rows]
