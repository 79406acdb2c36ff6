"""Snapshots of folds: RealmState's never goes back, and each reader of metrics has its own."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from realm_telemetry.log.engine import Log, Reader
from realm_telemetry.log.snapshots import FoldSnapshot, FoldSnapshots, SnapshotName

from .conftest import Clock

OTHER_LOG: Final = "cd" * 16
TEN: Final = FoldSnapshot(10, b"ten")
ELEVEN: Final = FoldSnapshot(11, b"eleven")

both = pytest.mark.parametrize("name", ["state", "metrics"])

Open = Callable[..., FoldSnapshots]


@pytest.fixture
def opened(log: Log, reader: Reader) -> Open:
    """What opens the snapshots of a name, of this log and the first version or the service."""

    def opened(name: SnapshotName, log_id: str = "", **changes: Any) -> FoldSnapshots:
        own = {"version": 1} if name == "state" else {"reader": "service"}
        return log.snapshots(name, log_id or reader.log_id, **{**own, **changes})

    return opened


@both
def test_what_is_saved_is_there_for_all_who_open_it(opened: Open, name: SnapshotName) -> None:
    assert (opened(name).load(), opened(name).cursor()) == (None, 0)
    assert opened(name).save(TEN) == 10
    assert opened(name).save(ELEVEN) == 11
    assert (opened(name).load(), opened(name).cursor()) == (ELEVEN, 11)


@both
def test_a_snapshot_belongs_to_one_log(opened: Open, name: SnapshotName) -> None:
    opened(name, OTHER_LOG).save(TEN)
    assert (opened(name).load(), opened(name).cursor()) == (None, 0)
    assert opened(name).save(FoldSnapshot(3, b"three")) == 3
    assert opened(name, OTHER_LOG).load() is None


def test_the_names_have_snapshots_of_their_own(opened: Open) -> None:
    opened("state").save(TEN)
    assert opened("metrics").load() is None
    opened("metrics").save(ELEVEN)
    assert (opened("state").load(), opened("metrics").load()) == (TEN, ELEVEN)


@both
def test_a_snapshot_outlives_its_process(
    engine: Any, log: Log, reader: Reader, opened: Open, name: SnapshotName
) -> None:
    """Another process opens the log by the same place, with no more than that."""
    opened(name).save(TEN)
    own = {"version": 1} if name == "state" else {"reader": "service"}
    again = engine.open(log.place, Clock()).snapshots(name, reader.log_id, **own)
    assert again.load() == TEN


def test_a_state_never_goes_back_to_a_lower_cursor(opened: Open) -> None:
    """What it covers may have been trimmed from the log."""
    opened("state").save(ELEVEN)
    assert opened("state").save(TEN) == 11
    assert opened("state").load() == ELEVEN


def test_a_state_of_an_older_version_is_read_and_covers_nothing(opened: Open) -> None:
    """It may lack what this version keeps, and retention must wait until that is folded."""
    opened("state", version=1).save(TEN)
    newer = opened("state", version=2)
    assert (newer.load(), newer.cursor()) == (TEN, 0)
    assert newer.save(FoldSnapshot(9, b"nine")) == 0
    assert newer.save(ELEVEN) == 11


def test_a_state_of_a_newer_version_is_neither_read_nor_replaced(opened: Open) -> None:
    opened("state", version=2).save(TEN)
    older = opened("state", version=1)
    assert older.load() is None
    assert older.save(ELEVEN) == 0
    assert opened("state", version=2).load() == TEN


def test_each_reader_has_metrics_of_its_own(opened: Open) -> None:
    """They have read up to different cursors; of one reader the last save counts."""
    opened("metrics").save(ELEVEN)
    assert opened("metrics", reader="other").load() is None
    opened("metrics", reader="other").save(TEN)
    assert opened("metrics").load() == ELEVEN
    assert opened("metrics").save(TEN) == 10
