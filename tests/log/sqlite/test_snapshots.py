"""The files of snapshots: their modes and locks, broken ones, older tables in the same file."""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.errors import LogError
from realm_telemetry.log.snapshots import FoldSnapshot
from realm_telemetry.log.sqlite.snapshots import (
    FORGET_AFTER_NS,
    MetricsSnapshots,
    SnapshotStore,
    StateSnapshots,
)

LOG_ID = "ab" * 16
OTHER_LOG = "cd" * 16
TEN = FoldSnapshot(10, b"ten")
ELEVEN = FoldSnapshot(11, b"eleven")
OLDER_TABLES = """
CREATE TABLE state (section TEXT PRIMARY KEY, data TEXT, updated_at TEXT);
CREATE TABLE events (id TEXT PRIMARY KEY, timestamp TEXT, kind TEXT);
CREATE TABLE history (id INTEGER PRIMARY KEY, timestamp TEXT, section TEXT, data TEXT);
CREATE TABLE workers (worker_id TEXT PRIMARY KEY, role TEXT, status TEXT);
INSERT INTO state VALUES ('training', '{"step": 7}', '2025-11-29T00:00:00');
INSERT INTO workers VALUES ('w1', 'eval', 'active');
"""

Open = Callable[[Path, str], SnapshotStore]


def state(path: Path, log_id: str = LOG_ID, version: int = 1) -> SnapshotStore:
    return StateSnapshots(path, log_id, version)


def metrics(path: Path, log_id: str = LOG_ID, reader: str = "service") -> SnapshotStore:
    return MetricsSnapshots(path, log_id, reader)


both = pytest.mark.parametrize("opened", [state, metrics])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "snapshots.db"


@both
def test_only_the_user_can_read_the_file(path: Path, opened: Open) -> None:
    """Names of runs are nobody else's."""
    opened(path, LOG_ID).save(TEN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@both
def test_a_file_that_another_process_holds_is_left_alone(
    path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not broken; the next save tries again."""
    monkeypatch.setattr("realm_telemetry.log.sqlite.snapshots.BUSY_TIMEOUT_S", 0.01)
    store = opened(path, LOG_ID)
    store.save(TEN)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LogError, match="cannot be written"):
            store.save(ELEVEN)
        other.execute("ROLLBACK")
    assert store.load() == TEN
    assert store.save(ELEVEN) == 11


@both
def test_a_directory_that_cannot_be_made_is_a_log_error(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "data").write_text("a file in its place")
    with pytest.raises(LogError, match="cannot be written"):
        opened(tmp_path / "data" / "snapshots.db", LOG_ID).save(TEN)


def test_a_state_file_that_is_no_database_is_renamed(path: Path) -> None:
    """Under a name of its own, for whoever wants to look: the older RealmService used it too."""
    path.parent.mkdir()
    path.write_bytes(b"not a database, " * 100)
    assert (state(path).load(), state(path).cursor()) == (None, 0)
    assert state(path).save(TEN) == TEN.cursor
    (kept,) = path.parent.glob("*.damaged-*")
    assert kept.read_bytes().startswith(b"not a database")


def test_the_older_tables_in_the_file_are_not_touched(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLDER_TABLES)
        before = list(connection.iterdump())
    assert state(path).load() is None
    state(path).save(TEN)
    state(path).save(ELEVEN)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE realm_snapshot")
        assert list(connection.iterdump()) == before


def test_a_reader_of_the_older_tables_does_not_stop_a_snapshot(path: Path) -> None:
    state(path).save(TEN)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM realm_snapshot").fetchone()
        connection.commit()
        assert state(path).save(ELEVEN) == 11


@pytest.mark.parametrize("content", [b"", b"this is no database", b"SQLite format 3\x00" * 300])
def test_a_broken_file_of_metrics_counts_as_none_and_is_replaced(
    path: Path, content: bytes
) -> None:
    """The log has the rows; an exporter must not stand still for it."""
    path.parent.mkdir()
    path.write_bytes(content)
    assert metrics(path).load() is None
    assert metrics(path).save(TEN) == 10
    assert metrics(path).load() == TEN


@pytest.mark.parametrize(("age_ns", "kept"), [(-(10**10), True), (10**10, False)])
def test_counts_of_readers_that_do_not_come_back_are_deleted(
    path: Path, age_ns: int, kept: bool
) -> None:
    """Every version is a pipeline of its own; after 30 days its counts are of no use."""
    old = metrics(path, reader="old")
    old.save(TEN)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE realm_measures SET saved_unix_nano = saved_unix_nano - ?",
            (FORGET_AFTER_NS + age_ns,),
        )
    metrics(path, reader="new").save(TEN)
    assert (old.load() is not None) is kept
