"""Extending the older battle log in place, while older code goes on using it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.errors import LogError
from realm_telemetry.event import format_time
from realm_telemetry.log import Filters, LogReader, LogWriter
from realm_telemetry.log.sqlite.older import older_time, older_values
from realm_telemetry.log.sqlite.schema import OLDER_TABLE, SCHEMA_VERSION

from .conftest import NOW, OLDER_INSERT, SECOND, Clock, make_event, older_row, take_back

DOCUMENTED_QUERY = (
    "SELECT channel, COUNT(*), date(timestamp) FROM battle_log"
    " WHERE timestamp > datetime('now','-7 days') GROUP BY channel, date(timestamp)"
)


def fill(writer: LogWriter) -> None:
    while writer.backfill_step(7):
        pass


def test_older_rows_become_events(older: sqlite3.Connection, clock: Clock) -> None:
    path = path_of(older)
    older.execute(OLDER_INSERT, older_row())
    older.execute(
        OLDER_INSERT,
        older_row("2025-11-29T00:00:01Z", "titles", hero_id=None, details_json=None),
    )
    older.commit()
    with LogWriter(path, clock_ns=clock) as writer, LogReader(path) as reader:
        unfilled = reader.now.after(0)
        fill(writer)
        filled = reader.now.after(0)
        page = reader.now.page(Filters())
    first, second = (row.event for row in filled)
    assert (first.kind, first.source, first.time_unix_nano) == (
        "job_started",
        None,
        NOW + 123_456_000,
    )
    assert first.details == {"job_id": "j1"}
    assert first.hero_id == "dio"
    assert (second.kind, second.source) == ("note", "titles")
    assert (second.time_unix_nano, second.details) == (NOW + SECOND, {})
    assert [row.cursor for row in page.rows] == [2, 1]
    assert [row.event.id for row in unfilled] == [row.event.id for row in filled]
    assert [row.event.time_unix_nano for row in unfilled] == [
        row.event.time_unix_nano for row in filled
    ]


def test_rows_are_filled_in_steps_newest_first(older: sqlite3.Connection) -> None:
    for number in range(25):
        older.execute(OLDER_INSERT, older_row(f"2025-11-29T00:00:{number:02d}Z"))
    older.commit()
    with LogWriter(path_of(older)) as writer, LogReader(writer.path) as reader:
        left = [writer.backfill_step(10) for _ in range(4)]
        assert left == [15, 5, 0, 0]
        assert [row.cursor for row in reader.now.page(Filters()).rows] == list(range(25, 0, -1))
        assert reader.now.channels() == {"jobs": {"info": 25}}


def test_totals_are_at_least_until_all_older_rows_are_filled(older: sqlite3.Connection) -> None:
    for number in range(25):
        older.execute(OLDER_INSERT, older_row(f"2025-11-29T00:00:{number:02d}Z"))
    older.commit()
    with LogWriter(path_of(older)) as writer, LogReader(writer.path) as reader:
        seen = []
        for _ in range(3):
            writer.backfill_step(10)
            page, bars = reader.now.page(Filters()), reader.now.histogram(Filters())
            seen.append((page.total, page.relation, bars.total, bars.relation))
        assert seen == [(10, "gte", 10, "gte"), (20, "gte", 20, "gte"), (25, "eq", 25, "eq")]


def test_older_code_inserts_while_we_run(older: sqlite3.Connection) -> None:
    with LogWriter(path_of(older)) as writer, LogReader(writer.path) as reader:
        writer.append([make_event(1)])
        inserted = older.execute(OLDER_INSERT, older_row())
        older.commit()
        writer.append([make_event(2)])
        rows = reader.now.after(0)
        assert inserted.lastrowid == 2
        assert [row.event.number for row in rows] == [1, 2, 2]
        assert rows[1].event.time_unix_nano == NOW + 123_456_000
        assert reader.now.get(rows[1].event.id) == rows[1]
        assert reader.now.channels() == {"jobs": {"info": 3}}
        assert reader.now.page(Filters(heroes=("dio",))).total == 1


def test_older_code_deletes_while_we_run(older: sqlite3.Connection) -> None:
    with LogWriter(path_of(older)) as writer, LogReader(writer.path) as reader:
        writer.append([make_event(number) for number in range(1, 4)])
        older.execute(OLDER_INSERT, older_row("2020-01-01T00:00:00Z"))
        older.execute("DELETE FROM battle_log WHERE timestamp < '2021'")
        older.commit()
        assert reader.now.page(Filters(), count=True).total == 3
        assert reader.now.page(Filters(limit=1)).total == 3
        assert reader.now.channels() == {"jobs": {"info": 4}}


def test_older_queries_see_new_events(older: sqlite3.Connection) -> None:
    with LogWriter(path_of(older)) as writer:
        writer.append([make_event(1, hero_id="dio", severity="error")])
        row = older.execute(
            "SELECT timestamp, channel, source, severity, message, details_json FROM battle_log"
            " WHERE channel IN ('jobs') AND timestamp > '2025-11-28' AND hero_id = 'dio'"
            " AND severity = 'error' ORDER BY timestamp DESC LIMIT 10"
        ).fetchone()
    assert row == (
        "2025-11-29T00:00:01.000000Z",
        "jobs",
        "event.job_started",
        "error",
        "Job 1 started",
        '{"step":1}',
    )


def test_the_documented_query_runs(writer: LogWriter) -> None:
    now = round(datetime.now(UTC).timestamp()) * SECOND
    writer.append([make_event(1, time_unix_nano=now), make_event(2, time_unix_nano=NOW)])
    with closing(sqlite3.connect(writer.path)) as database:
        found = database.execute(DOCUMENTED_QUERY).fetchall()
    assert found == [("jobs", 1, format_time(now)[:10])]


def test_other_tables_and_indexes_stay_as_they_were(older: sqlite3.Connection) -> None:
    query = "SELECT sql FROM sqlite_master WHERE name LIKE 'idx_%' OR name = 'jobs' ORDER BY name"
    before = older.execute(query).fetchall()
    LogWriter(path_of(older)).close()
    assert older.execute(query).fetchall() == before
    assert older.execute("SELECT * FROM jobs").fetchall() == [("j1", "running")]


def test_going_back_to_older_code_alone_works(older: sqlite3.Connection) -> None:
    """Rollback: our processes are gone for good, older ones insert, read and delete."""
    with LogWriter(path_of(older)) as writer:
        writer.append([make_event(1)])
    older.execute(OLDER_INSERT, older_row())
    older.execute("DELETE FROM battle_log WHERE id = 1")
    older.commit()
    assert older.execute("SELECT count(*), max(id) FROM battle_log").fetchone() == (1, 2)


def test_opening_again_changes_nothing(older: sqlite3.Connection) -> None:
    path = path_of(older)
    LogWriter(path).close()
    schema = older.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    LogWriter(path).close()
    assert older.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() == schema


def test_a_migration_that_was_cut_off_goes_on(older: sqlite3.Connection) -> None:
    path = path_of(older)
    LogWriter(path).close()
    older.execute("DROP INDEX battle_log_by_run")
    older.execute("DROP TABLE realm_kinds")
    older.execute("DROP TABLE realm_run_counts")
    take_back(older, 7)
    older.commit()
    with pytest.raises(LogError, match="not been brought up to date"):
        LogReader(path)
    with LogWriter(path) as writer, LogReader(path):
        version = writer._connection.execute(
            "SELECT value FROM realm_meta WHERE key = 'schema_revision'"
        ).fetchone()
        assert version == (SCHEMA_VERSION,)


def test_a_table_of_the_same_name_is_not_touched(older: sqlite3.Connection) -> None:
    older.execute("CREATE TABLE webhook_requests (mine TEXT)")
    older.commit()
    with pytest.raises(LogError, match="already has a table webhook_requests"):
        LogWriter(path_of(older))
    names = {row[0] for row in older.execute("SELECT name FROM sqlite_master")}
    assert "realm_meta" not in names


def test_details_that_are_not_json_are_shown_as_they_are(older: sqlite3.Connection) -> None:
    for text in ("{broken", "[1, 2]"):
        older.execute(OLDER_INSERT, older_row(details_json=text))
    older.commit()
    with LogWriter(path_of(older)) as writer, LogReader(writer.path) as reader:
        fill(writer)
        details = [row.event.details for row in reader.now.after(0)]
    assert details == [{"details": "{broken"}, {"details": [1, 2]}]


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("2025-11-29T00:00:00.000001Z", NOW + 1000),
        ("2025-11-29T00:00:00.999999Z", NOW + 999_999_000),
        ("2025-11-29T00:00:00Z", NOW),
        ("2025-11-29T00:00:00", NOW),
        ("2025-11-29T00:00:00.5", NOW + 500_000_000),
        ("2025-11-29 00:00:00", NOW),
        ("2025-11-29T01:30:00.25+01:30", NOW + 250_000_000),
        ("2025-11-28T20:00:00-04:00", NOW),
        ("1969-12-31T23:59:59.75Z", -250_000_000),
    ],
)
def test_times_are_read_alike_by_trigger_and_reader(text: str, nanos: int) -> None:
    assert filled(text)[0] == nanos
    assert older_time(text) == nanos


@given(st.integers(-(10**17), 4 * 10**18).map(lambda nanos: nanos // 1000 * 1000))
def test_every_time_we_write_is_read_back_to_the_microsecond(nanos: int) -> None:
    text = format_time(nanos)
    assert filled(text)[0] == nanos
    assert older_time(text) == nanos


def test_a_time_that_cannot_be_read_counts_as_now() -> None:
    nanos, _ = filled("yesterday")
    assert abs(nanos / 1e9 - datetime.now(UTC).timestamp()) < 60
    assert older_time("yesterday") is None


@given(st.integers(1, 2**63 - 1))
def test_the_id_holds_the_row_number(cursor: int) -> None:
    assert filled("2025-11-29T00:00:00Z", cursor)[1] == bytes(range(8)) + cursor.to_bytes(8, "big")


def filled(timestamp: str, cursor: int = 1) -> tuple[int, bytes]:
    """Time and event id that the trigger's SQL gives an older row."""
    connection = sqlite3.connect(":memory:")
    connection.execute(OLDER_TABLE)
    for column in ("event_id", "time_unix_nano", "observed_unix_nano", "kind", "producer"):
        connection.execute(f"ALTER TABLE battle_log ADD COLUMN {column}")
    connection.execute(OLDER_INSERT, older_row(timestamp))
    connection.execute("UPDATE battle_log SET id = ?", (cursor,))
    connection.execute(f"UPDATE battle_log SET {older_values(bytes(range(16)).hex())}")
    row = connection.execute("SELECT time_unix_nano, event_id FROM battle_log").fetchone()
    connection.close()
    return row[0], row[1]


def path_of(connection: sqlite3.Connection) -> Path:
    return Path(connection.execute("PRAGMA database_list").fetchone()[2])
