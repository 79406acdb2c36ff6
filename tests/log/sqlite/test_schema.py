"""The schema's versions: what is applied, and who may still write."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.log import Filters, LogReader, LogWriter
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.sqlite.schema import (
    HERO_RUN_INDEX,
    MIGRATIONS,
    SCHEMA_VERSION,
    has_foreign_tables,
    read_version,
)

from .conftest import all_pages, make_event, take_back


def versions(path: Path) -> dict[str, int]:
    """Both versions that the file names."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT key, value FROM realm_meta WHERE key LIKE 'schema%'")
        return dict(rows.fetchall())


def set_version(path: Path, key: str, value: int) -> None:
    """Do what a newer version of the package would: a change of the schema, and its number."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE realm_of_the_future (id INTEGER)")
        connection.execute("INSERT OR REPLACE INTO realm_meta VALUES (?, ?)", (key, value))
        connection.execute("COMMIT")


def test_versions_are_numbered_without_a_gap_and_never_ask_for_a_newer_writer() -> None:
    assert [one.version for one in MIGRATIONS] == list(range(1, SCHEMA_VERSION + 1))
    assert all(one.writer <= one.version for one in MIGRATIONS)
    assert [one.writer for one in MIGRATIONS] == sorted(one.writer for one in MIGRATIONS)


def test_a_new_log_is_of_the_newest_version_and_open_to_writers_of_0_1_0(path: Path) -> None:
    LogWriter(path).close()
    assert versions(path) == {"schema_version": 11, "schema_revision": SCHEMA_VERSION}


def test_a_log_of_schema_11_is_brought_up_to_date_with_its_rows(path: Path) -> None:
    with LogWriter(path) as writer:
        writer.append([make_event(number, hero_id="dio", run_id="r1") for number in range(1, 4)])
        with writer.transaction() as connection:
            take_back(connection, 11)
    assert versions(path) == {"schema_version": 11}
    with pytest.raises(LogUnavailableError, match="not been brought up to date"):
        LogReader(path)
    with LogWriter(path) as writer, LogReader(path) as reader:
        assert all_pages(reader, Filters(heroes=("dio",), runs=("r1",))) == [3, 2, 1]
        writer.append([make_event(4, hero_id="dio", run_id="r1", rank=0)])
        assert all_pages(reader, Filters(ranks=("0",))) == [4]
    assert versions(path)["schema_revision"] == SCHEMA_VERSION


def test_the_newest_step_is_applied_whole_or_not_at_all(path: Path) -> None:
    with LogWriter(path) as writer, writer.transaction() as connection:
        take_back(connection, 11)
        # Of another program: the last statement but one of the step fails.
        connection.execute("CREATE TABLE realm_clock_jumps (mine TEXT)")
    with pytest.raises(LogUnavailableError, match="already has a table realm_clock_jumps"):
        LogWriter(path)
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(battle_log)")]
        assert "rank" not in columns
        connection.execute("DROP TABLE realm_clock_jumps")
    LogWriter(path).close()
    assert versions(path)["schema_revision"] == SCHEMA_VERSION


def test_a_writer_goes_on_beside_a_newer_schema_that_allows_it(
    writer: LogWriter, reader: LogReader
) -> None:
    set_version(writer.path, "schema_revision", SCHEMA_VERSION + 1)
    writer.append([make_event(1)])
    with LogWriter(writer.path) as other:
        other.append([make_event(2)])
    assert len(reader.now.after(0)) == 2
    with LogReader(writer.path) as again:
        assert len(again.now.after(0)) == 2
    with closing(sqlite3.connect(writer.path)) as connection:
        assert read_version(connection) == SCHEMA_VERSION + 1


def test_a_running_writer_stops_once_a_newer_schema_does_not_allow_it(writer: LogWriter) -> None:
    writer.append([make_event(1)])
    set_version(writer.path, "schema_version", SCHEMA_VERSION + 1)
    for _ in range(2):
        with pytest.raises(LogUnavailableError, match=r"newer version.*Upgrade the package"):
            writer.append([make_event(2)])
    with pytest.raises(LogUnavailableError, match=f"needs schema {SCHEMA_VERSION + 1}"):
        LogWriter(writer.path)
    with LogReader(writer.path) as reader:
        assert len(reader.now.after(0)) == 1


@pytest.mark.parametrize(
    ("table", "foreign"),
    [("jobs", True), ("realmjobs", True), ("realm_later", False), ("webhook_requests2", True)],
)
def test_tables_of_a_newer_version_are_not_another_programs(
    writer: LogWriter, table: str, foreign: bool
) -> None:
    with writer.transaction() as connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER)")
        assert has_foreign_tables(connection) is foreign


def test_hero_and_run_together_are_found_in_their_own_index(
    writer: LogWriter, reader: LogReader
) -> None:
    dice = random.Random(3)
    events = [
        make_event(
            number,
            hero_id=dice.choice(["dio", "ada", "", None]),
            run_id=dice.choice(["r1", "r2", None]),
            severity=dice.choice(["info", "error"]),
            rank=dice.choice([0, 1, None]),
        )
        for number in range(1, 400)
    ]
    writer.append(events)
    for filters in (
        Filters(heroes=("dio",), runs=("r2",), limit=7),
        Filters(heroes=("dio", "ada", "dio"), runs=("r1", "r2"), severities=("error",), limit=3),
        Filters(heroes=("dio", "ada"), not_heroes=("ada",), runs=("r1",), ranks=("1",), limit=5),
        Filters(heroes=("dio",), not_heroes=("dio",), runs=("r1",)),
        Filters(heroes=("nobody",), runs=("r1",)),
        Filters(heroes=(*tuple(f"h{n}" for n in range(64)), "dio"), runs=("r1",), limit=9),
    ):
        wanted = [event.number for event in reversed(events) if filters.matches(event)]
        assert all_pages(reader, filters) == wanted
    with closing(sqlite3.connect(writer.path)) as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT id FROM battle_log INDEXED BY {HERO_RUN_INDEX} WHERE"
            " time_unix_nano IS NOT NULL AND run_id = 'a' AND hero_id = 'b'"
        ).fetchone()
    assert "COVERING INDEX" in plan[3]
