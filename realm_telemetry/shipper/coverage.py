"""A saved RealmState and runs up to the end of the log, so that retention may trim what they cover.

Imported only where there is something to trim: folding needs every section's code.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
from realm_telemetry.folds.runs import RunsRunner
from realm_telemetry.folds.runtime import FoldRunner, every_row
from realm_telemetry.folds.state import RealmState, state_runner, state_snapshots
from realm_telemetry.log.engine import open_log
from realm_telemetry.values.clock import monotonic

STEP_ROWS: Final = 500
SAVE_EVERY_STEPS: Final = 200
SAVE_EVERY_S: Final = 30.0


class Coverage:
    """Brings the runs and the snapshot up to the end of the log, a few rows at a time.

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
        self._runs: RunsRunner | None = None
        self._runs_are_saved = False
        self._steps = 0
        self._save_at_s = 0.0

    def cursor(self) -> int:
        """Up to where both cover the log."""
        return min(self._snapshots.cursor(), self._reader.now.runs_mark().cursor)

    def step(self) -> bool:
        """Fold a few rows, save once all are; whether there is more to do, or to trim, now."""
        if self._save_at_s == float("inf"):
            return False
        if not self._runs_are_saved and self._clock() >= self._save_at_s:
            if self._step_of_runs():
                return True
            self._runs_are_saved = True
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
        self._runs_are_saved = False
        return is_covered

    def _step_of_runs(self) -> bool:
        """Fold a few rows into the runs, save once all are; whether there are more."""
        if self._runs is None:
            self._runs = RunsRunner(self._log)
            self._runs.restart()
        runs = self._runs
        if runs.step(self._rows_after, STEP_ROWS) and runs.is_behind(self._reader.now.max_cursor()):
            return True
        runs.save()
        self._runs = None
        return False

    def close(self) -> None:
        """Close the log."""
        self._reader.close()

    def _restarted(self) -> FoldRunner[RealmState]:
        if self._runner is None:
            self._runner = state_runner(self._reader.log_id, self._log)
            self._runner.restart()
        return self._runner
