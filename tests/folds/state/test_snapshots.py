"""Snapshots: one row beside the older tables, of one log and one fold version, or ignored."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.state import (
    FOLD_VERSION,
    RealmState,
    SnapshotStore,
    fold,
    rebuild,
    snapshots,
)

LOG_ID = "ab" * 16
OLDER_TABLES = """
CREATE TABLE state (section TEXT PRIMARY KEY, data TEXT, updated_at TEXT);
CREATE TABLE events (id TEXT PRIMARY KEY, timestamp TEXT, kind TEXT);
CREATE TABLE history (id INTEGER PRIMARY KEY, timestamp TEXT, section TEXT, data TEXT);
CREATE TABLE workers (worker_id TEXT PRIMARY KEY, role TEXT, status TEXT);
INSERT INTO state VALUES ('training', '{"step": 7}', '2025-11-29T00:00:00');
INSERT INTO workers VALUES ('w1', 'eval', 'active');
"""


class Row(NamedTuple):
    cursor: int
    event: Event


class ListedLog:
    """A log held in a list, which remembers how it was read."""

    log_id = LOG_ID

    def __init__(self, count: int) -> None:
        self.rows = [Row(number, step(number)) for number in range(1, count + 1)]
        self.asked: list[int] = []

    def after(self, cursor: int, limit: int) -> Sequence[Row]:
        self.asked.append(cursor)
        return self.rows[cursor : cursor + limit]


def step(number: int) -> Event:
    return Event(
        kind="training_step",
        channel="training",
        severity="info",
        message="",
        details={"step": number, "loss": 1 / number},
        time_unix_nano=number,
        producer="c" * 16,
        number=number,
    )


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "data" / "realm_state.db")


def test_a_saved_state_is_loaded_with_its_cursor(store: SnapshotStore) -> None:
    state = rebuild(ListedLog(10))
    store.save(state, LOG_ID)
    loaded = store.load(LOG_ID)
    assert loaded is not None
    assert loaded.dump() == state.dump()
    assert store.cursor(LOG_ID) == 10


def test_a_snapshot_of_another_log_is_ignored(store: SnapshotStore) -> None:
    store.save(rebuild(ListedLog(10)), "cd" * 16)
    assert store.load(LOG_ID) is None
    assert store.cursor(LOG_ID) == 0


def test_a_snapshot_of_another_fold_version_is_ignored(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(rebuild(ListedLog(10)), LOG_ID)
    monkeypatch.setattr(snapshots, "FOLD_VERSION", FOLD_VERSION + 1)
    assert store.load(LOG_ID) is None


def test_a_dump_of_another_fold_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    dumped = RealmState().dump()
    monkeypatch.setattr(fold, "FOLD_VERSION", FOLD_VERSION + 1)
    with pytest.raises(ValueError, match=f"version {FOLD_VERSION}"):
        RealmState.load(dumped)


def test_a_state_that_is_no_dump_counts_as_no_snapshot(store: SnapshotStore) -> None:
    store.save(RealmState(), LOG_ID)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE realm_snapshot SET state = x'c1c1'")
    assert store.load(LOG_ID) is None


def test_a_file_that_is_no_database_counts_as_no_snapshot(store: SnapshotStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"not a database, " * 100)
    assert store.load(LOG_ID) is None
    with pytest.raises(sqlite3.DatabaseError):
        store.save(RealmState(), LOG_ID)


def test_the_older_tables_in_the_file_are_not_touched(store: SnapshotStore) -> None:
    store.path.parent.mkdir()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.executescript(OLDER_TABLES)
        before = list(connection.iterdump())
    assert store.load(LOG_ID) is None
    store.save(RealmState(), LOG_ID)
    store.save(RealmState(), LOG_ID)
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("DROP TABLE realm_snapshot")
        assert list(connection.iterdump()) == before


def test_a_reader_of_the_older_tables_does_not_stop_a_snapshot(store: SnapshotStore) -> None:
    store.save(RealmState(), LOG_ID)
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM realm_snapshot").fetchone()
        connection.commit()
        store.save(rebuild(ListedLog(3)), LOG_ID)
    assert store.cursor(LOG_ID) == 3


def test_rebuild_goes_on_from_the_snapshot_in_short_steps(store: SnapshotStore) -> None:
    log = ListedLog(4_500)
    whole = rebuild(log)
    assert log.asked == [0, 2_000, 4_000, 4_500]
    store.save(rebuild(ListedLog(4_000)), LOG_ID)
    log.asked.clear()
    assert rebuild(log, store).dump() == whole.dump()
    assert log.asked == [4_000, 4_500]


def test_equal_states_have_equal_json(store: SnapshotStore) -> None:
    store.save(rebuild(ListedLog(10)), LOG_ID)
    loaded = store.load(LOG_ID)
    assert loaded is not None
    assert msgspec.json.encode(loaded.to_dict(99)) == msgspec.json.encode(
        rebuild(ListedLog(10)).to_dict(99)
    )
