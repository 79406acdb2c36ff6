"""The curves of one run out of the store, memory and, where these lack rows, the log itself."""

from collections.abc import Sequence
from typing import NamedTuple

from realm_telemetry.folds.curves.fold import Curves, CurvesInMemory, stored_curves
from realm_telemetry.folds.curves.record import RunCurves
from realm_telemetry.folds.runtime import STEP_ROWS, Row, RowsAfter, advance
from realm_telemetry.log.curves import CurvesMark
from realm_telemetry.log.engine import Log, Snapshot
from realm_telemetry.log.filters import Filters


class FoundCurves(NamedTuple):
    """The curves of a run. done: the share of its older rows that is in them, None for all."""

    curves: RunCurves
    done: float | None = None


class OlderRows:
    """Reads the rows of one run up to a cursor, in steps: what the store has not read yet."""

    def __init__(self, run_id: str, filters: Filters, start: int, end: int) -> None:
        self._run_id, self._filters = run_id, filters
        self._start, self._end = min(start, end), end
        self._fold = Curves(self._start)

    @property
    def done(self) -> float | None:
        """The share of the rows that is read, None for all."""
        passed = self._fold.cursor - self._start
        return None if self._fold.cursor >= self._end else passed / (self._end - self._start)

    def step(self, log: Snapshot) -> None:
        """Read some more."""
        if self._fold.cursor < self._end:
            rows_after = rows_of_run(log, self._filters, self._end)
            advance(self._fold, rows_after, STEP_ROWS, until=self._end)

    def add_to(self, live: RunCurves, mark: CurvesMark, layers: Sequence[CurvesInMemory]) -> None:
        """Fold what was read into the curves of what arrived later."""
        in_memory = [step for layer in layers for step in layer.set_backs]
        for each in self._fold.layers(self._run_id):
            if self._run_id in each.runs:
                found = each.runs[self._run_id]
                for cursor, arrival in {*mark.set_backs, *in_memory}:
                    if cursor > self._end:
                        found.set_back(arrival)
                live.merge(found)


def rows_of_run(log: Snapshot, filters: Filters, end: int) -> RowsAfter:
    """Return what reads the rows of one run."""

    def after(cursor: int, limit: int) -> tuple[Sequence[Row], int]:
        rows = log.after(cursor, limit, filters)
        return rows, rows[-1].cursor if rows else end

    return after


def curves_now(log: Log, reader: Snapshot, run_id: str, filters: Filters) -> RunCurves:
    """Return the curves of a run without a service: what is not stored is read, and not saved.

    filters: those that all events of the run pass.
    """
    store = log.curves(reader.log_id)
    end = reader.max_cursor()
    mark = store.mark()
    if mark is None:
        mark = CurvesMark(end, end)
    behind = Curves(mark.live)
    while behind.cursor < end:
        advance(behind, rows_of_run(reader, filters, end), STEP_ROWS, until=end)
    layers = behind.layers(run_id)
    live, older, stored = stored_curves(store, run_id, layers)
    if stored.is_complete and stored.live >= mark.live and store.mark() is not None:
        live.merge(older)
        return live
    rows = OlderRows(run_id, filters, 0, mark.begun)
    while rows.done is not None:
        rows.step(reader)
    rows.add_to(live, mark, layers)
    return live
