"""The producer's side of a spool: append without a lock, a system call or a wait.

Several threads, signal handlers and finalizers append to one segment. A frame is encoded
first, for the position and number that come next. Then one source line looks whether they
still come next, and if so writes and claims them. CPython runs other Python code (another
thread, a signal handler, a tracer, a finalizer of the garbage collector) only between lines, at
calls and at backward jumps, and on 3.11 also where it allocates containers; the line has none
of these, so that nothing runs inside it. A thread that finds the position taken encodes again.

    positions:   | header | frame 1 | frame 2 | ... | cursor.pos -> zeros ...          end |
    full:        the cursor's pos becomes CLOSED and the next segment's cursor takes over
"""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, ParamSpec, Protocol, TypeVar
from zlib import crc32

from realm_telemetry.errors import warn_once
from realm_telemetry.home import make_private_directory
from realm_telemetry.spool.control import Control
from realm_telemetry.spool.doorbell import open_status_page, restore_page, ring, sleeps_on
from realm_telemetry.spool.frames import (
    CRC_SEED_PRIME,
    FORMAT_CONTROL,
    FORMAT_EVENT,
    HEADER_BYTES,
    encode_frame,
    encode_msgpack,
    pack_header,
)
from realm_telemetry.spool.liveness import LivenessLock
from realm_telemetry.spool.segment import (
    CLOSED,
    FIRST_SEGMENT_BYTES,
    SEGMENT_BYTES,
    SEGMENT_HEADER_BYTES,
    Cursor,
    create_fitting_segment,
    memory_segment,
    producer_word,
    restore_size,
    restore_sizes,
    spool_bytes,
)
from realm_telemetry.values.clock import monotonic

MAX_SPOOL_BYTES: Final = 256 * 1024 * 1024
SMALLEST_SEGMENT_BYTES: Final = 16 * 1024
MAX_UNLINKED: Final = 4
RESTRICTED_SHARE: Final = 0.9
RECHECK_S: Final = 0.1
DROPPED: Final = 0

P = ParamSpec("P")
R = TypeVar("R")


class Appender(Protocol):
    """What `emit` needs: something that numbers payloads and keeps them.

    progress: see `Control.progress_words`.
    """

    producer: str
    progress: list[int] | memoryview

    def append(self, payload: bytes, urgent: bool = False) -> int:
        """Keep an event's payload; its number, or DROPPED (0) if it was refused."""
        ...


class SpoolWriter:
    """One producer's spool, published whole below its pipeline's directory.

    max_bytes: what all spools of the host may take; above 90 % only urgent events are kept.
    unlinked: segments that went on in memory, because the spool's directory was deleted.
    sleeps: how often the shipper fell asleep, as the one item; rung: what it was at the last ring.
    sync: whether each event is on the disk before `append` returns (`durability="power"`).
    Raises OSError if the spool cannot be made.
    """

    def __init__(
        self,
        pipeline_dir: Path,
        producer: str,
        *,
        max_bytes: int = MAX_SPOOL_BYTES,
        sync: bool = False,
    ) -> None:
        self.producer = producer
        self.directory = pipeline_dir / producer
        self.max_bytes = max_bytes
        self.spare: Cursor | None = None
        self.restricted = False
        self.unlinked: list[Cursor] = []
        self.sleeps: Sequence[int] | memoryview = (0,)
        self.rung = 0
        self._rings = self._cuts = 0
        self._recheck_at = 0.0
        self._drops = count(1)
        self._dropped = 0
        staging = pipeline_dir / f".new-{producer}"
        make_private_directory(staging)
        lock = None
        try:
            self._lock = lock = LivenessLock(staging, producer)
            self.control = Control(staging / "control")
            self.control.begin(producer_word(producer))
            self.progress: list[int] | memoryview = self.control.progress_words()
            size = self.segment_bytes(FIRST_SEGMENT_BYTES)
            first = create_fitting_segment(staging, size, SMALLEST_SEGMENT_BYTES)
            # Published by a rename: a scan of the pipeline sees it whole and locked.
            staging.rename(self.directory)
        except BaseException:
            from shutil import rmtree  # 2 ms of import that only trouble needs

            if lock is not None:
                lock.release()
            rmtree(staging, ignore_errors=True)
            raise
        first.path = self.directory / first.path.name if first.path else None
        self._producer_word = producer_word(producer)
        first.activate(1, 1, self._producer_word)
        self.cursor = first
        if sync:
            self.append = self._append_synced  # type: ignore[method-assign]
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            self.append_one_at_a_time()

    def ring_for_shipper(self) -> None:
        """Wake the pipeline's shipper when it sleeps, from the next frame on."""
        try:
            self.sleeps = sleeps_on(open_status_page(self.directory.parent))
        except OSError:  # the shipper stays awake for a producer that cannot ring
            return
        self.rung = -1  # it may sleep already
        self._rings = self.control.rings = 1

    def segment_bytes(self, wanted: int) -> int:
        """A segment's size: as wanted, or an eighth of a cap that is small."""
        return min(wanted, max(self.max_bytes // 8, 4096) // 4096 * 4096)

    def append(self, payload: bytes, urgent: bool = False) -> int:
        """Keep an event's payload; its number, or DROPPED if the spool is full.

        urgent: warning and error events, which may use the last tenth.
        Raises SpoolClosedError once another spool has taken over.
        """
        length = len(payload)
        size = length + HEADER_BYTES
        while True:
            c = self.cursor
            p = c.pos
            q = c.seq + 1
            e = p + size
            if e > c.end and (e > c.hard_end or not urgent):
                if self._make_room(c, size, urgent):
                    continue
                return self._refuse(c)
            crc = crc32(payload, (q << 2 | FORMAT_EVENT) % CRC_SEED_PRIME)
            frame = pack_header(length, crc, FORMAT_EVENT, q) + payload
            s = slice(p, e)
            # One line, no call: see the head of this file.
            if c.pos == p: c.mm[s] = frame; c.pos = e; c.seq = q; break  # fmt: skip # noqa: E701, E702
        if self.sleeps[0] != self.rung:
            self._ring()
        return q

    def append_control(self, message: dict[str, Any]) -> bool:
        """Keep a control frame, which takes no number; False if there was no room.

        False as well once another spool has taken over.
        """
        payload = encode_msgpack(message)
        size = len(payload) + HEADER_BYTES
        while True:
            c = self.cursor
            p = c.pos
            e = p + size
            if e > c.hard_end:
                if self._make_room(c, size, urgent=True):
                    continue
                return False
            frame = encode_frame(FORMAT_CONTROL, c.seq, payload)
            s = slice(p, e)
            if c.pos == p: c.mm[s] = frame; c.pos = e; break  # fmt: skip # noqa: E701, E702
        if self.sleeps[0] != self.rung:
            self._ring()
        return True

    @property
    def last_number(self) -> int:
        """The number of the last event kept."""
        return self.cursor.seq

    def count_early_drops(self, dropped: int) -> None:
        """Begin the count with what was refused before this spool was there."""
        self._drops = count(dropped + 1)
        self.control.dropped = self._dropped = dropped

    def prepare_spare(self) -> None:
        """Make the next segment ahead of need, once this one is half full (the keeper calls)."""
        c = self.cursor
        if self.spare is None and c.pos * 2 > c.hard_end:
            size = self.segment_bytes(SEGMENT_BYTES)
            if self._free_bytes()[0] >= size:
                with suppress(OSError):  # the disk is nearly full: `append` looks for less room
                    self.spare = create_fitting_segment(self.directory, size, size)

    def restore(self) -> None:
        """Make files that another program has cut whole again (the keeper calls).

        The next frame goes to a new segment, so that the shipper looks behind what is gone.
        """
        restore_page(self.directory.parent)
        if restore_sizes(self.directory):
            self.control.cuts += 1
        control = self.control
        if control.producer is None:  # the page is empty: it was cut as well
            control.begin(self._producer_word)
            control.rings = self._rings
            control.dropped = self._dropped
            control.cuts = max(int(control.cuts), self._cuts + 1)
        if control.cuts == self._cuts:
            return
        self._cuts = int(control.cuts)
        full = self.cursor
        fresh = self._next_segment(SEGMENT_HEADER_BYTES, urgent=True) if full.path else None
        if fresh is not None:
            self._swap(full, fresh)
        warn_once(
            f"cut {self.directory}",
            f"another program has cut files of the spool {self.directory}. They are restored;"
            " events in them that were not in the log yet are lost.",
        )

    def reconsider(self) -> None:
        """Lift the restriction to urgent events once the shipper has made room."""
        if self.restricted and self._free_bytes()[0] >= 0:
            self.restricted = False
            self.cursor.end = self.cursor.hard_end

    def has_room(self, size: int) -> bool:
        """Whether an event of so many bytes would be kept; makes the room if it can."""
        c = self.cursor
        return c.pos + size <= c.end or self._make_room(c, size, urgent=False)

    def count_drops(self, dropped: int) -> None:
        """Count events that were refused elsewhere."""
        for _ in range(dropped):
            self._drop()

    def still_mapped(self, after: Sequence[Cursor]) -> Cursor | None:
        """The next of the segments whose frames can still be read, though files may be deleted.

        after: those that have been read.
        """
        return next((c for c in (*self.unlinked, self.cursor) if c not in after), None)

    def renew_lock(self) -> None:
        """Take the liveness lock again, if the program has closed its file (the keeper calls)."""
        self._lock.renew(self.directory)

    def follow(self) -> bool:
        """Go to where the spool's directory is now; False if it was neither renamed nor moved."""
        found = self._lock.directory()
        if found is None or self.directory.exists():
            return False
        self.directory = found
        return True

    def append_one_at_a_time(self) -> None:
        """Take an owner-checked lock round each append (builds without the global lock)."""
        one_at_a_time = OwnerCheckedLock()
        self.append = one_at_a_time.wrap(self.append)  # type: ignore[method-assign]
        self.append_control = one_at_a_time.wrap(self.append_control)  # type: ignore[method-assign]

    def close(self) -> None:
        """Release the liveness lock; the files belong to the shipper now. Never raises."""
        spare, self.spare = self.spare, None
        if spare is not None and spare.path is not None:
            with suppress(OSError):
                spare.path.unlink()
        self.control.last_number = self.cursor.seq
        self._lock.release()
        if self.control.rings:
            ring(self.directory.parent)

    def _append_synced(self, payload: bytes, urgent: bool = False) -> int:
        before = self.cursor
        number = SpoolWriter.append(self, payload, urgent)
        with suppress(OSError):  # it is in the spool, and only a power failure could take it
            if self.cursor is not before:
                before.mm.flush()
            self.cursor.mm.flush()
        return number

    def _ring(self) -> None:
        self.rung = self.sleeps[0]
        ring(self.directory.parent)

    def _refuse(self, c: Cursor) -> int:
        """Count an event for which there is no room; it is not lost if another spool took over."""
        if c.pos == CLOSED and self.cursor is c:
            raise SpoolClosedError
        return self._drop()

    def _drop(self) -> int:
        # Counted in one step: a sum read by two threads would lose what one of them added.
        self.control.dropped = self._dropped = next(self._drops)
        return DROPPED

    def _make_room(self, full: Cursor, size: int, urgent: bool) -> bool:
        """Let the next segment take over from a full one; False if there may be none."""
        closed = full.pos == CLOSED  # before the look at the cursor, which changes with it
        if self.cursor is not full:
            return True
        if closed:  # another spool has taken over
            return False
        if full.pos + size <= full.hard_end:  # there is room, but for urgent events only
            self.reconsider_now_and_then()
            return not self.restricted
        fresh = self._next_segment(size, urgent)
        if fresh is None:
            return False
        self._swap(full, fresh)
        return True

    def reconsider_now_and_then(self) -> None:
        """`reconsider`, at most ten times a second: it looks at the whole spool root."""
        now = monotonic()
        if now >= self._recheck_at:
            self._recheck_at = now + RECHECK_S
            self.reconsider()

    def _next_segment(self, size: int, urgent: bool) -> Cursor | None:
        spare, self.spare = self.spare, None
        if spare is not None:
            if spare.path is not None:
                restore_size(spare.path, spare.hard_end)
            return spare
        now = monotonic()
        if self.restricted and not urgent and now < self._recheck_at:
            return None
        wanted = max(self.segment_bytes(SEGMENT_BYTES), (size // 4096 + 2) * 4096)
        ordinary, last = self._free_bytes()
        self.restricted = ordinary < wanted
        if self.restricted:
            self._recheck_at = now + RECHECK_S
            wanted = min(wanted, last // 4096 * 4096)
            if not urgent or wanted < size + SEGMENT_HEADER_BYTES:
                return None
        least = (size + SEGMENT_HEADER_BYTES + 4095) // 4096 * 4096
        try:
            if not self.directory.exists():
                self.follow()
            return create_fitting_segment(self.directory, wanted, min(least, wanted))
        except OSError:  # a full disk is a full spool
            if not self.directory.exists() and len(self.unlinked) < MAX_UNLINKED:
                self.unlinked.append(self.cursor)
                return memory_segment(SEGMENT_BYTES)
            self._recheck_at = now + RECHECK_S
            self.restricted = True
            return None

    def _free_bytes(self) -> tuple[int, int]:
        """Bytes left for events of any severity, and for urgent ones."""
        used = spool_bytes(self.directory.parent.parent)
        return int(self.max_bytes * RESTRICTED_SHARE) - used, self.max_bytes - used

    def _swap(self, full: Cursor, fresh: Cursor) -> None:
        if self.restricted:
            fresh.end = 0
        while self.cursor is full and full.pos != CLOSED:
            q = full.seq
            fresh.activate(full.index + 1, q + 1, self._producer_word)
            if full.seq == q and self.cursor is full and full.pos != CLOSED: full.pos = CLOSED; self.cursor = fresh  # fmt: skip # noqa: E501, E701, E702
        if self.cursor is fresh:
            full.seal()
        elif fresh.path is not None:  # another thread's segment took over, or another spool
            fresh.path.unlink(missing_ok=True)


class MemoryWriter:
    """A bounded buffer where no spool can be: before `configure`, or without any local disk.

    max_events: more are dropped and counted.
    """

    def __init__(self, producer: str, *, max_events: int, max_bytes: int = SEGMENT_BYTES) -> None:
        self.producer = producer
        self.progress: list[int] | memoryview = [0, 0, 0]
        self.max_events = max_events
        self.cursor = memory_segment(max_bytes)
        self.dropped = 0

    def append(self, payload: bytes, urgent: bool = False) -> int:
        """Keep a payload; its number, or DROPPED if the buffer is full.

        Raises SpoolClosedError once `close` has been called.
        """
        size = len(payload) + HEADER_BYTES
        while True:
            c = self.cursor
            p = c.pos
            q = c.seq + 1
            if p == CLOSED:
                raise SpoolClosedError
            if q > self.max_events or p + size > c.hard_end:
                self.dropped += 1
                return DROPPED
            frame = encode_frame(FORMAT_EVENT, q, payload)
            s = slice(p, p + size)
            if c.pos == p: c.mm[s] = frame; c.pos = p + size; c.seq = q; return q  # fmt: skip # noqa: E701, E702

    @property
    def last_number(self) -> int:
        """The number of the last event kept."""
        return self.cursor.seq

    def close(self) -> int:
        """Take no more; the offset up to which frames stand."""
        c = self.cursor
        end = c.pos; c.pos = CLOSED  # fmt: skip # noqa: E702
        return end


class SpoolClosedError(Exception):
    """The buffer or spool was handed over to another spool; append to that."""


class OwnerCheckedLock:
    """Lets one thread in at a time, and that thread in again.

    A signal handler or finalizer that emits while its own thread appends goes ahead without
    the lock: it runs between two lines, and the commit line finds the position taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0

    def wrap(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, entered by one thread at a time."""

        def locked(*args: P.args, **kwargs: P.kwargs) -> R:
            me = threading.get_ident()
            if self._owner == me:
                return function(*args, **kwargs)
            with self._lock:
                self._owner = me
                try:
                    return function(*args, **kwargs)
                finally:
                    self._owner = 0

        return locked
