"""The runs of the log: the table that it keeps of them, and in memory what came behind its cursor.

The table is true at a cursor, its mark. Memory holds *layers*: records made of the rows behind the
mark alone. Because records of disjoint rows merge, a run is its row of the table and what the
layers have of it; so a start loads nothing, and a run that was not heard of takes no memory. To
save, the layers are merged into the table, which moves its mark in the same transaction.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from realm_telemetry.folds.clock import set_back_before, stamp_of
from realm_telemetry.folds.runs import view
from realm_telemetry.folds.runs.record import RunRecord, runs_of
from realm_telemetry.folds.runs.status import statuses
from realm_telemetry.folds.runtime import FoldFormat, LayersRunner, Row
from realm_telemetry.log.engine import Log
from realm_telemetry.log.runs import Place, RunsMark, RunsTable, RunsWanted, StoredRun

WARNINGS: Final = ("not_finite", "spikes", "stalls")
"""What a run can have had, however it ended."""

LOOKED_AT: Final = 1_000
"""Runs that one answer reads for warnings."""

_AT_ONCE: Final = 100
_logger = logging.getLogger(__name__)


class Layer(NamedTuple):
    """What the rows behind one cursor, up to another, add to the runs.

    records: as the fold dumps them. set_backs: steps back of the log's clock among these rows.
    """

    after: int
    through: int
    set_backs: tuple[tuple[int, int], ...]
    records: Mapping[str, bytes]


class Runs:
    """The rows behind the table's mark, as a fold. For one thread; its layers are for any.

    cursor: of the last row in it.
    """

    incomplete = False

    def __init__(self, mark: RunsMark | None = None) -> None:
        self.mark = mark or RunsMark()
        self.cursor = self._after = self.mark.cursor
        self._records: dict[str, RunRecord] = {}
        self._set_backs: list[tuple[int, int]] = []
        self._sealed: list[Layer] = []

    def __len__(self) -> int:
        return len(self._records)

    def take(self, rows: Sequence[Row]) -> None:
        """Fold in rows of the log; those at or before the cursor are in it already."""
        for row in rows:
            if row.cursor > self.cursor:
                self._take(row)

    def _take(self, row: Row) -> None:
        self.cursor = row.cursor
        arrival = set_back_before(row)
        if arrival is not None:
            self._set_backs.append((row.cursor, arrival))
            for record in self._records.values():
                record.set_back(arrival)
        for run_id in runs_of(row.event):
            record = self._records.get(run_id) or self._records.setdefault(run_id, RunRecord())
            record.apply(row.event, stamp_of(row.event), run_id)

    def dump(self) -> bytes:
        """Begin another layer, so that the ones before can be saved while this one grows."""
        self._sealed = self.layers()
        self._records, self._set_backs, self._after = {}, [], self.cursor
        return b""

    def fill(self, earlier: "Runs") -> None:
        """Take over nothing: a record has all its parts."""

    def layers(self, run_id: str | None = None) -> list[Layer]:
        """Return a copy of what is in memory, of all runs or of one."""
        wanted = self._records if run_id is None else self._of(run_id)
        records = {name: record.dump() for name, record in wanted.items()}
        newest = Layer(self._after, self.cursor, tuple(self._set_backs), records)
        return [*self.sealed(), newest]

    def _of(self, run_id: str) -> Mapping[str, RunRecord]:
        record = self._records.get(run_id)
        return {} if record is None else {run_id: record}

    def sealed(self) -> list[Layer]:
        """Return the layers that do not grow any more and are not in the table yet."""
        return [layer for layer in self._sealed if layer.through > self.mark.cursor]


class Reading:
    """The runs of one snapshot of a log, together with layers of memory."""

    def __init__(self, table: RunsTable, layers: Sequence[Layer]) -> None:
        self._table = table
        self._mark = table.runs_mark()
        # What was saved since the layers were copied is in the table.
        self._layers = [layer for layer in layers if layer.after >= self._mark.cursor]

    @property
    def touched(self) -> set[str]:
        """The runs that memory has something of."""
        return {run_id for layer in self._layers for run_id in layer.records}

    def record(self, run_id: str) -> RunRecord | None:
        """Return one run, None if nothing is known of it."""
        stored = self._table.run(run_id)
        known = any(run_id in layer.records for layer in self._layers)
        return self._merged(run_id, stored) if known or stored is not None else None

    def _merged(self, run_id: str, stored: StoredRun | None) -> RunRecord:
        record = RunRecord() if stored is None else loaded(stored, self._mark)
        for layer in self._layers:
            for _, arrival in layer.set_backs:
                record.set_back(arrival)
            if run_id in layer.records:
                record.merge(RunRecord.load(layer.records[run_id]))
        return record

    def page(self, wanted: RunsWanted) -> tuple[list[tuple[str, RunRecord]], bool]:
        """Return the runs that are wanted, newest first, and whether there are more."""
        touched = self.touched
        most = wanted.limit + 1
        stored = self._table.runs(_sized(wanted, most + len(touched)))
        found = [run for run in stored if run.run_id not in touched]
        found += [run for run in self.changed() if wanted.matches(run)]
        found.sort(key=lambda run: run.place, reverse=True)
        page = [(run.run_id, loaded(run, self._mark)) for run in found[: wanted.limit]]
        return page, len(found) > wanted.limit

    def sifted(
        self, wanted: RunsWanted, *, warnings: Sequence[str] = (), tags: Collection[str] = ()
    ) -> tuple[list[tuple[str, RunRecord]], Place | None]:
        """Return runs by what their records have, and where the part that was read ends.

        warnings: some of WARNINGS, or `any`, of which a run had one. tags: it has all of them.
        Up to LOOKED_AT runs are read; the place is None at the end of the list.
        """
        meant = WARNINGS if "any" in warnings else warnings
        found: list[tuple[str, RunRecord]] = []
        below = wanted.below
        for _ in range(LOOKED_AT // _AT_ONCE):
            page, is_more = self.page(msgspec.structs.replace(wanted, below=below, limit=_AT_ONCE))
            for run_id, record in page:
                below = view.started_at(record), run_id
                had = view.warnings_of(record)
                has_warning = not meant or any(had[name] for name in meant)
                if has_warning and set(tags) <= set(view.tags_of(record)):
                    found.append((run_id, record))
                    if len(found) == wanted.limit:
                        return found, below
            if not is_more:
                return found, None
        return found, below

    def counts(self) -> dict[str, int]:
        """Return how many runs have each status."""
        counts: Counter[str | None] = Counter(self._table.run_counts())
        for run in self.changed():
            stored = self._table.run(run.run_id)
            counts[stored.status if stored else None] -= 1
            counts[run.status] += 1
        return {status: counts[status] for status in statuses()}

    def statuses(self, run_ids: Iterable[str]) -> dict[str, str]:
        """Return the status of each of some runs that is known."""
        touched = self.touched
        found: dict[str, str] = {}
        for run_id in run_ids:
            if run_id in touched:
                record = self.record(run_id)
                status = view.status_of(record) if record and view.is_shown(record) else None
            else:
                stored = self._table.run(run_id)
                status = stored.status if stored else None
            if status is not None:
                found[run_id] = status
        return found

    def changed(self) -> Iterator[StoredRun]:
        """Yield the runs that memory has something of, as the table is to have them."""
        through = max((layer.through for layer in self._layers), default=self._mark.cursor)
        for run_id in self.touched:
            record = self.record(run_id)
            if record is not None:
                yield _stored(run_id, record, through)


def _sized(wanted: RunsWanted, limit: int) -> RunsWanted:
    return RunsWanted(wanted.statuses, wanted.since, wanted.words, wanted.below, limit)


def loaded(stored: StoredRun, mark: RunsMark) -> RunRecord:
    """Return a record of the table as it is at the table's mark; an empty one for no record."""
    try:
        record = RunRecord.load(stored.record)
    except ValueError as error:
        _logger.warning(
            "the record of the run %r cannot be read (%s); it begins again", stored.run_id, error
        )
        record = RunRecord()
    for cursor, arrival in mark.set_backs:
        if cursor > stored.through:
            record.set_back(arrival)
    return record


def _stored(run_id: str, record: RunRecord, through: int) -> StoredRun:
    return StoredRun(
        run_id,
        view.started_at(record),
        view.updated_at(record),
        view.status_of(record) if view.is_shown(record) else None,
        view.command_of(record),
        through,
        record.dump(),
    )


_FORMAT: Final = FoldFormat("Runs", Runs, lambda _: Runs())


class RunsRunner(LayersRunner[Runs]):
    """Brings the runs up to a log, and merges them into its table. For one thread at a time."""

    max_touched = 1_000

    def __init__(self, log: Log, *, saves: bool = True) -> None:
        """saves: False for who only reads."""
        super().__init__(_FORMAT, saves=saves)
        self._log = log
        self._log_id = ""

    def restart(self) -> None:
        """Go on behind the mark of the table. Raises LogError."""
        with self._log.reader() as reader:
            mark = reader.now.runs_mark()
            self._log_id = reader.log_id
        self.fold = Runs(mark)
        self.covered = mark.cursor
        self.overtaken = False

    def _store(self) -> None:
        layers = self.fold.sealed()
        mark = self.fold.mark
        for layer in layers:
            mark = mark.advanced(layer.through, layer.set_backs)
        known = self._merge(layers, mark)
        self.covered = min(known, mark.cursor)
        self.overtaken = known != mark.cursor
        if not self.overtaken:
            self.fold.mark = mark

    def _merge(self, layers: Sequence[Layer], mark: RunsMark) -> int:
        """Save the layers; return the cursor that counts then, 0 if the log is another one."""
        before = self.fold.mark
        with self._log.reader() as reader, reader.snapshot() as table:
            if reader.log_id != self._log_id or table.runs_mark() != before:
                return 0
            changed = list(Reading(table, layers).changed())
        with self._log.writer() as writer:
            if writer.log_id != self._log_id:
                return 0
            return writer.save_runs(changed, mark, after=before.cursor)
