"""What the log still knows: the open spans of before a restart, and the roots of runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

import msgspec

from realm_exporter_otlp.traces.fold import SpanFold, in_order, no_run
from realm_exporter_otlp.traces.lifecycles import LOST, TRAINING_KINDS, phase_of
from realm_exporter_otlp.traces.runs import Run, arrival, run_of
from realm_exporter_otlp.traces.state import FindRun, Limits, State
from realm_telemetry.errors import ExportError, LogError
from realm_telemetry.event import Event
from realm_telemetry.folds.runtime import advance
from realm_telemetry.kinds.catalog import is_routine
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.filters import MAX_LIMIT, Filters
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.log.rows import LogRow
from realm_telemetry.plugins import ExporterContext

MAX_ROWS: Final = 5_000
"""Rows that are read back of each group, the newest.

The groups are trainings, jobs, all other lifecycles, lost processes, and what happened since the
first start that is open: a thousand short evals must not hide the training that they belong to.
"""

_GROUPS: Final = {"training": "trainings", "job": "jobs"}
_RUN_ROWS: Final = MAX_LIMIT
_ENDLESS_NS: Final = 2**62


class History:
    """Reads the log that the exporter follows. Raises ExportError, retryable, if it cannot."""

    def __init__(self, context: ExporterContext) -> None:
        self._pipeline = context.pipeline
        with _explained():
            self._reader = open_log(context.log_place).reader()

    def close(self) -> None:
        """Close the log."""
        self._reader.close()

    def cursor(self, event: Event) -> int | None:
        """Return where an event stands; None if it is gone."""
        with _explained():
            row = self._reader.now.get(event.id)
        return None if row is None else row.cursor

    def run_at(self, event: Event) -> Run:
        """Return what an event's run was when it happened."""
        if event.run_id is None:
            return Run()
        filters = Filters(
            kinds=(*TRAINING_KINDS, LOST),
            runs=(event.run_id,),
            until_unix_nano=event.time_unix_nano + 1,
            limit=_RUN_ROWS,
        )
        with _explained():
            rows = self._reader.now.page(filters, count=False).rows
        return run_of(in_order(row.event for row in rows))

    def fold_before(self, cursor: int, limits: Limits) -> SpanFold:
        """Return the fold of the rows before a cursor.

        It is folded again each time, so there is no second copy that could differ from the log.
        """
        with _explained():
            producers = {info.producer: info for info in self._reader.now.producers()}
            rows = self._rows_before(cursor, producers)
            # Who was silent for how long cannot be seen from a part of the rows.
            patient = msgspec.structs.replace(limits, silent_after_ns=_ENDLESS_NS)
            fold = _folded(rows, cursor - 1, patient, self.run_at)
            now_ns = self._newest_arrival(Filters(limit=1), cursor)
            heard = {
                name: self._last_heard(name, cursor, now_ns, producers.get(name))
                for name in fold.state.seen
            }
        fold.state.resume(limits, now_ns, heard)
        return fold

    def _last_heard(
        self, producer: str, cursor: int, now_ns: int, info: ProducerInfo | None
    ) -> int:
        """When the last event of a producer before a cursor happened, a routine one too."""
        last_ns = info.last_time_unix_nano if info is not None else None
        if last_ns is None or last_ns <= now_ns:
            return last_ns or 0
        return self._newest_arrival(Filters(producers=(producer,), limit=1), cursor)

    def _newest_arrival(self, filters: Filters, cursor: int) -> int:
        for row in self._reader.export(filters, as_of=cursor - 1):
            return arrival(row.event)
        return 0

    def _rows_before(self, cursor: int, producers: Mapping[str, ProducerInfo]) -> list[LogRow]:
        """The newest starts and ends, and what has happened since the first that is open."""
        groups: dict[str, list[str]] = {}
        for kind in self._reader.now.occurring_kinds():
            groups.setdefault(_group(kind), []).append(kind)
        others = groups.pop("others", [])
        groups.pop("routine", None)
        rows = [row for kinds in groups.values() for row in self._newest(kinds, cursor, producers)]
        rows.sort(key=lambda row: row.cursor)
        patient = Limits(silent_after_ns=_ENDLESS_NS)
        still_open = _folded(rows, cursor - 1, patient, no_run).state.open.values()
        if not still_open:
            return rows
        since = min(span.start.time_unix_nano for span in still_open)
        rows += self._newest(others, cursor, producers, since)
        return sorted(rows, key=lambda row: row.cursor)

    def _newest(
        self,
        kinds: Sequence[str],
        cursor: int,
        producers: Mapping[str, ProducerInfo],
        since_unix_nano: int | None = None,
    ) -> list[LogRow]:
        if not kinds:
            return []
        filters = Filters(kinds=tuple(kinds), since_unix_nano=since_unix_nano)
        found = islice(self._reader.export(filters, as_of=cursor - 1), MAX_ROWS)
        return [row for row in found if self._is_followed(row, producers)]

    def _is_followed(self, row: LogRow, producers: Mapping[str, ProducerInfo]) -> bool:
        """Whether the exporter was given this row: a service's is given all but old events."""
        info = producers.get(row.event.producer)
        if self._pipeline:
            return info is not None and info.pipeline == self._pipeline
        return not row.replayed and not (info is not None and info.brings_history)


def _group(kind: str) -> str:
    phase = phase_of(kind)
    if phase is not None:
        return _GROUPS.get(phase.lifecycle.name, "lifecycles")
    if kind == LOST:
        return "lost"
    return "routine" if is_routine(kind) else "others"


def _folded(rows: Sequence[LogRow], through: int, limits: Limits, find_run: FindRun) -> SpanFold:
    """Return the fold of these rows, which stand for all rows through a cursor."""
    fold = SpanFold(State(limits), find_run)
    # In one step: it puts what it is given into order.
    advance(fold, lambda cursor, limit: (rows, through))
    return fold


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except LogError as error:
        raise ExportError(str(error), retryable=True) from error
