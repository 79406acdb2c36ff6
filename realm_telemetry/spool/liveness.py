"""Whether a producer lives: a POSIX record lock on a file of its own.

Never a pid, because containers share homes but not pid namespaces, and never `flock`, because
a forked child would hold it on. A POSIX lock is lost when its process closes *any* descriptor
of the file, so a process opens its own lock file once and never again.
Source: fcntl(2), "Advisory record locking".
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

LOCK_NAME: Final = "lock"
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
        _own.add(producer)

    def release(self) -> None:
        """Say that this producer has ended, while the process goes on."""
        _own.discard(self.producer)
        os.close(self._descriptor)


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
