"""The record of one run: what its events add up to, in any order of arrival.

Cells hold the newest value (or the first, or the least: a stamp of their own says which), by the
stamps of `folds.clock`. What is kept of each process is a record of cells too; `folds.runs.status`
reads the status of the run out of them. Records of disjoint sets of events merge into that of all,
so that the log's table holds one of the rows up to a cursor, and memory one of those behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import FIRST_CONTENT_NUMBER, Event
from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.runs.latest import Latest
from realm_telemetry.folds.runs.spans import Entry, Spans
from realm_telemetry.folds.state.lattice import (
    Cells,
    Records,
    RecordsDump,
    join,
    lower,
    put,
    put_all,
)
from realm_telemetry.folds.state.values import bounded, number, pick
from realm_telemetry.values.conversions import NOT_FINITE
from realm_telemetry.values.rank import rank_of

MAX_PROCESSES: Final = 2_048
MAX_CHECKPOINTS: Final = 200
MAX_CONFIG: Final = 256
MAX_CONFIG_BYTES: Final = 4_096
"""Encoded size of one setting."""

MAX_NAME: Final = 200
"""Characters of a name of a setting or metric."""

MAX_METRICS: Final = 64
"""Numbers of an evaluation."""

MAX_TRACEBACK: Final = 16_000
"""Characters of a traceback, from its end: there it says what happened."""


PARTS: Final = frozenset(
    {
        *("run_started", "run_config", "run_ended", "run_stalled", "run_resumed_progress"),
        *("training_started", "training_step", "training_paused", "training_resumed"),
        *("training_completed", "training_failed", "training_cancelled"),
    }
)
"""Kinds by which a process takes part in a run; one without a run id is then a run of its own."""

_STARTS: Final = frozenset({"run_started", "training_started"})
_ENDS: Final = frozenset({"training_completed", "training_failed", "training_cancelled"})
REPORTS: Final = frozenset(
    {
        *("run_ended", "run_stalled", "run_resumed_progress", "loss_not_finite", "loss_spiked"),
        *("uncaught_exception", "fatal_signal", "stack_captured", "process_lost"),
        *("events_dropped", "resource_sampled", "memory_pressure", "disk_low"),
    }
)
"""Kinds that speak of a process from outside, or of its end: no sign that it goes on."""

_ALONE: Final = PARTS | {
    *("checkpoint_saved", "loss_not_finite", "loss_spiked"),
    *("uncaught_exception", "fatal_signal", "process_lost"),
}
"""Kinds that are taken of a process without a run id."""

_FATAL: Final = 21
"""OpenTelemetry's severity number FATAL: https://opentelemetry.io/docs/specs/otel/logs/data-model"""

SUPERVISOR: Final = "realm run"
"""The launcher that is the parent of the command, and takes no part in the training itself."""

_OF_THE_COMMAND: Final = (
    *("command", "cwd", "git_commit", "python", "launcher", "world_size", "scheduler_job_id"),
    "tags",
)


_OF_HOSTS: Final = frozenset({"host_lost", "host_heard_again"})
"""Kinds that speak of processes of several runs, among their details."""


def run_of(event: Event) -> str | None:
    """Return the run that an event belongs to; None for none."""
    return event.run_id or (event.producer if event.kind in _ALONE else None)


def runs_of(event: Event) -> Sequence[str]:
    """Return the runs that an event says something of."""
    if event.kind in _OF_HOSTS:
        return list(processes_of(event))
    run_id = run_of(event)
    return () if run_id is None else (run_id,)


_OF_A_STALL: Final = (
    *("silent_s", "median_step_s", "last_step", "phase", "error", "behind", "steps_behind"),
    "cannot_tell",
)


class _OfRun(msgspec.Struct):
    """The processes of one run on a host."""

    run_id: str
    producers: list[str]


def processes_of(event: Event) -> Mapping[str, Sequence[str]]:
    """Return the processes that an event of a host is about, by their runs."""
    try:
        found = msgspec.convert(event.details.get("runs"), list[_OfRun])
    except msgspec.ValidationError:  # somebody else's event of this name
        return {}
    return {each.run_id: each.producers for each in found}


def first_of(stamp: Stamp) -> Stamp:
    """Return a stamp that is greater for what was earlier."""
    return (-stamp[0], *stamp[1:])


class RunDump(msgspec.Struct, array_like=True):
    """A record as the log's table has it; a later version adds fields at the end."""

    cells: Cells
    counts: dict[str, int]
    processes: RecordsDump
    checkpoints: RecordsDump
    config: RecordsDump
    exceptions: list[Entry]
    pace: list[Entry]
    numbers: RecordsDump = msgspec.field(default_factory=lambda: RecordsDump(None, {}))


_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
_decoder: Final = msgspec.msgpack.Decoder(RunDump)


class RunRecord:
    """One run. See the top of this module."""

    __slots__ = (
        *("cells", "checkpoints", "config", "counts", "exceptions", "numbers", "pace"),
        "processes",
    )

    def __init__(self) -> None:
        self.cells: Cells = {}
        self.counts: dict[str, int] = {}
        self.processes = Records(MAX_PROCESSES)
        self.checkpoints = Records(MAX_CHECKPOINTS)
        self.config = Records(MAX_CONFIG)
        # The first failures of a minute tell what happened; all ranks then fail one by one.
        self.exceptions = Spans(60_000_000_000, 8, first=4, last=0)
        self.pace = Spans(10_000_000_000, 32, first=1, last=1)
        self.numbers = Latest()

    def apply(self, event: Event, stamp: Stamp, run_id: str = "") -> None:
        """Fold in one event; the caller does so once.

        run_id: which run this is, for an event that speaks of several.
        """
        kind, cells = event.kind, self.cells
        if kind in _OF_HOSTS:
            self._of_a_host(event, stamp, run_id)
            return
        self._tally(event)
        put(cells, "last", stamp, None)
        self._begin(stamp)
        for name in ("hero_id", "campaign_id"):
            value = getattr(event, name)
            if value is not None:
                put(cells, name, stamp, value)
        process: dict[str, Any] = {} if kind in REPORTS else {"seen": None}
        rank = rank_of(event)
        if rank is not None:
            process["rank"] = rank
        if kind in PARTS:
            process["part"] = True
        if event.run_id or kind in PARTS:
            put(cells, "named" if event.run_id else "unnamed", stamp, True)
        self._progress(event, stamp, process)
        read = _READERS.get(kind)
        if read is not None:
            read(self, event, stamp, process)
        elif kind == "exception" or "exception.type" in event.details:
            _foreign_exception(self, event, stamp, process)
        if process:
            self.processes.put(event.producer, stamp, process)

    def merge(self, other: "RunRecord") -> None:
        """Fold in the record of a disjoint set of events."""
        join(self.cells, other.cells)
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.processes.merge(other.processes)
        self.checkpoints.merge(other.checkpoints)
        self.config.merge(other.config)
        self.exceptions.add_all(other.exceptions.read())
        self.pace.add_all(other.pace.read())
        self.numbers.merge(other.numbers)

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower all stamps, because the log's clock was ahead until then."""
        self.cells = lower(self.cells, arrival_unix_nano)
        for part in (self.processes, self.checkpoints, self.config, self.exceptions, self.pace):
            part.set_back(arrival_unix_nano)
        self.numbers.set_back(arrival_unix_nano)

    def dump(self) -> bytes:
        """Return the record with its stamps; equal sets of events give equal dumps."""
        dumped = RunDump(
            self.cells,
            self.counts,
            self.processes.dump(),
            self.checkpoints.dump(),
            self.config.dump(),
            self.exceptions.read(),
            self.pace.read(),
            self.numbers.dump(),
        )
        return _encoder.encode(dumped)

    @classmethod
    def load(cls, dumped: bytes) -> "RunRecord":
        """Return the record that `dump` wrote. Raises ValueError."""
        read = _decoder.decode(dumped)
        record = cls()
        record.cells, record.counts = read.cells, read.counts
        record.processes.load(read.processes)
        record.checkpoints.load(read.checkpoints)
        record.config.load(read.config)
        record.exceptions.add_all(read.exceptions)
        record.pace.add_all(read.pace)
        record.numbers.load(read.numbers)
        return record

    def count(self, name: str) -> None:
        """Count one more of something."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def not_finite(self, stamp: Stamp, field: Any, step: Any, value: Any) -> None:
        """Note a value that is not finite: the first one, and the last."""
        found = [bounded(field), step, bounded(value), stamp[0]]
        put(self.cells, "first_not_finite", first_of(stamp), found)
        put(self.cells, "last_not_finite", stamp, found)

    def _begin(self, stamp: Stamp) -> None:
        """Note when the first event was."""
        first = self.cells.get("first")
        if first is None or stamp[0] <= first[1]:
            put(self.cells, "first", first_of(stamp), stamp[0])

    def _of_a_host(self, event: Event, stamp: Stamp, run_id: str) -> None:
        """Note of the processes on a host that it is silent, or is heard again."""
        fields: dict[str, Any] = {"heard": None}
        if event.kind == "host_lost":
            fields = {"silent": pick(event.details, ("host", "last_heard", "silent_s"))}
        for producer in processes_of(event).get(run_id, ()):
            self.processes.put(producer, stamp, fields)

    def _tally(self, event: Event) -> None:
        self.count("events")
        if event.severity == "error" or event.severity == "warning":
            self.count(f"{event.severity}s")

    def _progress(self, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
        kind, details = event.kind, event.details
        if kind in REPORTS:
            return
        if not process.get("rank"):
            self.numbers.take(kind, details, stamp)
        step = number(details.get("step")) if _is_of_the_loop(event) else None
        if step is not None:
            process["step"] = step
            put(self.cells, "step", stamp, step)
        goes_on = step is not None and kind != "training_paused" and kind not in _ENDS
        if goes_on or kind in _STARTS or kind == "training_resumed":
            process["life"] = None
        if goes_on:
            self.pace.add(stamp, step)
        if event.channel == "training":
            self._losses(details, stamp, step)

    def _losses(self, details: Mapping[str, Any], stamp: Stamp, step: Any) -> None:
        cells = self.cells
        for name in ("total_steps", "loss"):
            value = details.get(name)
            if value is not None:
                put(cells, name, stamp, bounded(value))
        loss = number(details.get("loss"))
        if loss is not None:
            best = cells.get("best_loss")
            if best is None or loss <= best[1]:
                put(cells, "best_loss", (-loss, *stamp), loss)
        if step is None:
            return
        for name, value in details.items():
            if type(value) is str and value in NOT_FINITE:
                self.not_finite(stamp, name, step, value)


def _is_of_the_loop(event: Event) -> bool:
    """Whether the step of an event is where the training is, and not an older checkpoint's."""
    return event.kind == "checkpoint_saved" or event.channel not in ("eval", "checkpoint")


_Reader = Callable[[RunRecord, Event, Stamp, dict[str, Any]], None]


def _started(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    process["start"] = None
    if event.kind == "training_started":
        _config(record, event, stamp, process)
        return
    put_all(record.cells, stamp, pick(event.details, _OF_THE_COMMAND))
    process.update(pick(event.details, ("attempt", "host")))
    if event.details.get("launcher") == SUPERVISOR:
        process["supervises"] = True


def _config(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    for name, value in event.details.items():
        record.config.put(name[:MAX_NAME], stamp, {"value": _small(value)})


def _small(value: Any) -> Any:
    value = bounded(value)
    if isinstance(value, dict | list):
        size = len(msgspec.msgpack.encode(value))
        return value if size <= MAX_CONFIG_BYTES else {"truncated": True, "size_bytes": size}
    return value


def _saved(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    found = pick(event.details, ("step", "path", "loss", "size_bytes", "bytes"))
    key = str(found.get("step", found.get("path", event.id)))[:200]
    record.checkpoints.put(key, stamp, {"checkpoint": found})


def _evaluated(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    details = event.details
    metrics = {
        name[:MAX_NAME]: value if value in NOT_FINITE else number(value)
        for name, value in details.items()
        if name != "step" and _is_number(value)
    }
    kept = dict(list(metrics.items())[:MAX_METRICS])
    put(record.cells, "evaluation", stamp, {"step": number(details.get("step")), "metrics": kept})


def _is_number(value: Any) -> bool:
    """Whether a detail is a number, NaN and infinities among them."""
    return value in NOT_FINITE if type(value) is str else number(value) is not None


def _paused(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    process["paused"] = pick(event.details, ("reason",)).get("reason")


def _stalled(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    record.count("stalls")
    process["stalled"] = pick(event.details, _OF_A_STALL)


def _steps_again(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    process["life"] = None


def _loss_not_finite(
    record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]
) -> None:
    details = event.details
    record.not_finite(
        stamp, details.get("field"), number(details.get("step")), details.get("value")
    )


def _spiked(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    record.count("spikes")


def _run_ended(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    # What the shipper says of a process is later than its own word, and more certain.
    name = "ended_by_shipper" if event.number >= FIRST_CONTENT_NUMBER else "ended"
    process[name] = _ending(event.details, "completed")
    process.update(pick(event.details, ("host",)))
    peak = number(event.details.get("peak_rss_bytes"))
    if peak is not None:
        put(record.cells, "peak_rss_bytes", (peak, *stamp), peak)


def _sampled(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    process.update(pick(event.details, ("host",)))


def _ending(details: Mapping[str, Any], status: str) -> list[Any]:
    given = pick(details, ("status", "reason", "evidence"))
    return [given.get("status", status), given.get("reason"), given.get("evidence")]


def _completed(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    process["completed"] = ["completed", None, None]


def _cancelled(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    process["cancelled"] = ["cancelled", pick(event.details, ("reason",)).get("reason"), None]


def _failed(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    error = pick(event.details, ("error",)).get("error")
    process["failed"] = ["failed", error, None]
    if error is not None:
        _keep_exception(record, event, stamp)


def _uncaught(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    if "unraisable" in event.details:  # Python has printed it and gone on
        return
    _keep_exception(record, event, stamp)
    if event.details.get("thread") in (None, "MainThread"):
        process["exception"] = ["failed", _named_error(event.details), None]


def _foreign_exception(
    record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]
) -> None:
    """Keep what other software reports; only a fatal one ends its process."""
    _keep_exception(record, event, stamp)
    fatal = event.details.get("otel.severity_number")
    if type(fatal) is int and fatal >= _FATAL:
        process["exception"] = ["failed", _named_error(event.details), None]


def _keep_exception(record: RunRecord, event: Event, stamp: Stamp) -> None:
    details = event.details
    trace = details.get("traceback") or details.get("exception.stacktrace")
    kept = {
        "producer": event.producer,
        "rank": rank_of(event),
        "error": bounded(details.get("error") or details.get("exception.message")),
        "error_type": bounded(details.get("error_type") or details.get("exception.type")),
        "thread": bounded(details.get("thread")),
        "traceback": trace[-MAX_TRACEBACK:] if isinstance(trace, str) else None,
    }
    record.exceptions.add(stamp, kept)


def _named_error(details: Mapping[str, Any]) -> str:
    error = details.get("error") or details.get("exception.message")
    kind = details.get("error_type") or details.get("exception.type")
    shown = [str(part) for part in (kind, error) if part]
    if len(shown) == 2 and shown[1].startswith(shown[0]):
        shown = shown[1:]
    return str(bounded(": ".join(shown))) or "an exception"


def _signalled(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    found = pick(event.details, ("signal",)).get("signal", "of unknown number")
    process["signal"] = ["crashed", f"signal {found}", None]


def _lost(record: RunRecord, event: Event, stamp: Stamp, process: dict[str, Any]) -> None:
    status, reason, evidence = _ending(event.details, "lost")
    if reason is None:
        last = pick(event.details, ("last_kind", "last_step"))
        shown = ", ".join(f"{name[5:]} {value}" for name, value in last.items())
        reason = "it ended without goodbye" + (f" (last {shown})" if shown else "")
    process["lost"] = [status, reason, evidence]
    process.update(pick(event.details, ("host",)))


_READERS: Final[Mapping[str, _Reader]] = {
    "run_started": _started,
    "training_started": _started,
    "run_config": _config,
    "checkpoint_saved": _saved,
    "evaluation_finished": _evaluated,
    "training_paused": _paused,
    "training_completed": _completed,
    "training_cancelled": _cancelled,
    "training_failed": _failed,
    "run_stalled": _stalled,
    "run_resumed_progress": _steps_again,
    "loss_not_finite": _loss_not_finite,
    "loss_spiked": _spiked,
    "resource_sampled": _sampled,
    "run_ended": _run_ended,
    "uncaught_exception": _uncaught,
    "fatal_signal": _signalled,
    "process_lost": _lost,
}
"""What a kind does to a record, beside what all events do."""
