"""Rows of the older battle log: what the added columns hold for them, in SQL and in Python.

A trigger fills the rows that older code goes on inserting, `backfill` those that were there
before, and the reader works the same values out for rows that no step has reached.
"""

import re
import sqlite3
from datetime import UTC, datetime, tzinfo
from typing import Final

OLDER_KIND: Final = "note"
"""The kind of rows whose source is a module's name, not `event.<kind>`."""

_SOURCE_PREFIX: Final = "event."
_ALL_BYTES: Final = bytes(range(256)).hex()
_NOW_NS: Final = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000"

# Seconds and fraction apart: as one floating-point number a time would lose its microseconds.
_TIME_NS: Final = """coalesce(
    CAST(strftime('%s', substr(timestamp, 1, 19) || CASE
        WHEN timestamp GLOB '*[+-][0-9][0-9]:[0-9][0-9]' THEN substr(timestamp, -6)
        ELSE '' END) AS INTEGER) * 1000000000
    + CASE WHEN substr(timestamp, 20, 1) = '.'
        THEN CAST(round(CAST('0.' || substr(timestamp, 21, 9) AS REAL) * 1e9) AS INTEGER)
        ELSE 0 END,
    {now})"""

_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?\d*(Z|[+-]\d\d:\d\d)?"
)


def older_producer(log_id: str) -> str:
    """The producer that a log's older rows are put down to; their number is the row id."""
    return log_id[:16]


def older_values(log_id: str) -> str:
    """The `column = expression` list that fills one older row, from its own columns alone.

    Plain SQL: the trigger runs inside older code's connection.
    """
    # unhex() came with SQLite 3.41, so the row id's bytes are cut from a literal.
    number = " || ".join(
        f"substr(bytes, ((id >> {shift}) & 255) + 1, 1)" for shift in range(56, -8, -8)
    )
    producer = older_producer(log_id)
    return f"""
        event_id = (SELECT CAST(x'{producer}' || {number} AS BLOB)
            FROM (SELECT x'{_ALL_BYTES}' AS bytes)),
        time_unix_nano = {_TIME_NS.format(now=_NOW_NS)},
        observed_unix_nano = {_NOW_NS},
        kind = CASE WHEN source GLOB '{_SOURCE_PREFIX}?*'
            THEN substr(source, {len(_SOURCE_PREFIX) + 1}) ELSE '{OLDER_KIND}' END,
        producer = '{producer}',
        channel = coalesce(channel, 'system'),
        severity = coalesce(severity, 'info'),
        source = coalesce(source, ''),
        message = coalesce(message, '')"""


def older_kind(source: str) -> str:
    """The kind of an older row, from its source."""
    return source.removeprefix(_SOURCE_PREFIX) if is_bus(source) else OLDER_KIND


def is_bus(source: str) -> bool:
    """Whether the older event bus wrote the row."""
    return source.startswith(_SOURCE_PREFIX) and len(source) > len(_SOURCE_PREFIX)


def older_time(timestamp: str, zone: tzinfo | None = UTC) -> int | None:
    """An older row's time in ns since 1970; None if it cannot be read.

    zone: of a time that names none; None is this machine's.
    """
    match = _TIME.match(timestamp)
    if not match:
        return None
    text, fraction, named = match.groups()
    try:
        moment = datetime.fromisoformat(text + (named or ""))
    except ValueError:
        return None
    seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def are_unfilled(connection: sqlite3.Connection) -> bool:
    """Whether older rows are left that pages and counts do not see yet."""
    return unfilled_below(connection) > 1


def unfilled_below(connection: sqlite3.Connection) -> int:
    """Return the row id below which older rows are still to be filled in."""
    left = connection.execute(
        "SELECT value FROM realm_meta WHERE key = 'older_rows_below'"
    ).fetchone()
    return int(left[0]) if left else 0
