"""The spools of a pipeline: found, looked at cheaply, watched for the end of their producers."""

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from realm_telemetry.shipper.notes import load_notes, save_notes
from realm_telemetry.spool.control import Control
from realm_telemetry.spool.frames import Frame
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.reader import SpoolReader, spool_directories

RESCAN_S: Final = 0.1
FULL_RESCAN_S: Final = 5.0
HOT_S: Final = 2.0
"""A spool without a frame for this long is looked at less often."""

COLD_POLL_S: Final = 0.02
PROBE_S: Final = 0.5
PROBE_AFTER_GOODBYE_S: Final = 0.05
PROBES_PER_S: Final = 250
STAGING_PREFIX: Final = ".new-"
STAGING_LEFT_S: Final = 60.0

Damage = Callable[[Path, int, bytes], None]


class Spool:
    """One producer's spool as the shipper has it.

    reader: None once all of it is in the log and only exporters lag.
    unexported: (cursor, number) pairs; all events up to the number have cursors up to it.
    drained: the producer is dead and the last frame has been read.
    probed: whether anybody has looked yet if the producer lives.
    """

    def __init__(self, directory: Path, on_damage: Damage) -> None:
        self.directory = directory
        self.producer = directory.name
        self.notes = load_notes(directory)
        self.reader: SpoolReader | None = None
        if self.notes.shipped:
            self.control = Control(directory / "control")
        else:
            self.reader = SpoolReader(directory, on_damage=on_damage)
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


class Spools:
    """All spools of a pipeline, by producer.

    on_damage: told of bytes that do not check.
    on_trouble: told (directory, error) of a spool that cannot be opened; it is tried again.
    """

    def __init__(
        self, pipeline_dir: Path, on_damage: Damage, on_trouble: Callable[[Path, OSError], None]
    ) -> None:
        self._pipeline_dir = pipeline_dir
        self._on_damage = on_damage
        self._on_trouble = on_trouble
        self._by_producer: dict[str, Spool] = {}
        self._seen_mtime_ns = 0
        self._rescan_at_s = 0.0
        self._full_rescan_at_s = 0.0
        self._cold_at_s = 0.0
        self._turn = 0

    def __iter__(self) -> Iterator[Spool]:
        return iter(list(self._by_producer.values()))

    def __len__(self) -> int:
        return len(self._by_producer)

    def get(self, producer: str) -> Spool | None:
        """The spool of a producer, if it is open here."""
        return self._by_producer.get(producer)

    def refresh(self, now_s: float, *, force: bool = False) -> list[Spool]:
        """Look for new spools, at most ten times a second; those that were found."""
        if now_s < self._rescan_at_s and not force:
            return []
        self._rescan_at_s = now_s + RESCAN_S
        mtime_ns = self._pipeline_dir.stat().st_mtime_ns
        # A directory's time is coarse: what is made just after a scan may not change it.
        recent = abs(time.time_ns() - mtime_ns) < 1_000_000_000
        unchanged = mtime_ns == self._seen_mtime_ns and not recent
        if unchanged and not force and now_s < self._full_rescan_at_s:
            return []
        self._seen_mtime_ns = mtime_ns
        self._full_rescan_at_s = now_s + FULL_RESCAN_S
        return self._scan()

    def ready(self, now_s: float) -> list[Spool]:
        """Spools that may hold a frame, a different one first each time."""
        everyone = now_s >= self._cold_at_s
        if everyone:
            self._cold_at_s = now_s + COLD_POLL_S
        found = [
            spool
            for spool in self._by_producer.values()
            if (everyone or now_s - spool.last_frame_s < HOT_S) and spool.pending()
        ]
        self._turn += 1
        start = self._turn % len(found) if found else 0
        return found[start:] + found[:start]

    def probe(self, now_s: float) -> None:
        """Look after the producers, so many a second at the most."""
        interval_s = max(PROBE_S, len(self._by_producer) / PROBES_PER_S)
        for spool in self._by_producer.values():
            spool.probe(now_s, interval_s)

    def remove(self, spool: Spool) -> None:
        """Delete a spool that is done with."""
        self._by_producer.pop(spool.producer, None)
        spool.remove()

    def close(self) -> None:
        """Unmap all."""
        for spool in self._by_producer.values():
            spool.close()
        self._by_producer.clear()

    def _scan(self) -> list[Spool]:
        found = []
        for directory in spool_directories(self._pipeline_dir):
            if directory.name in self._by_producer:
                continue
            try:
                spool = Spool(directory, self._on_damage)
            except OSError as error:
                self._on_trouble(directory, error)
                continue
            self._by_producer[spool.producer] = spool
            found.append(spool)
        return found


def remove_staging(pipeline_dir: Path) -> None:
    """Delete spools that were never published, or not deleted in full: their makers died."""
    for entry in list(os.scandir(pipeline_dir)):
        if not entry.name.startswith(STAGING_PREFIX):
            continue
        directory = Path(entry.path)
        try:
            age_s = time.time() - directory.stat().st_mtime
        except OSError:
            continue
        if age_s > STAGING_LEFT_S and not is_alive(directory):
            shutil.rmtree(directory, ignore_errors=True)
