"""One producer's spool as the shipper has it."""

import os
import shutil
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from realm_telemetry.shipper.notes import load_notes, save_notes
from realm_telemetry.spool.control import Control
from realm_telemetry.spool.frames import Frame
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.reader import SpoolReader

STAGING_PREFIX: Final = ".new-"
PROBE_AFTER_GOODBYE_S: Final = 0.05

Damage = Callable[[Path, int, bytes], None]


class Spool:
    """One producer's spool as the shipper has it.

    reader: None once all of it is in the log and only exporters lag.
    unexported: (cursor, number) pairs; all events up to the number have cursors up to it.
    drained: the producer is dead and the last frame has been read.
    tick_s: the reader's clock; it stands still between the scans of a cold spool.
    probed: whether anybody has looked yet if the producer lives.
    """

    def __init__(self, directory: Path, on_damage: Damage) -> None:
        self.directory = directory
        self.producer = directory.name
        self.notes = load_notes(directory)
        self.tick_s = time.monotonic()
        self.reader: SpoolReader | None = None
        if self.notes.shipped:
            self.control = Control(directory / "control")
        else:
            self.reader = SpoolReader(directory, on_damage=on_damage, clock=lambda: self.tick_s)
            self.control = self.reader.control
        self.unexported: deque[tuple[int, int]] = deque()
        self.registered = False
        self.drained = False
        self.last_frame_s = time.monotonic()
        self.probe_at_s = 0.0
        self.probed = False
        self._dead = False
        self._first_index: int | None = None

    @property
    def alive(self) -> bool:
        """Whether the producer was alive when last looked at."""
        return not self._dead and not self.notes.shipped

    def pending(self) -> bool:
        """Whether a frame may wait."""
        return self.reader is not None and not self.drained and self.reader.pending()

    def read(self, max_frames: int, now_s: float) -> list[Frame]:
        """The next frames; sees the end of a dead producer's spool."""
        if self.reader is None:
            return []
        frames = self.reader.read(max_frames)
        if frames:
            self.last_frame_s = now_s
            if self._first_index is None:
                self._first_index = frames[0].position[0]
        elif self.reader.exhausted:
            self.drained = True
        return frames

    def probe(self, now_s: float, interval_s: float) -> None:
        """Look whether the producer still lives, once it has been silent for a while."""
        silent_s = now_s - self.last_frame_s
        if self._dead or now_s < self.probe_at_s or silent_s < PROBE_AFTER_GOODBYE_S:
            return
        self.probe_at_s = now_s + (PROBE_AFTER_GOODBYE_S if self.notes.goodbye else interval_s)
        self.probed = True
        if self.reader is not None and not is_alive(self.directory):
            self._dead = True
            self.tick_s = now_s
            self.reader.finish()

    def acknowledge(self, position: tuple[int, int]) -> None:
        """Free what the log has; what the freed frames said is noted first."""
        if self.reader is None:
            return
        if self._first_index is not None and self._first_index < position[0]:
            # Where the disk is full, freeing the segment helps more than the notes.
            with suppress(OSError):
                save_notes(self.directory, self.notes)
            self._first_index = position[0]
        self.reader.acknowledge(position)

    def finish(self, cursor: int) -> None:
        """All is in the log and told: free the segments, keep what exporters still need."""
        self.notes.shipped = True
        self.notes.cursor = cursor
        save_notes(self.directory, self.notes)
        if self.reader is not None:
            self.reader.close()
            self.reader = None
            self.control = Control(self.directory / "control")
        for entry in list(os.scandir(self.directory)):
            if entry.name.startswith("seg-"):
                Path(entry.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmap everything; files stay."""
        if self.reader is not None:
            self.reader.close()
        else:
            self.control.close()

    def remove(self) -> None:
        """Delete the directory: the log and every exporter have everything."""
        self.close()
        # Renamed first: somebody who looks into it by name must not bring half of it back.
        gone = self.directory.with_name(f"{STAGING_PREFIX}{self.producer}")
        with suppress(OSError):
            self.directory.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
