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
from realm_telemetry.spool.control import BELIEVABLE

NOTES_NAME: Final = "notes"
DROPS_KIND: Final = "events_dropped"
_RUN_KINDS: Final = frozenset(
    ("run_started", "run_ended", "uncaught_exception", "checkpoint_saved")
)
_MAIN_THREAD: Final = "MainThread"
_EDGES: Final = ("_started", "_completed", "_failed", "_cancelled")


class RunNotes(msgspec.Struct, kw_only=True):
    """A run that a process takes part in.

    since_unix_nano: when it began here; step: its last one.
    scheduled: whether a batch scheduler started it.
    error: the exception that ended the program; None if none was seen.
    ended: whether the process said that its part is over, with a status; at_exit: because the
        program ended.
    directories: where it works (`cwd`) and where its checkpoints go (`checkpoints`).
    peak_rss_bytes: the most memory that the process had; memory_share: how much of its container's
        limit, or of its host's memory, was used when last looked at.
    """

    id: str | None = None
    since_unix_nano: int = 0
    step: int | float | None = None
    scheduled: bool = False
    error: str | None = None
    ended: bool = False
    at_exit: bool = False
    status: str | None = None
    directories: dict[str, str] = {}
    peak_rss_bytes: int | None = None
    memory_share: float | None = None


class Notes(msgspec.Struct, kw_only=True):
    """What the frames of a spool hold up to the event `through`, for the next shipper.

    open_lifecycles: names (`job`, `training` ...) that started and have not ended.
    run: the last run that the process took part in; None if it was none.
    emitted, dropped: what the producer's goodbye says.
    reported_drops: how many of its drops the producer has reported in events of its own.
    shipped: everything is in the log, the producer has ended, and the log has its end.
    cursor: no event of this spool has a higher cursor in the log.
    """

    through: int = 0
    hello: dict[str, Any] = {}
    resource: dict[str, Any] = {}
    goodbye: bool = False
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
    run: RunNotes | None = None
    shipped: bool = False
    cursor: int = 0

    @property
    def forked(self) -> bool:
        """Whether the producer is the forked child of another."""
        return bool(self.hello.get("forked"))

    def follow(self, events: Sequence[Event]) -> None:
        """Take in the next events, at least one."""
        last = events[-1]
        self.through = last.number
        self.last_kind, self.last_message = last.kind, last.message
        self.last_time_unix_nano = last.time_unix_nano
        self.hero_id, self.campaign_id, self.run_id = last.hero_id, last.campaign_id, last.run_id
        for event in events:
            step = event.details.get("step")
            if step is not None and isinstance(step, int | float):
                self.last_step = step
                if self.run is not None and not self.run.ended:
                    self.run.step = step
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
            self.run = RunNotes(id=event.run_id, since_unix_nano=event.time_unix_nano)
            self.run.scheduled = details.get("scheduler_job_id") is not None
            self._note_directory("cwd", details.get("cwd"))
        elif self.run is None:
            return
        elif event.kind == "checkpoint_saved":
            path = _text(details.get("path"))
            self._note_directory("checkpoints", path and str(Path(path).parent))
        elif event.kind == "run_ended":
            evidence = details.get("evidence")
            self.run.ended = True
            self.run.status = _text(details.get("status"))
            self.run.at_exit = isinstance(evidence, dict) and evidence.get("exit") == "normal"
        elif details.get("thread", _MAIN_THREAD) == _MAIN_THREAD:
            self.run.error = _text(details.get("error"))

    def _note_directory(self, name: str, directory: Any) -> None:
        if self.run is not None and isinstance(directory, str) and directory.startswith("/"):
            self.run.directories = {**self.run.directories, name: directory}

    def _follow_lifecycle(self, kind: str) -> None:
        name, _, act = kind.rpartition("_")
        if act == "started":
            self.open_lifecycles.append(name)
        elif name in self.open_lifecycles:
            self.open_lifecycles.remove(name)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notes).decode


def load_notes(directory: Path) -> Notes:
    """Read the notes of a spool; new ones if there are none."""
    try:
        return _decode((directory / NOTES_NAME).read_bytes())
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return Notes()


def save_notes(directory: Path, notes: Notes) -> None:
    """Write the notes of a spool; a reader sees the old or the new ones.

    Raises OSError if the disk is full.
    """
    staging = directory / f".{NOTES_NAME}-{os.getpid()}"
    staging.write_bytes(_encode(notes))
    staging.replace(directory / NOTES_NAME)
