"""The runtime: restart from a snapshot, short steps, parts that a snapshot lacks."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.runtime import FoldFormat, FoldRunner, advance, every_row
from realm_telemetry.folds.runtime import Row as AnyRow
from realm_telemetry.log.snapshots import FoldSnapshot


class Row(NamedTuple):
    cursor: int
    event: Event
    set_back_unix_nano: int | None = None


class ListedLog:
    """A log held in a list, which remembers where it was read."""

    def __init__(self, count: int, trimmed: int = 0) -> None:
        self.rows = [Row(number, event(number)) for number in range(trimmed + 1, count + 1)]
        self.asked: list[int] = []

    def after(self, cursor: int, limit: int) -> Sequence[Row]:
        self.asked.append(cursor)
        return [row for row in self.rows if row.cursor > cursor][:limit]


def event(number: int) -> Event:
    return Event("note", "system", "info", "", {}, number, "c" * 16, number)


class Sums:
    """A fold of two parts: the sum of all cursors, and that of their squares.

    squares: None where the snapshot has none.
    """

    def __init__(self, plain: int = 0, squares: int | None = 0, cursor: int = 0) -> None:
        self.plain, self._squares, self.cursor = plain, squares, cursor

    @property
    def squares(self) -> int:
        return self._squares or 0

    def take(self, rows: Sequence[AnyRow]) -> None:
        for row in rows:
            if row.cursor > self.cursor:
                self.cursor = row.cursor
                self.plain += row.cursor
                self._squares = self.squares + row.cursor**2

    @property
    def incomplete(self) -> bool:
        return self._squares is None

    def fill(self, earlier: "Sums") -> None:
        if self._squares is None:
            self._squares = earlier.squares

    def dump(self) -> bytes:
        return msgspec.json.encode((self.plain, self._squares, self.cursor))

    @classmethod
    def load(cls, content: bytes) -> "Sums":
        return cls(*msgspec.json.decode(content, type=tuple[int, int | None, int]))


SUMS = FoldFormat("sums", Sums, Sums.load)


class Kept:
    """A snapshot in memory. refuses: saves nothing, as the store of a newer version does."""

    def __init__(self, snapshot: FoldSnapshot | None = None, *, refuses: bool = False) -> None:
        self.snapshot, self._refuses = snapshot, refuses

    def load(self) -> FoldSnapshot | None:
        return self.snapshot

    def cursor(self) -> int:
        return self.snapshot.cursor if self.snapshot else 0

    def save(self, snapshot: FoldSnapshot) -> int:
        if self._refuses:
            return 0
        self.snapshot = snapshot
        return snapshot.cursor


def saved(count: int, *, squares: bool = True) -> Kept:
    """The snapshot of the first rows."""
    fold = Sums()
    fold.take(ListedLog(count).rows)
    kept = Sums(fold.plain, fold.squares if squares else None, fold.cursor)
    return Kept(FoldSnapshot(count, kept.dump()))


def restarted(kept: Kept, **options: bool) -> FoldRunner[Sums]:
    runner = FoldRunner(SUMS, kept, **options)
    runner.restart()
    return runner


def sums(cursors: range) -> tuple[int, int]:
    return sum(cursors), sum(cursor**2 for cursor in cursors)


def test_a_fold_is_caught_up_in_short_steps() -> None:
    log = ListedLog(4_500)
    fold = restarted(Kept()).catch_up(every_row(log))
    assert log.asked == [0, 2_000, 4_000, 4_500]
    assert (fold.plain, fold.squares) == sums(range(4_501))


def test_a_restart_goes_on_behind_the_snapshot() -> None:
    log = ListedLog(4_500, trimmed=4_000)
    runner = restarted(saved(4_000))
    assert runner.covered == 4_000
    fold = runner.catch_up(every_row(log))
    assert log.asked == [4_000, 4_500]
    assert (fold.plain, fold.squares) == sums(range(4_501))


def test_a_part_that_the_snapshot_lacks_folds_the_rows_that_are_still_there() -> None:
    """The other part keeps what was trimmed; neither folds a row twice."""
    log = ListedLog(60, trimmed=20)
    runner = restarted(saved(40, squares=False))
    fold = runner.catch_up(every_row(log))
    assert fold.plain == sum(range(61))
    assert fold.squares == sums(range(21, 61))[1]
    assert not fold.incomplete


@pytest.mark.parametrize("limit", [1, 3, 39, 40, 41, 100])
def test_a_lacking_part_is_filled_in_steps_of_any_size(limit: int) -> None:
    after = every_row(ListedLog(60))
    runner = restarted(saved(40, squares=False))
    while runner.step(after, limit):
        pass
    assert (runner.fold.plain, runner.fold.squares) == sums(range(61))


def test_nothing_is_saved_or_covered_while_a_part_is_filled() -> None:
    """Retention would take the rows away that the part has not folded."""
    kept = saved(40, squares=False)
    before = kept.snapshot
    runner = restarted(kept)
    assert (runner.covered, runner.is_behind(40)) == (0, True)
    runner.step(every_row(ListedLog(60)), 10)
    runner.save()
    assert (kept.snapshot, runner.covered) == (before, 0)
    runner.catch_up(every_row(ListedLog(60)))
    runner.save()
    assert (runner.covered, runner.is_behind(60)) == (60, False)
    assert kept.snapshot is not None
    assert Sums.load(kept.snapshot.content).squares == sums(range(61))[1]


def test_a_lacking_part_is_filled_though_all_rows_are_gone() -> None:
    runner = restarted(saved(40, squares=False))
    fold = runner.catch_up(every_row(ListedLog(40, trimmed=40)))
    assert (fold.plain, fold.squares, fold.incomplete) == (sum(range(41)), 0, False)
    assert not runner.is_behind(40)


def test_without_a_refill_a_lacking_part_begins_behind_the_snapshot() -> None:
    runner = restarted(saved(40, squares=False), refill=False)
    assert runner.covered == 40
    fold = runner.catch_up(every_row(ListedLog(60)))
    assert (fold.plain, fold.squares) == (sum(range(61)), sums(range(41, 61))[1])


def test_a_snapshot_that_cannot_be_read_is_reported_and_the_log_is_folded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        runner = restarted(Kept(FoldSnapshot(40, b"no dump")))
    assert "the snapshot of sums cannot be read" in caplog.text
    assert runner.covered == 0
    assert runner.catch_up(every_row(ListedLog(60))).plain == sum(range(61))


def test_a_save_that_the_store_refuses_covers_nothing() -> None:
    """The rows that only this fold has seen must stay for the version that wrote the snapshot."""
    runner = restarted(Kept(refuses=True))
    runner.catch_up(every_row(ListedLog(5)))
    runner.save()
    assert runner.covered == 0


def test_a_snapshot_that_went_further_covers_no_more_than_the_fold_has() -> None:
    class Further(Kept):
        def save(self, snapshot: FoldSnapshot) -> int:
            return snapshot.cursor + 100

    runner = restarted(Further())
    runner.catch_up(every_row(ListedLog(5)))
    runner.save()
    assert runner.covered == 5


def test_a_cursor_moves_over_rows_that_are_not_the_folds() -> None:
    """A pipeline's reader looks at a window of the log and finds none of its own rows there."""
    fold = Sums()
    assert advance(fold, lambda cursor, limit: ([], 700))
    assert not advance(fold, lambda cursor, limit: ([], 700))
    assert (fold.cursor, fold.plain) == (700, 0)
