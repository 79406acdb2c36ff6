"""A watch of a file: inotify(7) by ctypes, because Python has no call for it.

The packages that have one start processes to find the C library, which is not for the process of a
training, or compile code.
"""

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

# linux/inotify.h
MODIFIED: Final = 0x2
TOUCHED: Final = 0x4
"""Times, permissions or the number of names have changed; the last also at a removal."""

MOVED: Final = 0x800
MOVED_INTO: Final = 0x80
_EVENT = struct.Struct("=iIII")  # watch, what, cookie, bytes of the name that follows


class FileWatch:
    """Sees what happens to one file, whatever its name is by then, or to all of a directory.

    descriptor: can be read from when something has happened. first: the number of the first watch.
    events: which of the above, joined by |.
    Raises OSError where the system gives no watch.
    """

    def __init__(self, path: Path, events: int) -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            begin, self._add = libc.inotify_init1, libc.inotify_add_watch
        except AttributeError:
            raise OSError("this system has no inotify") from None
        self._events = events
        self.descriptor: int = _checked(begin(os.O_CLOEXEC | os.O_NONBLOCK))
        try:
            self.first = self.add(path)
        except OSError:
            os.close(self.descriptor)
            raise

    def add(self, path: Path) -> int:
        """Watch another file or directory too, until it is deleted; return the watch's number.

        Raises OSError.
        """
        return _checked(self._add(self.descriptor, os.fsencode(path), self._events))

    def drain(self) -> bool:
        """Take what has happened; whether something has."""
        with suppress(BlockingIOError):
            return bool(os.read(self.descriptor, 4096))
        return False

    def happened(self) -> set[tuple[int, bytes]]:
        """Take what has happened: the numbers of watches, each with a name in its directory.

        The name is empty where the watch has ended, for its directory is gone; the number is -1
        where more has happened than the system keeps.
        """
        found: set[tuple[int, bytes]] = set()
        with suppress(BlockingIOError):
            while data := os.read(self.descriptor, 65_536):
                at = 0
                while at < len(data):
                    start = at + _EVENT.size
                    number, _, _, size = _EVENT.unpack_from(data, at)
                    at = start + size
                    found.add((number, data[start:at].rstrip(b"\0")))
        return found

    def close(self) -> None:
        """Watch no longer."""
        os.close(self.descriptor)


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
