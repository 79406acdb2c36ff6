"""A saved RealmState up to the end of the log, so that retention may trim what it covers.

Imported only where there is something to trim: folding needs every section's code.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
from realm_telemetry.folds.state import RealmState, SnapshotStore, catch_up
from realm_telemetry.log.sqlite.reader import LogReader

STEP_ROWS: Final = 500
SAVE_EVERY_STEPS: Final = 200
SAVE_EVERY_S: Final = 30.0


class Coverage:
    """Brings the snapshot up to the end of the log, a few rows at a time.

    Raises LogError if there is no log.
    """

    def __init__(
        self, log_path: Path, state_path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = LogReader(log_path)
        self._store = SnapshotStore(state_path)
        self._clock = clock
        self._state: RealmState | None = None
        self._steps = 0
        self._save_at_s = 0.0

    def cursor(self) -> int:
        """Up to where the snapshot covers the log."""
        return self._store.cursor(self._reader.log_id)

    def step(self) -> bool:
        """Fold a few rows, save once all are; whether there is more to do, or to trim, now."""
        if self._save_at_s == float("inf"):
            return False
        if self._state is None:
            self._state = self._store.load(self._reader.log_id) or RealmState()
        self._steps += 1
        if catch_up(self._state, self._reader, STEP_ROWS) == STEP_ROWS:
            if self._steps % SAVE_EVERY_STEPS == 0:
                self._store.save(self._state, self._reader.log_id)
            return True
        if self._clock() < self._save_at_s:
            return False
        self._store.save(self._state, self._reader.log_id)
        covered = self.cursor() >= self._state.cursor
        # One of a newer version is not replaced; its service is the one to go on.
        self._save_at_s = self._clock() + SAVE_EVERY_S if covered else float("inf")
        # Read again when it is next needed: a service may have gone further meanwhile.
        self._state = None
        return covered

    def close(self) -> None:
        """Close the log."""
        self._reader.close()
