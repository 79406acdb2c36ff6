"""RealmState kept current: folded from snapshot and log at start, then by the tail."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence

from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.reading import ReaderPool
from realm_telemetry.state import RealmState, SnapshotStore, catch_up

_logger = logging.getLogger(__name__)


class StateKeeper:
    """Folds every row of the log once.

    saved: called with the cursor that the snapshot covers, when it is known and each time it moves.
    error: why the fold could not be made, None while all is well.
    """

    def __init__(
        self,
        readers: ReaderPool,
        store: SnapshotStore,
        log_id: str,
        saved: Callable[[int], None],
    ) -> None:
        self._saved = saved
        self._readers = readers
        self._store = store
        self._log_id = log_id
        self._saved_cursor = 0
        self._tail_cursor = 0
        self._state: RealmState | None = None
        self.error: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the fold has caught up with the tail."""
        return self._state is not None

    @property
    def current(self) -> RealmState:
        """The state.

        Raises ApiError not_ready while it is being folded.
        """
        if self._state is None:
            raise ApiError("not_ready", self.error)
        return self._state

    def take(self, rows: Sequence[LogRow]) -> None:
        """Fold the tail's next rows; while the start is not done, only note how far it is."""
        self._tail_cursor = rows[-1].cursor
        if self._state is not None:
            for row in rows:
                if row.cursor > self._state.cursor:
                    self._state.apply(row.event, row.cursor)

    async def fold(self, tail_cursor: int) -> None:
        """Fold the log up to the tail, in a thread; from there on the tail folds.

        tail_cursor: where the tail began.
        """
        self._tail_cursor = max(self._tail_cursor, tail_cursor)
        try:
            self._covers(await self._readers.work(lambda: self._store.cursor(self._log_id)))
            state = await self._readers.work(self._load)
            # In steps, so that the service can stop while a long log is folded.
            while state.cursor < self._tail_cursor and await self._step(state):
                pass
        except ApiError as error:
            self.error = error.message
            _logger.error("RealmState cannot be folded: %s", error.message)
            return
        self._state = state

    def _load(self) -> RealmState:
        return self._store.load(self._log_id) or RealmState()

    async def _step(self, state: RealmState) -> int:
        return await self._readers.run(lambda reader: catch_up(state, reader))

    async def save_every(self, interval_s: float) -> None:
        """Save snapshots for as long as the service runs."""
        while True:
            await asyncio.sleep(interval_s)
            await self.save()

    async def save(self) -> None:
        """Save a snapshot if anything has changed."""
        if self._state is None or self._state.cursor == self._saved_cursor:
            return
        # A copy, because the tail goes on folding while the thread waits for the disk.
        dumped, cursor = self._state.dump(), self._state.cursor
        try:
            await asyncio.to_thread(self._save_copy, dumped)
            self._covers(cursor)
        except (sqlite3.Error, OSError) as error:
            _logger.warning("RealmState could not be saved: %s", error)

    def _covers(self, cursor: int) -> None:
        self._saved_cursor = cursor
        self._saved(cursor)

    def _save_copy(self, dumped: bytes) -> None:
        self._store.save(RealmState.load(dumped), self._log_id)
