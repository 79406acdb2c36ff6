"""The writer lock: our processes take turns at the log's file instead of meeting in SQLite."""

import fcntl
import os
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_WORD: Final = 8
_LONGEST_GAP_NS: Final = 20_000_000

_locks: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


class WriterLock:
    """A lock shared by all threads and processes that write to one log.

    Held for one transaction at a time. Waiting writers are served in turn: whoever is next
    holds the turnstile, so one that has just finished cannot overtake.

    polite: leave the file free after each turn for as long as the turn took, at most 20 ms.
        Set where another program writes to the same file: it waits by SQLite's busy handler,
        which sleeps ever longer and would never meet a free moment between our turns.
    """

    def __init__(self, log_path: Path) -> None:
        self.polite = False
        self._paths = tuple(f"{log_path}-writer.{end}" for end in ("lock", "turnstile"))
        self._thread_lock = threading.Lock()
        self._files: tuple[int, ...] = ()
        self._since_ns = 0
        _locks.add(self)

    def __enter__(self) -> Self:
        self._thread_lock.acquire()
        try:
            lock, turnstile = self._open_files()
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._wait_for_gap(lock)
            finally:
                fcntl.flock(turnstile, fcntl.LOCK_UN)
        except BaseException:
            self._thread_lock.release()
            raise
        self._since_ns = time.monotonic_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            lock = self._files[0]
            if self.polite:
                now = time.monotonic_ns()
                gap = min(now - self._since_ns, _LONGEST_GAP_NS)
                os.pwrite(lock, (now + gap).to_bytes(_WORD, "little"), 0)
            fcntl.flock(lock, fcntl.LOCK_UN)
        finally:
            self._thread_lock.release()

    def close(self) -> None:
        """Give the lock files' descriptors back; the next use opens them again."""
        with self._thread_lock:
            for file in self._files:
                os.close(file)
            self._files = ()

    def _open_files(self) -> tuple[int, ...]:
        if not self._files:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._files = tuple(os.open(path, flags, 0o600) for path in self._paths)
        return self._files

    def leave_to_parent(self) -> None:
        """Let go of descriptors that came by fork, without unlocking what the parent holds."""
        # flock belongs to the open file: a child that kept it would hold the lock for as long as
        # it lives, even with the parent killed.
        for file in self._files:
            os.close(file)
        self._files = ()
        self._thread_lock = threading.Lock()

    def _wait_for_gap(self, lock: int) -> None:
        until = int.from_bytes(os.pread(lock, _WORD, 0), "little")
        wait = until - time.monotonic_ns()
        # A longer wait was written before this host last started.
        if 0 < wait <= _LONGEST_GAP_NS:
            time.sleep(wait / 1e9)


def _after_fork() -> None:
    for lock in list(_locks):
        lock.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
