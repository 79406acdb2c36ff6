"""The spools of a pipeline: found, read, and watched for the end of their producers."""

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from realm_telemetry.home import check_own_file
from realm_telemetry.log.ranges import Ranges
from realm_telemetry.shipper.notes import load_notes, save_notes
from realm_telemetry.shipper.process_end import ProcessEnd, ProcessWatch
from realm_telemetry.shipper.scheduler import SchedulerWord
from realm_telemetry.spool.control import BELIEVABLE, Control, ControlFile
from realm_telemetry.spool.frames import Frame
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.reader import SpoolReader, producer_of, spool_directories
from realm_telemetry.spool.segment import segment_paths
from realm_telemetry.values.clock import monotonic, monotonic_ns

STAGING_PREFIX: Final = ".new-"
PROBE_AFTER_GOODBYE_S: Final = 0.05
RESCAN_S: Final = 0.1
FULL_RESCAN_S: Final = 5.0
HOT_S: Final = 2.0
"""A spool without a frame for this long is looked at less often."""

COLD_POLL_S: Final = 0.02
COLD_POLLED_PER_S: Final = 10_000
COLD_RESCAN_S: Final = 5.0
COLD_RESCANNED_PER_S: Final = 50
"""A frame too large for the rest of its segment begins another one, which only a scan finds."""

PROBE_S: Final = 0.5
PROBES_PER_S: Final = 125
STAGING_LEFT_S: Final = 60.0


Damage = Callable[[Path, int, bytes], None]


class Spool:
    """One producer's spool as the shipper has it.

    producer: whose frames these are; another than the directory's name in a copied spool.
    reader: None once all of it is in the log and only exporters lag.
    logged: numbers that the log had when this shipper met the spool; `seen` those read since.
    stored: all events up to this number are in the log. The control page only repeats it.
    damaged: how many pieces did not check.
    refused: how many frames held no event.
    unexported: (cursor, number) pairs; all events up to the number have cursors up to it.
    drained: the producer is dead and the last frame has been read.
    seen_alive_ns: when the producer was last seen alive, on `clock.monotonic_ns`;
        alive_through: the last number that was in the log by then.
    tick_s: the reader's clock; it stands still between the scans of a cold spool.
    without_lock: whether its lock was free when last looked at, though it may still run;
    succeeded: whether another producer has begun in the same process.
    doubted_at_s: when it first looked as if the producer was lost.
    scheduler_word: what the scheduler says of its job, once it was asked.
    probed: whether it has been checked yet that the producer lives.
    """

    def __init__(self, directory: Path, on_damage: Damage) -> None:
        self.directory = directory
        self.notes = load_notes(directory)
        # Segments are deleted after this note is written; whole ones beside it were not in the log.
        self.notes.shipped = self.notes.shipped and not segment_paths(directory)
        self.logged, self.seen = Ranges(), Ranges((1, n) for n in [self.notes.through] if n)
        self.logged_to = self.stored = self.damaged = self.refused = 0
        self._on_damage = on_damage
        self.tick_s = monotonic()
        self.reader: SpoolReader | None = None
        if self.notes.shipped:
            self.control: Control = ControlFile(directory / "control")
        else:
            self.reader = SpoolReader(directory, on_damage=self._damage, clock=lambda: self.tick_s)
            self.control = self.reader.control
        self.producer = producer_of(directory, self.control)
        self.unexported: deque[tuple[int, int]] = deque()
        self.registered = False
        self.drained = False
        self.last_frame_s = monotonic()
        self.probe_at_s = 0.0
        self.probed = False
        self.seen_alive_ns = self.alive_through = 0
        self._watch: ProcessWatch | None = None
        self._process_end: ProcessEnd | None = None
        self.scheduler_word: SchedulerWord | None = None
        self.doubted_at_s: float | None = None
        self.without_lock = self.succeeded = self._rings = False
        self._dead = False
        self._first_index: int | None = None
        # Before the first read: the segments of a dead producer are read in the order of frames.
        if self.reader is not None and not is_alive(directory):
            self._end_of_producer()

    def _goes_on(self) -> bool:
        """Whether the producer has lost its lock alone.

        The kernel frees the lock of a process that ends before the rest of it, a program that
        becomes a daemon closes what it does not know, and one that starts another program in its
        place (`execv`) ends when that does, unless that one is a producer too.
        """
        watch, notes = self._watch, self.notes
        return not (watch is None or notes.goodbye or self.succeeded) and watch.goes_on()

    @property
    def copied(self) -> bool:
        """Whether this is a copy of another producer's spool, whose end it knows nothing of."""
        return self.producer != self.directory.name

    def _damage(self, path: Path, offset: int, data: bytes) -> None:
        self.damaged += 1
        self._on_damage(path, offset, data)

    def compare_with_log(self, logged: Ranges) -> None:
        """Correct what the control page says of the log by what the log says.

        logged: the numbers that are in the log, or were and are refused since.
        """
        self.logged = logged
        control, pairs = self.control, logged.pairs()
        if not control.is_whole:
            control.undelivered = 0
        self.logged_to = top = pairs[-1][1] if pairs else 0
        sure = pairs[0][1] if pairs and pairs[0][0] == 1 else 0
        stored = control.stored_number if control.is_whole else 0
        self.stored = max(stored if stored <= top else 0, sure)
        control.stored_number = self.stored
        control.exported_number = min(control.exported_number, self.stored)

    def is_logged(self, number: int) -> bool:
        """Whether the log had an event when this shipper met the spool."""
        return number <= self.logged_to and number in self.logged

    def receipt(self) -> tuple[int, int]:
        """How many events the producer has emitted and dropped, as far as can be believed."""
        notes, control = self.notes, self.control
        emitted, dropped = max(notes.through, notes.emitted), notes.dropped
        last = control.last_number
        if control.is_whole and last < BELIEVABLE:
            emitted = max(emitted, last)
        return emitted, max(dropped, control.believable_dropped)

    def lost(self) -> int:
        """How many events of the producer are neither in the log nor were read from the spool."""
        known = Ranges(self.logged.pairs() + self.seen.pairs())
        top = max([self.receipt()[0], *(last for _, last in known.pairs())])
        return top - len(known)

    @property
    def alive(self) -> bool:
        """Whether the producer was alive when last looked at."""
        return not self._dead and not self.notes.shipped

    @property
    def rings(self) -> bool:
        """Whether the producer wakes a shipper that sleeps; none of 0.1.0 does."""
        if not self._rings:  # it never stops
            self._rings = self.control.is_whole and self.control.rings == 1
        return self._rings

    def pending(self) -> bool:
        """Whether a frame may wait."""
        return self.reader is not None and not self.drained and self.reader.pending()

    def has_news(self) -> bool:
        """Whether a frame may wait, and not where the last read found none."""
        return self.pending() and self.reader is not None and self.reader.has_news()

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
        if self._watch is None and self.notes.hello:
            self._watch = ProcessWatch(self.notes.hello)
        silent_s = now_s - self.last_frame_s
        if self._dead or now_s < self.probe_at_s or silent_s < PROBE_AFTER_GOODBYE_S:
            return
        self.probe_at_s = now_s + (PROBE_AFTER_GOODBYE_S if self.notes.goodbye else interval_s)
        self.probed = True
        if self.reader is None:
            return
        self.without_lock = not is_alive(self.directory)
        if not self.without_lock or self._goes_on():
            self.seen_alive_ns = monotonic_ns()
            self.alive_through = self.notes.through
        else:
            self.tick_s = now_s
            self._end_of_producer()

    def pid(self) -> int | None:
        """The pid of the producer's process, while it runs where this process can see it."""
        return None if self._watch is None else self._watch.pid()

    def is_stopped(self) -> bool:
        """Whether the producer's process stands still by a signal or under a debugger."""
        return self._watch is not None and self._watch.is_stopped()

    def _end_of_producer(self) -> None:
        self._dead = self.probed = True
        if self.reader is not None:
            self.reader.finish()

    def awaits_descriptor(self) -> bool:
        """Whether the end of a dead producer is unknown, until somebody passes on how to ask."""
        self._watch = self._watch or ProcessWatch(self.notes.hello)
        return self._process_end is None and self._watch.awaits_descriptor()

    def process_end(self) -> ProcessEnd:
        """How the process of a dead producer ended, as far as can be found out."""
        if self._process_end is None:
            self._watch = self._watch or ProcessWatch(self.notes.hello)
            if self._watch.goes_on():
                return ProcessEnd(goes_on=True)
            self._process_end = self._watch.end()
        return self._process_end

    def acknowledge(self, position: tuple[int, int]) -> None:
        """Free what the log has; notes of the freed frames are kept first."""
        if self.reader is None:
            return
        if self._first_index is not None and self._first_index < position[0]:
            # Where the disk is full, freeing the segment helps more than the notes.
            with suppress(OSError):
                save_notes(self.directory, self.notes)
            self._first_index = position[0]
        self.reader.acknowledge(position)

    def finish(self, cursor: int) -> None:
        """All is in the log, the end too: free the segments, keep what exporters still need."""
        self.notes.shipped = True
        self.notes.cursor = cursor
        if self._watch is not None:
            self._watch.close()
        save_notes(self.directory, self.notes)
        if self.reader is not None:
            self.reader.close()
            self.reader = None
            self.control = ControlFile(self.directory / "control")
        for path in segment_paths(self.directory):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmap everything; files stay."""
        if self._watch is not None:
            self._watch.close()
        if self.reader is not None:
            self.reader.close()
        else:
            self.control.close()

    def remove(self) -> None:
        """Delete the directory: the log and every exporter have everything."""
        self.close()
        # Renamed first: a process that looks into it by name must not bring half of it back.
        gone = self.directory.with_name(f"{STAGING_PREFIX}{self.directory.name}")
        with suppress(OSError):
            self.directory.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


class Spools:
    """All spools of a pipeline, by producer.

    on_damage: called with bytes that do not check.
    on_trouble: called with (directory, error) of a spool that cannot be opened; it is tried again.
    unopened: the producers of those.
    """

    def __init__(
        self, pipeline_dir: Path, on_damage: Damage, on_trouble: Callable[[Path, OSError], None]
    ) -> None:
        self._pipeline_dir = pipeline_dir
        self._on_damage = on_damage
        self._on_trouble = on_trouble
        self.unopened: set[str] = set()
        self._by_producer: dict[str, Spool] = {}
        self._seen_mtime_ns = 0
        self._rescan_at_s = 0.0
        self._full_rescan_at_s = 0.0
        self._cold_at_s = 0.0
        self._turn = 0
        self._hot: list[Spool] = []

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
        if now_s >= self._cold_at_s:
            looked_at = self._sweep(now_s)
        else:
            looked_at = self._hot
            for spool in looked_at:
                spool.tick_s = now_s
        found = [spool for spool in looked_at if spool.pending()]
        self._turn += 1
        start = self._turn % len(found) if found else 0
        return found[start:] + found[:start]

    def _sweep(self, now_s: float) -> list[Spool]:
        """All spools; sorts out the hot ones on the way."""
        everyone = list(self._by_producer.values())
        self._cold_at_s = now_s + max(COLD_POLL_S, len(everyone) / COLD_POLLED_PER_S)
        rescan_s = max(COLD_RESCAN_S, len(everyone) / COLD_RESCANNED_PER_S)
        self._hot = [spool for spool in everyone if now_s - spool.last_frame_s < HOT_S]
        for spool in everyone:
            if now_s - spool.tick_s >= rescan_s:
                spool.tick_s = now_s
        return everyone

    def are_quiet(self) -> bool:
        """Whether no spool is new, and none has anything that the last read has not tried."""
        try:
            if self._pipeline_dir.stat().st_mtime_ns != self._seen_mtime_ns:
                return False
        except OSError:  # gone, which the next turn sees
            return False
        return not any(spool.has_news() for spool in self)

    def probe(self, now_s: float) -> None:
        """Look after the producers, so many a second at the most."""
        interval_s = max(PROBE_S, len(self._by_producer) / PROBES_PER_S)
        for spool in self._by_producer.values():
            spool.probe(now_s, interval_s)

    def remove(self, spool: Spool) -> None:
        """Delete a spool that is done with."""
        self._by_producer.pop(spool.directory.name, None)
        self._hot = [other for other in self._hot if other is not spool]
        spool.remove()

    def close(self) -> None:
        """Unmap all."""
        for spool in self._by_producer.values():
            spool.close()
        self._by_producer.clear()
        self._hot.clear()

    def _scan(self) -> list[Spool]:
        found = []
        self.unopened.clear()
        for directory in spool_directories(self._pipeline_dir):
            if directory.name in self._by_producer:
                continue
            try:
                check_own_file(directory, directory.lstat())
                spool = Spool(directory, self._on_damage)
            except OSError as error:
                self.unopened.add(directory.name)
                self._on_trouble(directory, error)
                continue
            self._by_producer[directory.name] = spool
            self._hot.append(spool)
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
