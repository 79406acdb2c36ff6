"""The lock of a pipeline: one shipper at a time, for as long as its process lives.

A POSIX record lock, for the reasons in `realm_telemetry.spool.liveness`: a forked child does
not inherit it, and a process must never open the file twice. The file is never unlinked, or
two shippers could each lock a file of that name.
"""

import fcntl
import os
import threading
from pathlib import Path
from typing import Final

from realm_telemetry.spool.liveness import is_locked

LOCK_NAME: Final = "shipper.lock"
_held: Final[dict[str, int]] = {}
"""The locks of this process: path -> pid, so that a forked child does not take them for its own."""
# Record locks do not hold off threads of the same process, and closing a descriptor drops them.
# Re-entrant: a producer's signal handler may flush, and ask, while its own thread asks.
_mutex = threading.RLock()


class ShipperLock:
    """Held until `release` or the end of the process."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        _held[path] = os.getpid()

    def release(self) -> None:
        """Let another shipper in."""
        with _mutex:
            del _held[self._path]
            os.close(self._descriptor)


def acquire(pipeline_dir: Path) -> ShipperLock | None:
    """Take the lock of a pipeline; None if a shipper has it. Never waits.

    Raises OSError if the lock file cannot be made.
    """
    path = _lock_path(pipeline_dir)
    with _mutex:
        return None if _is_own(path) else _lock(path)


def is_held(pipeline_dir: Path) -> bool:
    """Whether a shipper runs for this pipeline; asks without taking the lock."""
    path = _lock_path(pipeline_dir)
    with _mutex:
        return _is_own(path) or is_locked(path)


def _lock_path(pipeline_dir: Path) -> str:
    """One text for each lock file; a link in its place is not followed."""
    return os.path.join(os.path.realpath(pipeline_dir), LOCK_NAME)  # noqa: PTH118


def _is_own(path: str) -> bool:
    return _held.get(path) == os.getpid()


def _lock(path: str) -> ShipperLock | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return ShipperLock(path, descriptor)


def _renew_mutex() -> None:
    global _mutex
    _mutex = threading.RLock()


# A thread of the parent may hold it at the moment of the fork.
os.register_at_fork(after_in_child=_renew_mutex)
