"""Tests that look inside SQLite: plans, schema, WAL, locks, files, older tables.

They share what the tests of the log's interface share.
"""

import sqlite3

import pytest

from ..conftest import (  # noqa: TID252 - these tests are a part of those
    HOUR,
    NOW,
    OLDER_INSERT,
    PRODUCER,
    SECOND,
    Clock,
    SqliteEngine,
    all_pages,
    make_event,
    older_row,
    receipt,
    scattered,
    training_step,
)

__all__ = [
    "HOUR",
    "NOW",
    "OLDER_INSERT",
    "PRODUCER",
    "SECOND",
    "Clock",
    "all_pages",
    "make_event",
    "older_row",
    "receipt",
    "scattered",
    "take_back",
    "training_step",
]


@pytest.fixture(scope="session")
def engine() -> SqliteEngine:
    """SQLite alone."""
    return SqliteEngine()


def take_back(connection: sqlite3.Connection, version: int) -> None:
    """Make a file one of an older schema, but for the tables and indexes of that time."""
    if version < 12:
        connection.execute("DROP INDEX battle_log_by_hero_and_run")
        connection.execute("DROP TABLE realm_clock_jumps")
        connection.execute("ALTER TABLE battle_log DROP COLUMN rank")
        connection.execute("ALTER TABLE realm_producers DROP COLUMN origin")
    connection.execute("DELETE FROM realm_meta WHERE key = 'schema_revision'")
    connection.execute(
        "UPDATE realm_meta SET value = ? WHERE key = 'schema_version'", (min(version, 11),)
    )
