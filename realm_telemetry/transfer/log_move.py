"""Moving a home's log from SQLite into PostgreSQL, while programs of the home go on emitting.

Rows are copied while others write; only what came meanwhile, the smaller tables and the comparison
need the log for themselves, some seconds. The order of the last steps holds that nothing is lost
wherever it is interrupted: the copy is whole and synced, then the source is sealed, then the copy
is put in its place. Each step is found done when the command is given again.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final

import msgspec

from realm_telemetry.config import Settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.folds.state import FOLD_VERSION, RealmState, state_runner
from realm_telemetry.log.engine import Log, Reader, open_log
from realm_telemetry.log.errors import LogRefusedError, LogUnavailableError
from realm_telemetry.log.kind_watch import learn_kinds
from realm_telemetry.log.postgres.move import MoveTarget
from realm_telemetry.log.records import Moved, Receipt
from realm_telemetry.log.snapshots import SnapshotName
from realm_telemetry.log.sqlite.departure import TABLES, Departure, new_log_id

BLOCK_ROWS: Final = 20_000
FEW_ROWS: Final = 2_000
"""So many rows more are copied while the log is held."""

_COMPARED_SPAN: Final = 100_000
_MOST_ROUNDS: Final = 20
_SETTING: Final = "--to"

Progress = Callable[[str, int, float | None], None]
"""Takes what is being done, the rows so far, and the share of the work."""


class MoveReport(msgspec.Struct, frozen=True):
    """What a move has done.

    place: without secrets. log_id: of the moved log. source_id: that of the home's log now.
    events: that the moved log has. copied: of them by this run. last_cursor: of the moved log.
    held_s: for how long nobody else could write to the log.
    """

    place: str
    log_id: str
    source_id: str
    events: int
    copied: int
    last_cursor: int
    seconds: float
    held_s: float
    was_sealed: bool


def move_log(settings: Settings, to: str, progress: Progress) -> MoveReport:
    """Move the log of a home to a place in PostgreSQL.

    Raises ConfigError, LogUnavailableError, LogRefusedError; the log is then where it was, or the
    same command goes on.
    """
    if not to.startswith(("postgresql://", "postgres://")):
        raise ConfigError(
            _SETTING, f"{to!r} is no place in PostgreSQL", "Write postgresql://user@host/database"
        )
    log = open_log(
        settings.log_path,
        home=settings.home,
        search_path=settings.search_path,
        state_path=settings.state_path,
    )
    if not log.exists():
        raise LogUnavailableError(f"there is no log at {log.place}", "There is nothing to move.")
    with closing(MoveTarget(to)) as target, closing(Departure(log, settings.home)) as source:
        return _Move(log, source, target, progress).run()


class _Move:
    def __init__(self, log: Log, source: Departure, target: MoveTarget, progress: Progress) -> None:
        self._log = log
        self._source = source
        self._target = target
        self._progress = progress
        self._copied = 0
        self._held_s = 0.0
        self._doubtful: list[tuple[int, int]] = []
        self._compared = 0

    def run(self) -> MoveReport:
        begun_s = time.monotonic()
        moved = self._source.moved()
        was_sealed = moved is not None
        if moved is None:
            moved = self._moved()
        elif not self._is_finished(moved):
            self._target.finish(moved.log_id)
        self._source.forget_messages()
        with self._log.reader() as reader:
            source_id = reader.log_id
        return MoveReport(
            self._target.place,
            moved.log_id,
            source_id,
            self._target.held_events(),
            self._copied,
            moved.cursor,
            round(time.monotonic() - begun_s, 3),
            round(self._held_s, 3),
            was_sealed,
        )

    def _is_finished(self, moved: Moved) -> bool:
        """Whether the log of a sealed source is in its place."""
        if moved.place != self._target.place and not self._target.check(moved.log_id):
            raise LogUnavailableError(
                f"the log {self._log.place} was moved to {moved.place} already",
                f"Its service is given that: REALM_LOG_URL={moved.place}",
            )
        return self._target.check(moved.log_id)

    def _moved(self) -> Moved:
        """Copy everything, seal the source, and put the copy in its place."""
        source, target = self._source, self._target
        if target.check(source.log_id):
            raise LogUnavailableError(
                f"{target.place} has this log already, and the one here was not moved",
                "It is a copy or a backup of what it was. `realm export` and `realm import` bring"
                " its events there.",
            )
        source.fill()
        with self._log.reader() as reader:
            learn_kinds(reader.now.kinds())
            self._fold(reader)
            note = target.begin(source.log_id, new_log_id(source.log_id))
            self._copy_most(reader)
            self._fold(reader)
            with source.alone():
                begun_s = time.monotonic()
                moved = self._copy_rest(reader)
                source.seal(moved, note.source_id)
            self._held_s = time.monotonic() - begun_s
        target.finish(moved.log_id)
        return moved

    def _fold(self, reader: Reader) -> None:
        """Bring the saved state up to the log, so that little is left to fold at the end."""
        runner = state_runner(reader.log_id, self._log)
        runner.restart()
        last = max(reader.now.max_cursor(), 1)
        while runner.step(every_row(reader.now)):
            self._progress("Folding", runner.fold.cursor, runner.fold.cursor / last)
        runner.save()

    def _copy_most(self, reader: Reader) -> None:
        self._copy_rows()
        for name in self._target.make_indexes():
            self._progress(f"Indexing ({name})", self._copied, None)
        for _ in range(_MOST_ROUNDS):
            self._compare_ids(self._target.last_cursor())
            if self._copy_rows() <= FEW_ROWS:
                return

    def _copy_rows(self) -> int:
        """Copy rows until there are no more; return how many they were.

        The server stores a block while the next one is read.
        """
        before, after = self._copied, self._target.last_cursor()
        last = max(self._source.last_cursor(), 1)
        sent: Future[None] | None = None
        with ThreadPoolExecutor(1) as sender:
            while rows := self._source.rows(after, BLOCK_ROWS):
                text = self._target.encoded(rows)
                if sent is not None:
                    sent.result()
                sent = sender.submit(self._target.copy, text)
                after = rows[-1][0]
                self._copied += len(rows)
                self._progress("Moving", self._copied, after / max(last, after))
                if len(rows) < BLOCK_ROWS:
                    break
            if sent is not None:
                sent.result()
        return self._copied - before

    def _compare_ids(self, until: int) -> None:
        """Compare cursors and event ids of rows, and keep which spans are to be looked at again.

        Retention may remove rows while this is done.
        """
        while self._compared < until:
            span = self._compared, min(self._compared + _COMPARED_SPAN, until)
            self._progress("Comparing", span[1], span[1] / until)
            if self._source.ids(*span) != self._target.ids(*span):
                self._doubtful.append(span)
            self._compared = span[1]

    def _copy_rest(self, reader: Reader) -> Moved:
        """Copy what came last and all tables, and compare; the log is held meanwhile."""
        source, target = self._source, self._target
        self._copy_rows()
        self._remove_gone()
        cursor = source.last_cursor()
        tables = {name: source.table(name) for name in TABLES} | source.curves()
        target.hold(tables, source.outbox(), source.addresses(), (cursor, source.last_arrival()))
        self._move_snapshots(reader)
        self._compare(reader, cursor)
        target.note_whole()
        return target.moved(cursor)

    def _remove_gone(self) -> None:
        """Remove rows from the copy that retention has removed from the source meanwhile."""
        source, target = self._source, self._target
        sums = source.sums()
        if sums == target.sums():
            return
        target.remove(below=sums[2])
        if sums == target.sums():
            return
        after, last = 0, target.last_cursor()
        while after < last:
            there = target.cursors(after, _COMPARED_SPAN)
            here = set(source.cursors(after, _COMPARED_SPAN))
            end = there[-1]
            target.remove(cursors=[each for each in there if each not in here])
            after = end

    def _move_snapshots(self, reader: Reader) -> None:
        names: tuple[tuple[SnapshotName, int, str], ...] = (
            ("state", FOLD_VERSION, ""),
            ("metrics", 0, "service"),
        )
        for name, version, who in names:
            stores = [
                log.snapshots(name, reader.log_id, version=version, reader=who)
                for log in (self._log, self._target.log)
            ]
            if (found := stores[0].load()) is not None:
                stores[1].save(found)

    def _compare(self, reader: Reader, cursor: int) -> None:
        """Compare both logs. Raises LogRefusedError that says what differs; nothing is sealed."""
        self._compare_spans(cursor)
        with self._target.log.reader() as moved, reader.snapshot() as a, moved.snapshot() as b:
            pairs: tuple[tuple[str, Any, Any], ...] = (
                ("the last cursor", a.max_cursor(), b.max_cursor()),
                ("the first cursor", a.min_cursor(), b.min_cursor()),
                ("the counts of what happened", a.happened(), b.happened()),
                ("the kinds", a.kinds(), b.kinds()),
                ("the receipts", _receipts(a.receipts()), _receipts(b.receipts())),
                ("the dead letters", a.dead_letters(), b.dead_letters()),
                ("the service's cursors", a.cursors(""), b.cursors("")),
                ("the runs", a.run_counts(), b.run_counts()),
                ("the runs' mark", a.runs_mark(), b.runs_mark()),
            )
            for what, here, there in pairs:
                if here != there:
                    raise _different(what)
            here, there = (
                _state(reader.log_id, log, rows)
                for log, rows in ((self._log, a), (self._target.log, b))
            )
            if here != there:
                raise _different("the state")

    def _compare_spans(self, cursor: int) -> None:
        for span in [*self._doubtful, (self._compared, cursor)]:
            if self._source.ids(*span) != self._target.ids(*span):
                raise _different(f"the events from {span[0] + 1} to {span[1]}")
        if self._source.sums() != self._target.sums():
            raise _different("the number of events")


def _receipts(receipts: list[Receipt]) -> list[Receipt]:
    """Return receipts without what a move changes: pipelines of this host are a sender's there."""
    return [
        msgspec.structs.replace(each, pipeline=each.pipeline.removeprefix("remote/"))
        for each in receipts
    ]


def _state(log_id: str, log: Log, rows: Any) -> bytes:
    """Return the dump of the state, from the saved snapshot on."""
    runner = state_runner(log_id, log)
    runner.restart()
    state: RealmState = runner.catch_up(every_row(rows))
    return state.dump()


def _different(what: str) -> LogRefusedError:
    return LogRefusedError(
        f"the copy differs from the log: {what}. Nothing was changed here; the log goes on as it"
        " was. Please report this, with the answer of `realm log status`"
    )
