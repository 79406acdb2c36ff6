"""Whether a producer lives: a POSIX record lock on a file of its own.

Never a pid, because containers share homes but not pid namespaces, and never `flock`, because
a forked child would hold it on. A POSIX lock is lost when its process closes *any* descriptor
of the file, so a process opens its own lock file once, and again only when it was closed already:
a program that becomes a daemon closes all descriptors, and their numbers go to files of its own.
Source: fcntl(2), "Advisory record locking".
"""

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

LOCK_NAME: Final = "lock"
FAULTS_NAME: Final = "faults"
"""In a spool: what `faulthandler` of its process wrote."""
_FLOCK = struct.Struct("hhqqi")  # struct flock: type, whence, start, len, pid
_own: set[str] = set()


class LivenessLock:
    """Held as long as this process lives; a forked child does not inherit it."""

    def __init__(self, directory: Path, producer: str) -> None:
        self.producer = producer
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(directory / LOCK_NAME, flags, 0o600)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process has it, and so has this one none to lose
            os.close(self._descriptor)
            raise
        self._file = file_of(self._descriptor)
        _own.add(producer)

    def directory(self) -> Path | None:
        """Where the spool is now, wherever it was renamed to; None if it was deleted."""
        if not self._is_open():
            return None
        try:
            path = Path(f"/proc/self/fd/{self._descriptor}").readlink()
        except OSError:  # no /proc here
            return None
        return path.parent if path.name == LOCK_NAME else None

    def renew(self, directory: Path) -> bool:
        """Take the lock again if the program has closed its file; whether it was taken again.

        directory: where the spool is.
        """
        if self._is_open():
            return False
        try:
            opened = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # the spool is gone
            return False
        taken = file_of(opened) == self._file and _try_lock(opened)
        if taken:
            self._descriptor = opened
        # The second look comes after the descriptor is noted: a release meanwhile missed it.
        if not taken or self.producer not in _own:
            os.close(opened)
            return False
        return True

    def release(self) -> None:
        """Say that this producer has ended, while the process goes on. Never raises."""
        _own.discard(self.producer)
        if self._is_open():
            with suppress(OSError):
                os.close(self._descriptor)

    def _is_open(self) -> bool:
        """Whether the descriptor is still that of the lock's file."""
        return file_of(self._descriptor) == self._file


def file_of(place: int | Path) -> tuple[int, int] | None:
    """Which file a descriptor has open, or a path leads to; None if none."""
    try:
        found = os.stat(place)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _try_lock(descriptor: int) -> bool:
    """Lock a file; False if another process has it."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_alive(directory: Path) -> bool:
    """Whether the producer whose spool this is still runs.

    A producer of this process is answered without opening its file: closing that would drop
    the lock. Others are asked by F_GETLK, which takes no lock that a starting one could meet.
    """
    return directory.name in _own or is_locked(directory / LOCK_NAME)


def is_locked(path: str | Path) -> bool:
    """Whether another process holds a POSIX lock on a file; False where there is no file.

    Opens and closes the file, which drops a lock of this process's own.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, question)
    finally:
        os.close(descriptor)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


# In a forked child: the parent's locks are not ours. Registered here, so that it comes before
# any other lock taken there.
os.register_at_fork(after_in_child=_own.clear)
