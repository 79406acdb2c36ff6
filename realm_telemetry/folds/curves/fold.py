"""The curves of all runs as a fold: what is stored beside the log, and in memory what came since.

As with the runs, memory holds layers made of the rows behind the stored cursor, and curves of
disjoint rows merge. Two folds fill one store: one goes on with what arrives, the other reads the
rows that were in the log before, where that were many.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from realm_telemetry.folds.clock import set_back_before
from realm_telemetry.folds.curves.record import RunCurves
from realm_telemetry.folds.measures import is_measured
from realm_telemetry.folds.runs import run_of
from realm_telemetry.folds.runtime import FoldFormat, LayersRunner, Row, RowsAfter, advance
from realm_telemetry.log.curves import CurvesLayer, CurvesMark, CurveStore, Part
from realm_telemetry.log.engine import Log

MAX_PENDING: Final = 8_192
"""Events, of all runs together, that are kept as they are."""

MAX_LAYERS: Final = 8
"""Of a run, before they are joined."""

KEPT_BYTES: Final = 1024 * 1024 * 1024
"""What the curves of all runs take at most; beyond it those of the oldest runs get coarse."""

THIN_BUCKETS: Final = 64
"""Of a strand in curves that are coarse."""

SMALL_LOG: Final = 20_000
"""Rows; a store that begins on a log with no more reads them at once."""

_logger = logging.getLogger(__name__)


class CurvesInMemory(NamedTuple):
    """What the rows behind one cursor, up to another, add to the curves.

    set_backs: steps back of the log's clock among these rows.
    """

    after: int
    through: int
    set_backs: tuple[tuple[int, int], ...]
    runs: Mapping[str, RunCurves]


class Curves:
    """The rows behind a cursor, as a fold. For one thread; its sealed layers are for any.

    cursor: of the last row in it.
    """

    incomplete = False

    def __init__(self, cursor: int = 0) -> None:
        self.cursor = self._after = cursor
        self._runs: dict[str, RunCurves] = {}
        self._set_backs: list[tuple[int, int]] = []
        self._sealed: list[CurvesInMemory] = []
        self._pending = 0

    def __len__(self) -> int:
        return len(self._runs)

    def take(self, rows: Sequence[Row]) -> None:
        """Fold in rows of the log; those at or before the cursor are in it already."""
        for row in rows:
            if row.cursor <= self.cursor:
                continue
            self.cursor = row.cursor
            arrival = set_back_before(row)
            if arrival is not None:
                self._set_back(arrival)
            event = row.event
            if event.details and is_measured(event.kind):
                run_id = run_of(event)
                if run_id is not None:
                    run = self._runs.get(run_id)
                    if run is None:
                        run = self._runs[run_id] = RunCurves()
                    run.add(event)
                    self._pending += 1
        if self._pending > MAX_PENDING:
            self._fold()

    def _fold(self) -> None:
        self._pending = 0
        for run in self._runs.values():
            run.fold()

    def _set_back(self, arrival: int) -> None:
        self._set_backs.append((self.cursor, arrival))
        for run in self._runs.values():
            run.set_back(arrival)

    def dump(self) -> bytes:
        """Begin another layer, so that the ones before can be stored while this one grows."""
        newest = CurvesInMemory(self._after, self.cursor, tuple(self._set_backs), self._runs)
        self._sealed = [*self._sealed, newest]
        self._runs, self._set_backs, self._after = {}, [], self.cursor
        self._pending = 0
        return b""

    def fill(self, earlier: "Curves") -> None:
        """Take over nothing: curves have all their parts."""

    def layers(self, run_id: str) -> list[CurvesInMemory]:
        """Return what is in memory of one run."""
        run = self._runs.get(run_id)
        runs = {} if run is None else {run_id: run.copy()}
        newest = CurvesInMemory(self._after, self.cursor, tuple(self._set_backs), runs)
        return [*self._sealed, newest]

    def sealed(self) -> list[CurvesInMemory]:
        """Return the layers that do not grow any more and are not stored yet."""
        return self._sealed

    def stored(self, through: int) -> None:
        """Forget what is stored."""
        self._sealed = [layer for layer in self._sealed if layer.through > through]


def stored_curves(
    store: CurveStore, run_id: str, layers: Sequence[CurvesInMemory]
) -> tuple[RunCurves, RunCurves, CurvesMark]:
    """Return the curves of a run: of what arrived since the store began, and of older rows.

    layers: what is in memory; what of it is stored already is left out.
    """
    mark, found = store.layers(run_id)
    live, older = RunCurves(), RunCurves()
    for layer in found:
        target = live if layer.part == "live" else older
        target.merge(_loaded(run_id, layer, mark))
    for each in layers:
        if each.after >= mark.live:
            for _, arrival in each.set_backs:
                live.set_back(arrival)
                older.set_back(arrival)
            if run_id in each.runs:
                live.merge(each.runs[run_id])
    return live, older, mark


def _loaded(run_id: str, layer: CurvesLayer, mark: CurvesMark) -> RunCurves:
    """Return a layer as it is at the mark; nothing for one that cannot be read."""
    try:
        found = RunCurves.load(layer.content)
    except ValueError as error:
        _logger.warning("curves of the run %r cannot be read (%s)", run_id, error)
        return RunCurves()
    for cursor, arrival in mark.set_backs:
        if cursor > layer.through:
            found.set_back(arrival)
    return found


_FORMAT: Final = FoldFormat("Curves", Curves, lambda _: Curves())


class CurvesRunner(LayersRunner[Curves]):
    """Brings one part of the curves up to a log, and stores it. For one thread at a time."""

    max_touched = 500

    def __init__(self, log: Log, part: Part = "live") -> None:
        super().__init__(_FORMAT)
        self._log = log
        self._part: Part = part
        self._log_id = ""
        self.mark = CurvesMark()

    def restart(self) -> None:
        """Go on behind the stored mark; begin at the end of a long log. Raises LogError."""
        with self._log.reader() as reader:
            self._log_id = reader.log_id
            end, start = reader.now.max_cursor(), reader.now.min_cursor()
        store = self._log.curves(self._log_id)
        mark = store.mark()
        if mark is None:
            begun = end if end - start > SMALL_LOG else 0
            first = CurvesMark(begun)
            mark = store.save("live", {}, first._replace(live=begun), before=first)
        self.mark = mark
        self.fold = Curves(mark.live if self._part == "live" else mark.older)
        self.covered = mark.covers
        self.overtaken = False

    def is_behind(self, cursor: int) -> bool:
        """Whether rows of this part, up to a cursor, are still to be folded."""
        return super().is_behind(cursor if self._part == "live" else self.mark.begun)

    def _advance(self, rows_after: RowsAfter, limit: int) -> bool:
        if self._part == "live":
            return super()._advance(rows_after, limit)
        moved = advance(self.fold, rows_after, limit, until=self.mark.begun)
        # Rows may be gone; then the part is what was left of them.
        self.fold.cursor = self.fold.cursor if moved else self.mark.begun
        return moved

    def _store(self) -> None:
        sealed = self.fold.sealed()
        store = self._log.curves(self._log_id)
        through = sealed[-1].through
        if through == getattr(self.mark, self._part):
            self.fold.stored(through)
            return
        set_backs = tuple(each for layer in sealed for each in layer.set_backs)
        wanted = self.mark.advanced(self._part, through, set_backs)
        runs = _merged(sealed)
        content = {run_id: curves.dump() for run_id, curves in runs.items()}
        known = store.save(self._part, content, wanted, before=self.mark)
        self.overtaken = getattr(known, self._part) != through
        self.covered = known.covers
        if not self.overtaken:
            self.mark = known
            self.fold.stored(through)
            for run_id in store.crowded(list(runs), MAX_LAYERS):
                join_layers(store, run_id)
            store.make_room(KEPT_BYTES, thinned)


def _merged(layers: Sequence[CurvesInMemory]) -> dict[str, RunCurves]:
    merged: dict[str, RunCurves] = {}
    for layer in layers:
        for _, arrival in layer.set_backs:
            for run in merged.values():
                run.set_back(arrival)
        for run_id, curves in layer.runs.items():
            merged.setdefault(run_id, RunCurves()).merge(curves)
    return merged


def join_layers(store: CurveStore, run_id: str) -> None:
    """Store one layer in the place of the several that a run has of each part."""
    mark, found = store.layers(run_id)
    parts: tuple[Part, ...] = ("live", "older")
    for part in parts:
        joined = [layer for layer in found if layer.part == part]
        if len(joined) > 1:
            curves = RunCurves()
            for layer in joined:
                curves.merge(_loaded(run_id, layer, mark))
            # As it is at the mark: steps of the clock up to there are in it.
            through = mark.live if part == "live" else max(mark.live, mark.older)
            store.join(run_id, joined, CurvesLayer(part, through, curves.dump()))


def thinned(content: bytes) -> bytes:
    """Return a layer with THIN_BUCKETS a strand; as it is if it cannot be read."""
    try:
        curves = RunCurves.load(content)
    except ValueError:
        return content
    for _, curve in curves.curves():
        for strand in curve.strands.values():
            strand.limit(THIN_BUCKETS)
    return curves.dump()
