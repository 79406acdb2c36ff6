"""One runtime for every fold of the log: restart, catch up in short steps, save a snapshot.

A fold is what the rows of a log add up to: RealmState, metrics, the open spans of traces. It takes
rows in order of arrival and knows the cursor of the last one. A `FoldRunner` restarts a fold from
its snapshot and brings it up to the log. A fold without snapshots is caught up by `advance` alone.
"""

import logging
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Generic, NamedTuple, Protocol, Self, TypeVar

from realm_telemetry.event import Event
from realm_telemetry.log.snapshots import FoldSnapshot, FoldSnapshots

STEP_ROWS: Final = 2_000
"""Rows a step: some 20 ms of one short read transaction, so that checkpoints of the WAL go on."""

_logger = logging.getLogger(__name__)


class Row(Protocol):
    """An event and its place in the log.

    set_back_unix_nano: the row's arrival if the log's clock went back before it, else None.
    """

    @property
    def cursor(self) -> int: ...

    @property
    def set_back_unix_nano(self) -> int | None: ...

    @property
    def event(self) -> Event: ...


class Fold(Protocol):
    """What rows add up to. cursor: of the last row in it."""

    cursor: int

    def take(self, rows: Sequence[Row]) -> object:
        """Fold in rows in order of arrival; what is at or before the cursor is in it already."""


class SavedFold(Fold, Protocol):
    """A fold with a snapshot.

    incomplete: whether the snapshot lacked parts that this version keeps; they are empty.
    """

    @property
    def incomplete(self) -> bool: ...

    def dump(self) -> bytes:
        """Return all of it, as a snapshot has it."""
        ...

    def fill(self, earlier: Self) -> None:
        """Take the parts that were lacking from a fold of the rows up to this one's cursor."""


class Rows(Protocol):
    """What a fold of every row needs of a log reader."""

    def after(self, cursor: int, limit: int) -> Sequence[Row]:
        """Return up to `limit` rows behind the cursor, in order of arrival."""
        ...


RowsAfter = Callable[[int, int], tuple[Sequence[Row], int]]
"""Return up to so many rows behind a cursor, and the cursor up to which it looked for them."""

SF = TypeVar("SF", bound=SavedFold)


def every_row(log: Rows) -> RowsAfter:
    """Return what reads all rows of a log."""

    def after(cursor: int, limit: int) -> tuple[Sequence[Row], int]:
        rows = log.after(cursor, limit)
        return rows, rows[-1].cursor if rows else cursor

    return after


def advance(
    fold: Fold, rows_after: RowsAfter, limit: int = STEP_ROWS, until: int | None = None
) -> bool:
    """Fold up to `limit` rows behind the fold's cursor; return whether the cursor has moved.

    until: the last cursor to fold.
    """
    before = fold.cursor
    rows, reached = rows_after(before, limit)
    if until is not None and reached > until:
        rows, reached = [row for row in rows if row.cursor <= until], until
    fold.take(rows)
    fold.cursor = max(fold.cursor, reached)
    return fold.cursor > before


class FoldFormat(NamedTuple, Generic[SF]):
    """How a fold begins, and how its dump is read.

    name: of the fold, in messages. load: raises ValueError if it is no dump of this fold.
    """

    name: str
    empty: Callable[[], SF]
    load: Callable[[bytes], SF]


class FoldRunner(Generic[SF]):
    """Brings a fold up to its log, and saves it. For one thread at a time.

    A snapshot that lacks a part is not thrown away, because the log may no longer have the rows
    that it covers. The part starts empty and folds the rows that are still there.

    refill: False where such a part begins with the rows behind the snapshot instead.
    covered: the cursor up to which a stored snapshot has everything that this fold has.
    """

    def __init__(
        self, fold_format: FoldFormat[SF], snapshots: FoldSnapshots | None, *, refill: bool = True
    ) -> None:
        self._format = fold_format
        self._snapshots = snapshots
        self._refill = refill
        self._earlier: SF | None = None
        self.fold = fold_format.empty()
        self.covered = 0

    def restart(self) -> None:
        """Go on from the snapshot; begin with the first row where there is none to read."""
        self.fold = self._loaded() or self._format.empty()
        if not self._refill:
            self.fold.fill(self._format.empty())
        self._earlier = self._format.empty() if self.fold.incomplete else None
        self.covered = 0 if self.fold.incomplete else self.fold.cursor

    def is_behind(self, cursor: int) -> bool:
        """Whether rows up to a cursor are still to be folded."""
        return self._earlier is not None or self.fold.cursor < cursor

    def step(self, rows_after: RowsAfter, limit: int = STEP_ROWS) -> bool:
        """Fold up to `limit` rows; return whether that made progress."""
        if self._earlier is None:
            return advance(self.fold, rows_after, limit)
        moved = advance(self._earlier, rows_after, limit, until=self.fold.cursor)
        if not moved or self._earlier.cursor >= self.fold.cursor:
            self.fold.fill(self._earlier)
            self._earlier = None
        return True

    def catch_up(self, rows_after: RowsAfter) -> SF:
        """Fold all rows; return the fold."""
        while self.step(rows_after):
            pass
        return self.fold

    def snapshot(self) -> FoldSnapshot | None:
        """Return a snapshot of the fold as it is now; None while a part of it is being filled."""
        return FoldSnapshot(self.fold.cursor, self.fold.dump()) if self._earlier is None else None

    def save(self, snapshot: FoldSnapshot | None = None) -> None:
        """Save a snapshot, by default of the fold as it is now. Raises LogError."""
        snapshot = snapshot or self.snapshot()
        if self._snapshots is not None and snapshot is not None:
            # No further than this fold has come, though another process may have saved more.
            self.covered = min(self._snapshots.save(snapshot), snapshot.cursor)

    def _loaded(self) -> SF | None:
        found = self._snapshots.load() if self._snapshots is not None else None
        if found is None:
            return None
        try:
            return self._format.load(found.content)
        except ValueError as error:
            _logger.warning(
                "the snapshot of %s cannot be read (%s); what the log has is folded without it",
                self._format.name,
                error,
            )
            return None


class LayeredFold(SavedFold, Protocol):
    """A fold whose dump begins another layer; those before it can be stored while it grows."""

    def __len__(self) -> int:
        """Return how many runs are in memory."""
        ...

    def sealed(self) -> Sequence[object]:
        """Return the layers that do not grow any more and are not stored yet."""
        ...


LF = TypeVar("LF", bound=LayeredFold)


class LayersRunner(FoldRunner[LF]):
    """Brings a fold of layers up to its log, and stores them. For one thread at a time.

    max_touched: runs in memory while a log is caught up; with more of them they are stored.
    saves: False for who only reads.
    overtaken: whether another process has stored meanwhile; then `restart` goes on from there.
    """

    max_touched: ClassVar[int]

    def __init__(self, fold_format: FoldFormat[LF], *, saves: bool = True) -> None:
        super().__init__(fold_format, None)
        self._saves = saves
        self.overtaken = False

    def step(self, rows_after: RowsAfter, limit: int = STEP_ROWS) -> bool:
        """Fold up to `limit` rows; return whether that made progress."""
        moved = self._advance(rows_after, limit)
        if self._saves and len(self.fold) > self.max_touched:
            self.save()
            if self.overtaken:
                self.restart()
        return moved

    def save(self, snapshot: FoldSnapshot | None = None) -> None:
        """Store what is in memory. Raises LogError.

        snapshot: of `snapshot()`, where another thread goes on folding meanwhile.
        """
        if snapshot is None:
            self.snapshot()
        if self.fold.sealed():
            self._store()

    def _advance(self, rows_after: RowsAfter, limit: int) -> bool:
        return super().step(rows_after, limit)

    def _store(self) -> None:
        """Store the sealed layers; note whether another process was faster."""
        raise NotImplementedError
