"""Locks between processes: the writer lock, which is taken in turn, and leases."""

import errno
import fcntl
import os
import stat
import struct
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from realm_telemetry.home import make_private_directory
from realm_telemetry.log.sqlite.connection import translated
from realm_telemetry.values.clock import monotonic, monotonic_ns

_WORDS: Final = struct.Struct("<QQ")  # end of the last gap, last release; monotonic ns
_MARK: Final = struct.Struct("<16sQ")
_MARK_AT: Final = _WORDS.size
# SQLite's busy handler looks after 1, 2, 5, 10, 15, 20, 25, 25, 25, 50 ms ...: who waits for up
# to 100 ms meets a gap of over 25 ms wherever it lies. Gaps as long as the turns before them, the
# same share of the time, were missed by chance eight times in a row (106 ms, and 336 without).
_GAP_NS: Final = 28_000_000
_BETWEEN_GAPS_NS: Final = 30_000_000

_locks: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


class Mark(NamedTuple):
    """How far a log was written: its id, and the highest row id that it ever gave out."""

    log_id: str
    cursor: int


class WriterLock:
    """A lock shared by all threads and processes that write to one log.

    Held for one transaction at a time. Waiting writers are served in turn: the next one
    holds the turnstile, so one that has just finished cannot overtake.

    polite: every 30 ms of turns leave the file free for 28 ms, unless it was free by itself.
        Set where another program writes to the same file: it waits by SQLite's busy handler,
        which sleeps ever longer and would hardly meet a free moment between our turns.
    """

    def __init__(self, log_path: Path) -> None:
        self.polite = False
        self._paths = (lock_path(log_path), Path(f"{log_path}-writer.turnstile"))
        self._thread_lock = threading.Lock()
        self._files: tuple[int, ...] = ()
        self._rested_ns = 0
        self._marked: Mark | None = None
        _locks.add(self)

    def __enter__(self) -> Self:
        self._thread_lock.acquire()
        try:
            lock, turnstile = self._open_files()
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._rested_ns = _wait_for_gap(lock)
            finally:
                fcntl.flock(turnstile, fcntl.LOCK_UN)
        except BaseException:
            self._thread_lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self.polite:
                with suppress(OSError):  # a full disk: what was committed is, and others wait
                    self._note_gap()
            fcntl.flock(self._files[0], fcntl.LOCK_UN)
        finally:
            self._thread_lock.release()

    def _note_gap(self) -> None:
        """Leave word to the next writer of when the file was released, or is to rest."""
        now = monotonic_ns()
        due = now - self._rested_ns >= _BETWEEN_GAPS_NS
        rested = now + _GAP_NS if due else self._rested_ns
        os.pwrite(self._files[0], _WORDS.pack(rested, now), 0)

    def mark(self) -> Mark | None:
        """Read what the last writer left; None if none did. To be called while it is held."""
        words = os.pread(self._files[0], _MARK.size, _MARK_AT)
        if len(words) < _MARK.size or not any(words):
            return None
        log_id, cursor = _MARK.unpack(words)
        return Mark(log_id.hex(), cursor)

    def set_mark(self, mark: Mark) -> None:
        """Leave word of how far the log is written. To be called while it is held."""
        if mark != self._marked:
            with suppress(OSError):  # a full disk: what was committed is
                words = _MARK.pack(bytes.fromhex(mark.log_id), mark.cursor)
                os.pwrite(self._files[0], words, _MARK_AT)
                self._marked = mark

    def close(self) -> None:
        """Give the lock files' descriptors back; the next use opens them again."""
        with self._thread_lock:
            for file in self._files:
                os.close(file)
            self._files = ()

    def _open_files(self) -> tuple[int, ...]:
        if not self._files:
            files: list[int] = []
            try:
                files.extend(map(_open_lock, self._paths))
            except BaseException:
                for file in files:
                    os.close(file)
                raise
            self._files = tuple(files)
        return self._files

    def leave_to_parent(self) -> None:
        """Let go of descriptors that came by fork, without unlocking what the parent holds."""
        # flock belongs to the open file: a child that kept it would hold the lock for as long as
        # it lives, even with the parent killed.
        for file in self._files:
            os.close(file)
        self._files = ()
        self._thread_lock = threading.Lock()


_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


def _open_lock(path: Path) -> int:
    """Open a lock file; through a link words would be written into a file of somebody else.

    Raises OSError, which names the file where something else stands in its place.
    """
    try:
        descriptor = os.open(path, _LOCK_FLAGS, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise OSError(f"{path} is no file; move it away") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no file; move it away")
    return descriptor


class FileLease:
    """A lease that ends with the process that has it: a lock of a file."""

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take it; False while another process has it. Raises LogUnavailableError."""
        with translated(self._path):
            make_private_directory(self._path.parent)
            descriptor = _open_lock(self._path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let others have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def try_turn(log_path: Path, timeout_s: float) -> bool:
    """Wait for a free writer lock; whether it was free within the time."""
    path = lock_path(log_path)
    if not path.exists():
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    deadline_s = monotonic() + timeout_s
    try:
        while monotonic() < deadline_s:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.005)
            else:
                return True
        return False
    finally:
        os.close(descriptor)


def lock_path(log_path: Path) -> Path:
    """The file whose lock a writer holds."""
    return Path(f"{log_path}-writer.lock")


def _wait_for_gap(lock: int) -> int:
    """Wait for the end of a gap; when the file was last free for as long as one."""
    words = os.pread(lock, _WORDS.size, 0)
    if len(words) < _WORDS.size:
        return 0
    until, released = _WORDS.unpack(words)
    wait = until - monotonic_ns()
    # A longer wait was written before this host last started.
    if 0 < wait <= _GAP_NS:
        time.sleep(wait / 1e9)
    now = monotonic_ns()
    if now - released >= _GAP_NS:
        return now
    return int(until) if until <= now else 0


def _after_fork() -> None:
    for lock in list(_locks):
        lock.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
