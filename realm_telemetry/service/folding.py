"""Folds of the log kept current: from snapshot and log at start, then by the tail."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from realm_telemetry.event import Event
from realm_telemetry.folds.state import catch_up
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.reading import ReaderPool

_logger = logging.getLogger(__name__)


class Fold(Protocol):
    """What the log adds up to: RealmState, or metrics."""

    cursor: int

    def apply(self, event: Event, cursor: int) -> None:
        """Fold in one event."""

    def dump(self) -> bytes:
        """All of it, as a snapshot has it."""
        ...


F = TypeVar("F", bound=Fold)


class Store(Protocol[F]):
    """Where snapshots of a fold are."""

    def fresh(self) -> F:
        """A fold of nothing."""
        ...

    def read(self, dumped: bytes) -> F:
        """A fold that was dumped."""
        ...

    def load(self, log_id: str) -> F | None:
        """The snapshot, None if there is none that fits."""
        ...

    def save(self, fold: F, log_id: str) -> None:
        """Write a snapshot."""

    def cursor(self, log_id: str) -> int:
        """The cursor that the snapshot covers the log up to."""
        ...


class FoldKeeper(Generic[F]):
    """Folds every row of the log once.

    name: of the fold, in messages.
    saved: called with the cursor that the snapshot covers, when it is known and each time it moves.
    error: why the fold could not be made, None while all is well.
    """

    def __init__(
        self,
        name: str,
        readers: ReaderPool,
        store: Store[F],
        log_id: str,
        saved: Callable[[int], None],
    ) -> None:
        self._name = name
        self._saved = saved
        self._readers = readers
        self._store = store
        self._log_id = log_id
        self._saved_cursor = 0
        self._tail_cursor = 0
        self._fold: F | None = None
        self.error: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the fold has caught up with the tail."""
        return self._fold is not None

    @property
    def current(self) -> F:
        """The fold.

        Raises ApiError not_ready while it is being folded.
        """
        if self._fold is None:
            raise ApiError("not_ready", self.error)
        return self._fold

    def take(self, rows: Sequence[LogRow]) -> None:
        """Fold the tail's next rows; while the start is not done, only note how far it is."""
        self._tail_cursor = rows[-1].cursor
        if self._fold is not None:
            for row in rows:
                if row.cursor > self._fold.cursor:
                    self._fold.apply(row.event, row.cursor)

    async def fold(self, tail_cursor: int) -> None:
        """Fold the log up to the tail, in a thread; from there on the tail folds.

        tail_cursor: where the tail began.
        """
        self._tail_cursor = max(self._tail_cursor, tail_cursor)
        try:
            self._covers(await self._readers.work(lambda: self._store.cursor(self._log_id)))
            fold = await self._readers.work(self._load)
            # In steps, so that the service can stop while a long log is folded.
            while fold.cursor < self._tail_cursor and await self._step(fold):
                pass
        except ApiError as error:
            self.error = error.message
            _logger.error("%s cannot be folded: %s", self._name, error.message)
            return
        self._fold = fold

    def _load(self) -> F:
        return self._store.load(self._log_id) or self._store.fresh()

    async def _step(self, fold: F) -> int:
        return await self._readers.run(lambda log: catch_up(fold, log))

    async def save_every(self, interval_s: float) -> None:
        """Save snapshots for as long as the service runs."""
        while True:
            await asyncio.sleep(interval_s)
            await self.save()

    async def save(self) -> None:
        """Save a snapshot if anything has changed."""
        if self._fold is None or self._fold.cursor == self._saved_cursor:
            return
        # A copy, because the tail goes on folding while the thread waits for the disk.
        dumped, cursor = self._fold.dump(), self._fold.cursor
        try:
            await asyncio.to_thread(self._save_copy, dumped)
            self._covers(cursor)
        except (sqlite3.Error, OSError) as error:
            _logger.warning("%s could not be saved: %s", self._name, error)

    def _covers(self, cursor: int) -> None:
        self._saved_cursor = cursor
        self._saved(cursor)

    def _save_copy(self, dumped: bytes) -> None:
        self._store.save(self._store.read(dumped), self._log_id)
