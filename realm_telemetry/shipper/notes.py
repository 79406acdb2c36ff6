"""Notes of a spool, for the next shipper.

Once a segment is freed its frames are gone, and who the producer was, what it did last and whether
it ended properly must not go with them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.home import read_regular_file
from realm_telemetry.shipper.process_end import ProcessorTime
from realm_telemetry.shipper.scheduler import SLURM, job_of
from realm_telemetry.spool.control import BELIEVABLE

NOTES_NAME: Final = "notes"
DROPS_KIND: Final = "events_dropped"
_RUN_KINDS: Final = frozenset(
    ("run_started", "run_ended", "uncaught_exception", "checkpoint_saved")
)
_TRAINS: Final = frozenset(("training_started", "run_config"))
MAX_RUNS: Final = 64
"""Runs of one process that are followed at once: those that began last."""
_MAIN_THREAD: Final = "MainThread"
_EDGES: Final = ("_started", "_completed", "_finished", "_failed", "_cancelled")


class RunNotes(msgspec.Struct, kw_only=True):
    """A run that a process takes part in.

    since_unix_nano: when it began here; step: its last one; step_unix_nano: when that was.
    scheduled: whether a scheduler started it: which one. job_id, job_restarts, job_ends_unix_s: its
        job, how often Slurm requeued it before, its time limit.
    world_size: how many processes the run has, as it said; 0 if it did not.
    supervises: whether it is a `realm run`.
    error: the exception that ended the program; None if none was seen. exits: whether its main
        thread has ended with that, so that it is about to end.
    trains: whether it said that it trains, by `training_started` or `run_config`.
    ended: whether the process said that its part is over, with a status; at_exit: because the
        program ended.
    directories: where it works (`cwd`) and where its checkpoints go (`checkpoints`).
    peak_rss_bytes: the most memory that the process had; memory_share: how much of its container's
        limit, or of its host's memory, was used when last looked at.
    processor: its processor time when last looked at, if that has a limit.
    container_kills: the file that counts kills for want of memory in the control group that it is
        in, and the count when it was first seen there.
    """

    id: str = ""
    since_unix_nano: int = 0
    step: int | float | None = None
    step_unix_nano: int = 0
    scheduled: bool = False
    scheduler: str = SLURM
    job_id: str | None = None
    job_restarts: int = 0
    job_ends_unix_s: int | None = None
    world_size: int = 0
    supervises: bool = False
    trains: bool = False
    error: str | None = None
    exits: bool = False
    ended: bool = False
    at_exit: bool = False
    status: str | None = None
    directories: dict[str, str] = {}
    peak_rss_bytes: int | None = None
    memory_share: float | None = None
    processor: ProcessorTime | None = None
    container_kills: tuple[str, int] | None = None


class Notes(msgspec.Struct, kw_only=True):
    """What the frames of a spool hold up to the event `through`, for the next shipper.

    open_lifecycles: names (`job`, `training` ...) that started and have not ended.
    runs: the runs that the process takes part in, by id, and the last one that it did.
    goes_on: whether another spool of its process goes on with its runs, as the goodbye says.
    emitted, dropped: what the producer's goodbye says.
    reported_drops: how many of its drops the producer has reported in events of its own.
    shipped: everything is in the log, the producer has ended, and the log has its end.
    cursor: no event of this spool has a higher cursor in the log.
    """

    through: int = 0
    hello: dict[str, Any] = {}
    resource: dict[str, Any] = {}
    goodbye: bool = False
    goes_on: bool = False
    emitted: int = 0
    dropped: int = 0
    reported_drops: int = 0
    last_kind: str | None = None
    last_message: str | None = None
    last_step: int | float | None = None
    last_time_unix_nano: int = 0
    hero_id: str | None = None
    campaign_id: str | None = None
    run_id: str | None = None
    open_lifecycles: list[str] = []
    runs: dict[str, RunNotes] = {}
    shipped: bool = False
    cursor: int = 0

    @property
    def forked(self) -> bool:
        """Whether the producer is the forked child of another."""
        return bool(self.hello.get("forked"))

    @property
    def run(self) -> RunNotes | None:
        """The run that began last; None if the process was in none."""
        return next(reversed(self.runs.values()), None)

    def open_runs(self) -> list[RunNotes]:
        """The runs that have not ended for this process."""
        return [run for run in self.runs.values() if not (run.ended or self.goes_on)]

    def follow(self, events: Sequence[Event]) -> None:
        """Take in the next events, at least one."""
        last = events[-1]
        self.through = last.number
        self.last_kind, self.last_message = last.kind, last.message
        self.last_time_unix_nano = last.time_unix_nano
        self.hero_id, self.campaign_id, self.run_id = last.hero_id, last.campaign_id, last.run_id
        for event in events:
            step = event.details.get("step")
            if type(step) in (int, float):
                self.last_step = step
                if (run := self.runs.get(event.run_id or "")) is not None and not run.ended:
                    run.step, run.step_unix_nano = step, event.time_unix_nano
                    run.exits = False
            if event.kind in _TRAINS and (run := self.runs.get(event.run_id or "")) is not None:
                run.trains = True
            if event.kind in _RUN_KINDS:
                self._follow_run(event)
            elif event.kind.endswith(_EDGES):
                self._follow_lifecycle(event.kind)
            elif event.kind == DROPS_KIND:
                total = event.details.get("total")
                if type(total) is int and total < BELIEVABLE:
                    self.reported_drops = max(self.reported_drops, total)

    def _follow_run(self, event: Event) -> None:
        details = event.details
        if event.kind == "run_started":
            self._begin_run(event)
        run = self.runs.get(event.run_id or "")
        if run is None:
            return
        if event.kind == "checkpoint_saved":
            path = _text(details.get("path"))
            _note_directory(run, "checkpoints", path and str(Path(path).parent))
        elif event.kind == "run_ended":
            evidence = details.get("evidence")
            run.ended = True
            run.status = _text(details.get("status"))
            run.at_exit = isinstance(evidence, dict) and evidence.get("exit") == "normal"
        elif event.kind == "uncaught_exception" and _ends_the_program(details):
            run.error = _text(details.get("error"))
            run.exits = details.get("ends_process") is True

    def go_on_with(self, runs: Any) -> None:
        """Take in the runs that a hello says the process is in already."""
        for each in runs if isinstance(runs, list) else []:
            try:
                run = msgspec.convert(each, RunNotes)
            except msgspec.ValidationError:
                continue
            if run.id:
                self._add_run(run)

    def _begin_run(self, event: Event) -> None:
        if not event.run_id:
            return
        run = RunNotes(id=event.run_id, since_unix_nano=event.time_unix_nano)
        job = job_of(event.details)
        if job is not None:
            run.scheduled = True
            run.job_id, run.job_restarts, run.job_ends_unix_s, _, run.scheduler = job
        world_size = event.details.get("world_size")
        run.world_size = world_size if type(world_size) is int else 0
        run.supervises = event.details.get("launcher") == "realm run"
        _note_directory(run, "cwd", event.details.get("cwd"))
        self._add_run(run)

    def _add_run(self, run: RunNotes) -> None:
        others = [other for other in self.open_runs() if other.id != run.id]
        self.runs = {each.id: each for each in [*others[1 - MAX_RUNS :], run]}

    def _follow_lifecycle(self, kind: str) -> None:
        name, _, act = kind.rpartition("_")
        if act == "started":
            self.open_lifecycles.append(name)
        elif name in self.open_lifecycles:
            self.open_lifecycles.remove(name)


def _note_directory(run: RunNotes, name: str, directory: Any) -> None:
    if isinstance(directory, str) and directory.startswith("/") and "\0" not in directory:
        run.directories = {**run.directories, name: directory}


def _ends_the_program(exception: dict[str, Any]) -> bool:
    thread = exception.get("thread", _MAIN_THREAD)
    return thread == _MAIN_THREAD and "unraisable" not in exception


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notes).decode


def load_notes(directory: Path) -> Notes:
    """Read the notes of a spool; new ones if there are none."""
    try:
        return _decode(read_regular_file(directory / NOTES_NAME))
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return Notes()


def save_notes(directory: Path, notes: Notes) -> None:
    """Write the notes of a spool; a reader sees the old or the new ones.

    Raises OSError if the disk is full.
    """
    staging = directory / f".{NOTES_NAME}-{os.getpid()}"
    staging.write_bytes(_encode(notes))
    staging.replace(directory / NOTES_NAME)
