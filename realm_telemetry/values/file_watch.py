"""A watch of a file: inotify(7) by ctypes, because Python has no call for it.

The packages that have one start processes to find the C library, which is not for the process of a
training, or compile code.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# linux/inotify.h
MODIFIED: Final = 0x2
TOUCHED: Final = 0x4
"""Times, permissions or the number of names have changed; the last also at a removal."""

MOVED: Final = 0x800


class FileWatch:
    """Sees what happens to one file, whatever its name is by then.

    descriptor: can be read from when something has happened.
    events: which of the above, joined by |.
    Raises OSError where the system gives no watch.
    """

    def __init__(self, path: Path, events: int) -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            begin, add = libc.inotify_init1, libc.inotify_add_watch
        except AttributeError:
            raise OSError("this system has no inotify") from None
        self.descriptor: int = _checked(begin(os.O_CLOEXEC | os.O_NONBLOCK))
        try:
            _checked(add(self.descriptor, os.fsencode(path), events))
        except OSError:
            os.close(self.descriptor)
            raise

    def drain(self) -> bool:
        """Take what has happened; whether something has."""
        with suppress(BlockingIOError):
            return bool(os.read(self.descriptor, 4096))
        return False

    def close(self) -> None:
        """Watch no longer."""
        os.close(self.descriptor)


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
