"""Filling in the rows of an older table, and mending those that no query could look into."""

import sqlite3
from typing import Any, Final

import msgspec

from realm_telemetry.log.sqlite.odd_rows import details_of
from realm_telemetry.log.sqlite.older import older_values, unfilled_below
from realm_telemetry.log.sqlite.plan import TIME_PATH
from realm_telemetry.log.sqlite.rows import READ_COLUMNS, to_log_row
from realm_telemetry.log.sqlite.schema import read_log_id

_MENDED: Final = ("channel", "severity", "source", "hero_id", "campaign_id", "message")
_to_json: Final = msgspec.json.Encoder().encode


def backfill_step(connection: sqlite3.Connection, max_rows: int) -> int:
    """Fill up to `max_rows` older rows, newest first; counts come by trigger.

    Once all are filled in, mends times. To be called inside a write transaction. Returns how many
    rows are left to look at.
    """
    below = unfilled_below(connection)
    if below <= 1:
        return _mend_times(connection, max_rows)
    log_id = read_log_id(connection)
    step = connection.execute(
        "SELECT id FROM battle_log WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        (below, max_rows - 1),
    ).fetchone()
    first = step[0] if step else 0
    _mend(connection, first, below, log_id)
    connection.execute(
        f"UPDATE battle_log SET {older_values(log_id)}"
        " WHERE id >= ? AND id < ? AND event_id IS NULL",
        (first, below),
    )
    connection.execute("UPDATE realm_meta SET value = ? WHERE key = 'older_rows_below'", (first,))
    return max(first - 1, 0)


def _mend_times(connection: sqlite3.Connection, max_rows: int) -> int:
    """Give rows whose time is no number of 64 bits one, so that history finds them.

    Such times sort outside of all others in the index, so that looking for them costs two seeks.
    Returns how many there were.
    """
    found = [
        row
        for bounds in (f"> {2**63 - 1}", f"< {-(2**63)}")
        for row in connection.execute(
            f"SELECT {READ_COLUMNS} {TIME_PATH.source()} AND time_unix_nano {bounds} LIMIT ?",
            (max_rows,),
        ).fetchall()
    ]
    for row in found:
        event = to_log_row(row, read_log_id(connection)).event
        # Text that is no time is read as 0; its arrival is nearer to the truth.
        moment = event.time_unix_nano or event.observed_unix_nano
        connection.execute(
            "UPDATE battle_log SET time_unix_nano = ? WHERE id = ?", (moment, row[0])
        )
    return len(found)


def _mend(connection: sqlite3.Connection, first: int, below: int, log_id: str) -> None:
    """Rewrite columns that are not text, or details that are not a JSON object, as they are read.

    NaN in details becomes "NaN", plain text the detail `details`.
    """
    connection.row_factory = sqlite3.Row
    try:
        found = connection.execute(
            f"SELECT {READ_COLUMNS} FROM battle_log WHERE id >= ? AND id < ? AND event_id IS NULL",
            (first, below),
        ).fetchall()
    finally:
        connection.row_factory = None
    for row in found:
        if changes := _changes(row, log_id):
            columns = ", ".join(f"{column} = ?" for column in changes)
            connection.execute(
                f"UPDATE battle_log SET {columns} WHERE id = ?", (*changes.values(), row["id"])
            )


def _changes(row: sqlite3.Row, log_id: str) -> dict[str, Any]:
    """The columns that have to change, and to what."""
    changes: dict[str, Any] = {}
    event = to_log_row(tuple(row), log_id).event
    for column in _MENDED:
        value = row[column]
        if value is not None and type(value) is not str:
            changes[column] = getattr(event, column) or ""
    if row["details_json"] is not None and not _is_object(row["details_json"]):
        changes["details_json"] = _to_json(details_of(row["details_json"])).decode()
    return changes


def _is_object(value: Any) -> bool:
    return type(value) is str and details_of(value) == _decoded(value)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
