"""Folds of the log kept current: from snapshot and log at start, then by the tail."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from realm_telemetry.errors import LogError
from realm_telemetry.folds.runs import Runs, RunsRunner
from realm_telemetry.folds.runtime import FoldRunner, SavedFold, every_row
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.reader_pool import ReaderPool

_logger = logging.getLogger(__name__)

SF = TypeVar("SF", bound=SavedFold)


class FoldKeeper(Generic[SF]):
    """Keeps one fold current while the service runs: every row of the log once.

    name: of the fold, in messages.
    covers: called with the cursor up to which a snapshot covers the log, when it is known and each
        time it moves.
    error: why the fold could not be made, None while all is well.
    """

    def __init__(
        self,
        name: str,
        readers: ReaderPool,
        runner: FoldRunner[SF],
        covers: Callable[[int], None],
    ) -> None:
        self._name = name
        self._covers = covers
        self._readers = readers
        self._runner = runner
        self._saved_cursor = 0
        self._tail_cursor = 0
        self._fold: SF | None = None
        self._saving: asyncio.Future[None] | None = None
        self._is_newer_reported = False
        self.error: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the fold has caught up with the tail."""
        return self._fold is not None

    @property
    def current(self) -> SF:
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
            self._fold.take(rows)

    async def fold(self, tail_cursor: int) -> None:
        """Fold the log up to the tail, in a thread; from there on the tail folds.

        tail_cursor: where the tail began.
        """
        self._tail_cursor = max(self._tail_cursor, tail_cursor)
        runner = self._runner
        try:
            await self._readers.work(runner.restart)
            self._saved_cursor = runner.covered
            self._covers(runner.covered)
            # In steps, so that the service can stop while a long log is folded.
            while runner.is_behind(self._tail_cursor) and await self._step():
                pass
        except ApiError as error:
            self.error = error.message
            _logger.error("%s cannot be folded: %s", self._name, error.message)
            return
        self._fold = runner.fold

    async def _step(self) -> bool:
        return await self._readers.run_long(lambda log: self._runner.step(every_row(log)))

    async def save_every(self, interval_s: float) -> None:
        """Save snapshots for as long as the service runs."""
        while True:
            await asyncio.sleep(interval_s)
            await self.save()

    async def save(self) -> None:
        """Save a snapshot if anything has changed."""
        # A saving that was cancelled goes on in its thread: the runner is for one at a time.
        if self._saving is not None and not self._saving.done():
            await asyncio.wait([self._saving])
        if self._fold is None or self._fold.cursor == self._saved_cursor:
            return
        # Made here, because the tail goes on folding while the thread waits for the disk.
        snapshot = self._runner.snapshot()
        if snapshot is None:
            return
        self._saving = asyncio.ensure_future(asyncio.to_thread(self._runner.save, snapshot))
        # Who waits for it may be cancelled: then nobody else looks at what came of it.
        self._saving.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.shield(self._saving)
        except LogError as error:
            _logger.warning("%s could not be saved: %s", self._name, error)
            return
        self._saved_cursor = snapshot.cursor
        self._covers(self._runner.covered)
        self._report_newer()

    def _report_newer(self) -> None:
        if self._runner.covered < self._saved_cursor and not self._is_newer_reported:
            self._is_newer_reported = True
            _logger.warning(
                "%s is not saved: a newer version of this package has saved it, and retention"
                " waits for that version",
                self._name,
            )


class RunsKeeper(FoldKeeper[Runs]):
    """Keeps the runs current. Memory has those that were heard of since the table was saved."""

    def __init__(
        self, readers: ReaderPool, runner: RunsRunner, covers: Callable[[int], None]
    ) -> None:
        super().__init__("Runs", readers, runner, covers)
        self._of_runs = runner

    async def save(self) -> None:
        """Save what has changed; begin again behind what another process has saved meanwhile."""
        await super().save()
        if self._of_runs.overtaken:
            self._fold = None
            await self.fold(self._tail_cursor)

    def _report_newer(self) -> None:
        """Report nothing: the table of runs has no versions."""
