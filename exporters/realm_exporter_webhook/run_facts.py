"""What is known of a run when something is said of it: status, reason, step, checkpoint, lines."""

import shlex
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from realm_telemetry.errors import LogError
from realm_telemetry.event import Event
from realm_telemetry.folds.clock import stamp_of
from realm_telemetry.folds.runs import Reading, RunRecord, Runs, resume_as_recorded, shown
from realm_telemetry.folds.runs.record import REPORTS
from realm_telemetry.kinds.table import ROUTINE_KINDS
from realm_telemetry.log import Filters
from realm_telemetry.log.engine import Log, Reader, Snapshot

T = TypeVar("T")

STARTS: Final = frozenset({"run_started", "training_started", "training_resumed"})
"""Kinds that begin a run, or go on with it."""

STATUS_KINDS: Final = STARTS | {
    *("run_ended", "run_stalled", "run_resumed_progress", "process_lost", "training_paused"),
    *("training_completed", "training_failed", "training_cancelled", "exception"),
}
"""Kinds after which a run may have another status.

Not what a process says on its way to its end, as `uncaught_exception`: its `run_ended` follows.
"""

OPEN: Final = frozenset({"running", "stalled", "paused"})
"""Statuses of a run that has not ended."""

LINES: Final = 15
"""Last lines of output, or of a traceback, in a message."""

_STEPS: Final = 200
_ROWS: Final = 1000
_LOOKED_AT: Final = 20
_REMEMBERED: Final = 1000


class Checkpoint(msgspec.Struct, frozen=True):
    """The last checkpoint before any value that was not finite. saved_at: RFC 3339."""

    step: int | float | None
    path: str | None
    saved_at: str | None


class RunFacts(msgspec.Struct, frozen=True):
    """A run, as a message says it.

    rank: the one that failed first. lines: the end of its output, or else of its traceback.
    resume: a command, or a line of code, with which it goes on. link: where to read more.
    """

    run_id: str
    status: str
    reason: str | None = None
    rank: int | None = None
    step: int | float | None = None
    total_steps: int | float | None = None
    loss: int | float | str | None = None
    checkpoint: Checkpoint | None = None
    lines: tuple[str, ...] = ()
    link: str = ""
    resume: str | None = None
    best_loss: int | float | None = None


class Facts(Protocol):
    """What rules ask about runs. Raises LogError."""

    def status(self, run_id: str) -> str | None:
        """Return the status of a run; None if nothing is known of it."""
        ...

    def last_arrival_ns(self, run_id: str, sought: Filters) -> int | None:
        """Return when the last event of a run that passes the filters arrived; None for none."""
        ...


class NoFacts:
    """Knows of no run."""

    def status(self, run_id: str) -> str | None:
        """Return None."""
        return None

    def last_arrival_ns(self, run_id: str, sought: Filters) -> int | None:
        """Return None."""
        return None


class LogFacts:
    """Reads the log as it is now. For one thread at a time.

    What was read of a run is kept until `look_again`: many events of a batch may be of one run.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._reader: Reader | None = None
        self._records: dict[str, RunRecord | None] = {}

    def look_again(self) -> None:
        """Forget what was read: the log may have more now."""
        self._records.clear()

    def close(self) -> None:
        """Close the log; the next question opens it again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(LogError):
                reader.close()

    def status(self, run_id: str) -> str | None:
        """Return the status of a run; None if nothing is known of it."""
        record = self.record(run_id)
        return None if record is None else str(shown(run_id, record)["status"])

    def last_arrival_ns(self, run_id: str, sought: Filters) -> int | None:
        """Return when the last event of a run that passes the filters arrived; None for none."""
        wanted = msgspec.structs.replace(sought, runs=(run_id,), limit=_LOOKED_AT)
        rows = self._ask(lambda log: log.page(wanted, count=False).rows) or []
        arrivals = [row.event.observed_unix_nano or row.event.time_unix_nano for row in rows]
        return max(arrivals, default=None)

    def record(self, run_id: str) -> RunRecord | None:
        """Return the record of a run: its row of the table of runs, and what came since."""
        if run_id not in self._records:
            self._records[run_id] = self._ask(lambda log: _record_in(log, run_id))
        return self._records[run_id]

    def _ask(self, question: Callable[[Snapshot], T]) -> T | None:
        """Return the log's answer; None where there is no log, as in a plain OpenTelemetry SDK."""
        try:
            if self._reader is None:
                if not self._log.exists():
                    return None
                self._reader = self._log.reader()
            with self._reader.snapshot() as log:
                return question(log)
        except LogError:
            self.close()
            raise


def _record_in(log: Snapshot, run_id: str) -> RunRecord | None:
    runs = Runs(log.runs_mark())
    runs.take(_rows_behind(log, run_id, runs.cursor))
    return Reading(log, runs.layers()).record(run_id)


def _rows_behind(log: Snapshot, run_id: str, cursor: int) -> list[Any]:
    """The rows of a run behind a cursor; of the routine ones, which may be millions, the last."""
    wanted = Filters(runs=(run_id,), kinds=("training_step",), limit=_STEPS)
    found = [row for row in log.page(wanted, count=False).rows if row.cursor > cursor]
    notable = Filters(runs=(run_id,), not_kinds=tuple(sorted(ROUTINE_KINDS)))
    while rows := log.after(cursor, _ROWS, notable):
        found += rows
        cursor = rows[-1].cursor
    return sorted(found, key=lambda row: row.cursor)


class StreamFacts:
    """Knows what it was shown: for a backtest, in which each moment knows nothing later."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, RunRecord] = OrderedDict()
        self._arrivals: OrderedDict[str, int] = OrderedDict()

    def note(self, event: Event, sought: Filters | None) -> None:
        """Take in the next event, in order of arrival.

        sought: of the rule that is tried, if it is about what stays away.
        """
        if event.run_id is None:
            return
        if event.kind not in ROUTINE_KINDS:
            record = self._records.setdefault(event.run_id, RunRecord())
            record.apply(event, stamp_of(event))
            _touch(self._records, event.run_id)
        if sought is not None and sought.matches(event):
            self._arrivals[event.run_id] = event.observed_unix_nano or event.time_unix_nano
            _touch(self._arrivals, event.run_id)

    def status(self, run_id: str) -> str | None:
        """Return the status of a run; None if nothing is known of it."""
        record = self._records.get(run_id)
        return None if record is None else str(shown(run_id, record)["status"])

    def last_arrival_ns(self, run_id: str, sought: Filters) -> int | None:
        """Return when the last event of a run that was sought arrived."""
        return self._arrivals.get(run_id)


def _touch(found: OrderedDict[str, Any], run_id: str) -> None:
    found.move_to_end(run_id)
    if len(found) > _REMEMBERED:
        found.popitem(last=False)


NO_LIFE: Final = tuple(sorted(REPORTS | {"stack_captured"}))
"""Kinds that others say of a process: it may be silent all the same."""


def describe(run_id: str, record: RunRecord | None, events: Sequence[Event], base: str) -> RunFacts:
    """Return what a message says of a run.

    events: those that the message is about. base: the address of the service.
    """
    link = f"{base}/runs/{quote(run_id, safe='')}" if base else ""
    lines = _output(events)
    if record is None:
        return _of_events(run_id, events, lines, link)
    run = shown(run_id, record)
    trace = (run["exception"] or {}).get("traceback") or ""
    return RunFacts(
        run_id,
        run["status"],
        _text(run["reason"]),
        run["first_failed_rank"],
        run["step"],
        run["total_steps"] if isinstance(run["total_steps"], int | float) else None,
        run["loss"] if isinstance(run["loss"], int | float | str) else None,
        _checkpoint(run["last_finite_checkpoint"]),
        lines or _last(trace.splitlines()),
        link,
        _resume(record, run),
        run["best_loss"] if isinstance(run["best_loss"], int | float) else None,
    )


def _resume(record: RunRecord, run: Mapping[str, Any]) -> str | None:
    """What a person types to go on with a run that has ended, where that is known."""
    found = None if run["status"] in OPEN else resume_as_recorded(record, run)
    if found is None:
        return None
    if found["command"] is None:
        return _text(found["code"])
    cwd = f"cd {shlex.quote(found['cwd'])} && " if isinstance(found["cwd"], str) else ""
    return f"{cwd}{found['command']}"


def _of_events(run_id: str, events: Sequence[Event], lines: tuple[str, ...], link: str) -> RunFacts:
    """What the events themselves say, where the log cannot be asked."""
    details = next((each.details for each in reversed(events) if "status" in each.details), {})
    step = next(
        (each.details[name] for each in events for name in _STEP if name in each.details), None
    )
    return RunFacts(
        run_id,
        str(details.get("status", "")),
        _text(details.get("reason")),
        step=step if isinstance(step, int | float) else None,
        lines=lines,
        link=link,
    )


_STEP: Final = ("last_step", "step")


def _output(events: Sequence[Event]) -> tuple[str, ...]:
    """The last lines of output that an event brings along."""
    for event in reversed(events):
        tail = event.details.get("output_tail")
        if isinstance(tail, str):
            return _last(tail.splitlines())
        if isinstance(tail, list):
            return _last([str(line) for line in tail])
    return ()


def _last(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple([line for line in lines if line.strip()][-LINES:])


def _checkpoint(found: Mapping[str, Any] | None) -> Checkpoint | None:
    if found is None:
        return None
    step = found["step"]
    return Checkpoint(
        step if isinstance(step, int | float) else None, _text(found["path"]), found["saved_at"]
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
