"""Metrics on disk."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.folds.metrics import Definition, Measures, MeasureStore
from realm_telemetry.folds.metrics.store import FORGET_AFTER_NS

from .conftest import Made, folded

LOG_ID = "ab" * 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "realm_measures.db"


@pytest.fixture
def measures(make: Made) -> Measures:
    return folded([make("note"), make("job_completed", details={"duration_s": 2})])


def test_what_is_saved_is_loaded_by_the_same_reader_of_the_same_log(
    path: Path, measures: Measures
) -> None:
    """Each reader has counted up to its own cursor."""
    store = MeasureStore(path, "service", Definition())
    assert store.load(LOG_ID) is None
    assert store.cursor(LOG_ID) == 0
    store.save(measures, LOG_ID)
    loaded = store.load(LOG_ID)
    assert loaded is not None
    assert loaded.dump() == measures.dump()
    assert store.cursor(LOG_ID) == 2
    assert store.load("cd" * 16) is None
    assert MeasureStore(path, "other", Definition()).load(LOG_ID) is None
    assert MeasureStore(path, "service", Definition(max_series=9)).load(LOG_ID) is None


def test_only_the_user_can_read_the_file(path: Path, measures: Measures) -> None:
    """Names of runs are nobody else's."""
    MeasureStore(path, "service", Definition()).save(measures, LOG_ID)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"this is no database", b"SQLite format 3\x00" * 300])
def test_a_broken_file_counts_as_none_and_is_replaced(
    path: Path, measures: Measures, content: bytes
) -> None:
    """The log tells it all again; an exporter must not stand still for it."""
    path.parent.mkdir()
    path.write_bytes(content)
    store = MeasureStore(path, "service", Definition())
    assert store.load(LOG_ID) is None
    store.save(measures, LOG_ID)
    assert store.cursor(LOG_ID) == 2


def test_a_file_that_somebody_holds_is_left_alone(
    path: Path, measures: Measures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not broken; whoever saves tries again later."""
    monkeypatch.setattr("realm_telemetry.folds.metrics.store._BUSY_TIMEOUT_S", 0.01)
    store = MeasureStore(path, "service", Definition())
    store.save(measures, LOG_ID)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError):
            store.save(measures, LOG_ID)
        other.execute("ROLLBACK")
    assert store.cursor(LOG_ID) == 2


@pytest.mark.parametrize(("age_ns", "kept"), [(-(10**10), True), (10**10, False)])
def test_readers_that_do_not_come_back_are_forgotten(
    path: Path, measures: Measures, age_ns: int, kept: bool
) -> None:
    """Every version is a pipeline of its own; after 30 days its counts are of no use."""
    old = MeasureStore(path, "old", Definition())
    old.save(measures, LOG_ID)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE realm_measures SET saved_unix_nano = saved_unix_nano - ?",
            (FORGET_AFTER_NS + age_ns,),
        )
    MeasureStore(path, "new", Definition()).save(measures, LOG_ID)
    assert (old.load(LOG_ID) is not None) is kept
