"""What is kept of the log brought up to its end, so that retention may trim what that covers.

Imported only where there is something to trim: folding needs every section's code.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
from realm_telemetry.folds.curves import CurvesRunner
from realm_telemetry.folds.runs import RunsRunner
from realm_telemetry.folds.runtime import FoldRunner, every_row
from realm_telemetry.folds.state import RealmState, state_runner, state_snapshots
from realm_telemetry.log.engine import open_log
from realm_telemetry.values.clock import monotonic

STEP_ROWS: Final = 500
SAVE_EVERY_STEPS: Final = 200
SAVE_EVERY_S: Final = 30.0


class Coverage:
    """Brings the runs, the curves and the snapshot up to the end of the log, a few rows at a time.

    Raises LogError if there is no log.
    """

    def __init__(
        self, log_path: Path, state_path: Path, clock: Callable[[], float] = monotonic
    ) -> None:
        self._log = open_log(log_path, state_path=state_path)
        self._reader = self._log.reader()
        self._rows_after = every_row(self._reader.now)
        self._snapshots = state_snapshots(self._log, self._reader.log_id)
        self._clock = clock
        self._runner: FoldRunner[RealmState] | None = None
        # Those that are still to be brought up to the end, the first of them in work.
        self._waiting: list[RunsRunner | CurvesRunner] | None = None
        self._is_restarted = False
        self._steps = 0
        self._save_at_s = 0.0

    def cursor(self) -> int:
        """Up to where all of them cover the log."""
        curves = self._log.curves(self._reader.log_id).mark()
        covers = 0 if curves is None else curves.covers
        return min(self._snapshots.cursor(), self._reader.now.runs_mark().cursor, covers)

    def step(self) -> bool:
        """Fold a few rows, save once all are; whether there is more to do, or to trim, now."""
        if self._save_at_s == float("inf"):
            return False
        if self._clock() >= self._save_at_s and self._step_of_others():
            return True
        runner = self._restarted()
        self._steps += 1
        if runner.step(self._rows_after, STEP_ROWS) and runner.is_behind(
            self._reader.now.max_cursor()
        ):
            if self._steps % SAVE_EVERY_STEPS == 0:
                runner.save()
            return True
        if self._clock() < self._save_at_s:
            return False
        runner.save()
        is_covered = runner.covered >= runner.fold.cursor
        # One of a newer version is not replaced; its service is the one to go on.
        self._save_at_s = self._clock() + SAVE_EVERY_S if is_covered else float("inf")
        # Read again when it is next needed: a service may have gone further meanwhile.
        self._runner = None
        self._waiting = None
        return is_covered

    def _step_of_others(self) -> bool:
        """Fold a few rows into the runs or the curves; whether there are more to fold."""
        if self._waiting is None:
            log = self._log
            self._waiting = [RunsRunner(log), CurvesRunner(log), CurvesRunner(log, "older")]
        end = self._reader.now.max_cursor()
        while self._waiting:
            runner = self._waiting[0]
            if not self._is_restarted:
                runner.restart()
                self._is_restarted = True
            if runner.is_behind(end) and runner.step(self._rows_after, STEP_ROWS):
                end = self._reader.now.max_cursor()
                if runner.is_behind(end):
                    return True
            runner.save()
            del self._waiting[0]
            self._is_restarted = False
        return False

    def close(self) -> None:
        """Close the log."""
        self._reader.close()

    def _restarted(self) -> FoldRunner[RealmState]:
        if self._runner is None:
            self._runner = state_runner(self._reader.log_id, self._log)
            self._runner.restart()
        return self._runner
