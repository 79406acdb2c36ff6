"""What a shipper knows of a producer, kept beside its spool for the next shipper.

Once a segment is freed its frames are gone; who the producer was, what it did last and whether
it said goodbye must not go with them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event

NOTES_NAME: Final = "notes"
_EDGES: Final = ("_started", "_completed", "_failed", "_cancelled")


class Notes(msgspec.Struct, kw_only=True):
    """What the frames of a spool said up to the event `through`.

    open_lifecycles: names (`job`, `training` ...) that started and have not ended.
    shipped: everything is in the log, the producer has ended, and its end is told.
    cursor: no event of this spool has a higher cursor in the log.
    """

    through: int = 0
    hello: dict[str, Any] = {}
    resource: dict[str, Any] = {}
    goodbye: bool = False
    last_kind: str | None = None
    last_message: str | None = None
    last_step: int | float | None = None
    last_time_unix_nano: int = 0
    hero_id: str | None = None
    campaign_id: str | None = None
    run_id: str | None = None
    open_lifecycles: list[str] = []
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
        for event in reversed(events):
            step = event.details.get("step")
            if step is not None and isinstance(step, int | float):
                self.last_step = step
                break
        for event in events:
            if event.kind.endswith(_EDGES):
                self._follow_lifecycle(event.kind)

    def _follow_lifecycle(self, kind: str) -> None:
        name, _, act = kind.rpartition("_")
        if act == "started":
            self.open_lifecycles.append(name)
        elif name in self.open_lifecycles:
            self.open_lifecycles.remove(name)


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
