"""The curves of runs kept current, and read: stored, in memory, and of older rows at first look."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from typing import Final, NamedTuple

from realm_telemetry.folds.curves import Curves, CurvesRunner, RunCurves, stored_curves
from realm_telemetry.folds.curves.reading import FoundCurves, OlderRows
from realm_telemetry.folds.runs import RunRecord, events_of, started_at
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.log.curves import CurvesMark
from realm_telemetry.log.engine import Log, Snapshot
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.folds import FoldKeeper
from realm_telemetry.service.reader_pool import ReaderPool

LOOK_S: Final = 1.0
"""How long an answer waits for older rows; then it has what was read, and says how far that is."""

KEPT_LOOKS: Final = 16
"""Runs whose older rows are in memory until all of them are stored."""

_SAVE_STEPS: Final = 100
_PAUSE_S: Final = 0.02
_AGAIN_S: Final = 30.0
_logger = logging.getLogger(__name__)


class _Stored(NamedTuple):
    live: RunCurves
    older: RunCurves
    mark: CurvesMark
    start: int


class _Look:
    """One run's older rows as they are read."""

    def __init__(self, rows: OlderRows) -> None:
        self.rows = rows
        self.lock = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None


class CurvesKeeper(FoldKeeper[Curves]):
    """Keeps the curves current. Memory has what came since they were stored."""

    def __init__(
        self, log: Log, log_id: str, readers: ReaderPool, covers: Callable[[int], None]
    ) -> None:
        self._of_curves = CurvesRunner(log)
        super().__init__("Curves", readers, self._of_curves, covers)
        self._log = log
        self._store = log.curves(log_id)
        self._looks: OrderedDict[str, _Look] = OrderedDict()
        self._has_begun = asyncio.Event()

    async def fold(self, tail_cursor: int) -> None:
        """Fold what came since the curves were stored, up to the tail."""
        await super().fold(tail_cursor)
        self._has_begun.set()

    async def save(self) -> None:
        """Save what has changed; begin again behind what another process has saved meanwhile."""
        await super().save()
        if self._of_curves.overtaken:
            self._fold = None
            await self.fold(self._tail_cursor)

    def _report_newer(self) -> None:
        """Report nothing: what is stored has no versions."""

    async def fill(self) -> None:
        """Read the rows that were there before the curves began, slowly, until all are stored."""
        while True:
            try:
                await self._fill()
                return
            except ApiError as error:
                _logger.warning("Curves of older runs wait: %s", error.message)
                await asyncio.sleep(_AGAIN_S)

    async def _fill(self) -> None:
        await self._has_begun.wait()
        runner = CurvesRunner(self._log, "older")
        await self._readers.work(runner.restart)
        steps = 0
        while runner.fold.cursor < runner.mark.begun:
            await self._readers.run_long(lambda log: runner.step(every_row(log)))
            steps += 1
            if steps % _SAVE_STEPS == 0 or runner.fold.cursor >= runner.mark.begun:
                await self._readers.work(runner.save)
                self._covers(runner.covered)
                if runner.overtaken:
                    await self._readers.work(runner.restart)
            # People's looks come first.
            await asyncio.sleep(_PAUSE_S * (20 if self._is_looked_at() else 1))
        self._covers(runner.covered)
        self._looks.clear()

    def _is_looked_at(self) -> bool:
        return any(look.task and not look.task.done() for look in self._looks.values())

    async def read(self, run_id: str, record: RunRecord) -> FoundCurves:
        """Return the curves of a run, within about LOOK_S. Raises ApiError."""
        layers = self.current.layers(run_id)

        def ask(log: Snapshot) -> _Stored:
            live, older, mark = stored_curves(self._store, run_id, layers)
            start = 0 if mark.is_complete else log.cursor_before(started_at(record))
            return _Stored(live, older, mark, start)

        found = await self._readers.run(ask)
        if found.mark.is_complete:
            found.live.merge(found.older)
            return FoundCurves(found.live)
        if found.start >= found.mark.begun:
            return FoundCurves(found.live)
        look = self._looks.get(run_id)
        if look is None:
            filters = events_of(run_id, record)
            look = _Look(OlderRows(run_id, filters, found.start, found.mark.begun))
            self._looks[run_id] = look
            while len(self._looks) > KEPT_LOOKS:
                self._forget_oldest()
        self._looks.move_to_end(run_id)
        if look.task is None or (look.task.done() and look.rows.done is not None):
            # Not in the request's context: the reading goes on when its client has left.
            look.task = asyncio.get_running_loop().create_task(self._look(look), context=Context())
        await asyncio.wait([look.task], timeout=LOOK_S)
        async with look.lock:
            await self._readers.work(lambda: look.rows.add_to(found.live, found.mark, layers))
            return FoundCurves(found.live, look.rows.done)

    def close(self) -> None:
        """Read no more older rows."""
        while self._looks:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, look = self._looks.popitem(last=False)
        if look.task is not None:
            look.task.cancel()

    async def _look(self, look: _Look) -> None:
        """Read one run's older rows to the end."""
        try:
            while look.rows.done is not None:
                async with look.lock:
                    await self._readers.run_long(look.rows.step)
        except ApiError as error:
            _logger.warning("Curves of an older run cannot be read: %s", error.message)
