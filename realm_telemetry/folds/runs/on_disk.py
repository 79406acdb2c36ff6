"""Whether a checkpoint is on the disk as it was recorded, as far as can be seen from here.

Paths come with events, from anywhere: nothing is opened or followed below them, and a disk that
does not answer costs the reader a second, not its life.
"""

import os
import stat
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from realm_telemetry.values.clock import Deadline, monotonic

MAX_FILES: Final = 10_000
LOOK_S: Final = 1.0
KNOWN_S: Final = 10.0
"""How long an answer holds: pages ask every few seconds."""

MAX_KNOWN: Final = 256
NOT_FROM_HERE: Final = "not verified from here"
GONE: Final = "not there any more"

_looks = threading.BoundedSemaphore(4)
_known: dict[str, tuple[float, "Measured"]] = {}


class Measured(NamedTuple):
    """What is at a path. is_there: None if that could not be seen. size: of all files, if known."""

    is_there: bool | None
    size: int | None = None


def last_good(checkpoints: Sequence[Mapping[str, Any]], cwd: Any, *, is_here: bool) -> Any:
    """Return the newest checkpoint that is on the disk, with `verified` and `check`.

    checkpoints: newest first, as a run shows them. cwd: of the run, for relative paths.
    is_here: whether the run was on this host, so that what is not there is gone.
    Where none can be verified, it is the newest that is not known to be gone, else the newest.
    """
    deadline = Deadline(LOOK_S)
    best: dict[str, Any] | None = None
    for checkpoint in checkpoints:
        path = _absolute(checkpoint["path"], cwd)
        found = Measured(None) if path is None else measure(path, deadline)
        verified, check = _judge(found, checkpoint["size_bytes"], is_here=is_here)
        shown = {**checkpoint, "verified": verified, "check": check}
        if verified:
            return shown
        if best is None or (best["check"] == GONE and check != GONE):
            best = shown
    return best


def _judge(found: Measured, recorded: Any, *, is_here: bool) -> tuple[bool, str]:
    if not found.is_there:
        return False, GONE if found.is_there is False and is_here else NOT_FROM_HERE
    if type(recorded) is not int:
        return False, "there; its size was not recorded"
    if found.size is None:
        return False, "there; too large to be measured"
    if found.size != recorded:
        return False, f"there with {found.size:,} bytes; {recorded:,} were recorded"
    return True, "there with its recorded size"


def _absolute(path: Any, cwd: Any) -> str | None:
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    if not path.startswith("/"):
        if not isinstance(cwd, str) or not cwd.startswith("/") or "\0" in cwd:
            return None
        return f"{cwd}/{path}"
    return str(path)


def measure(path: str, deadline: Deadline) -> Measured:
    """Return what is at a path, from a thread that is left behind where the disk hangs."""
    known = _known.get(path)
    if known is not None and monotonic() - known[0] < KNOWN_S:
        return known[1]
    found: list[Measured] = []

    def look() -> None:
        try:
            with suppress(OSError, ValueError):  # ValueError: no name of a file
                found.append(_measured(path, deadline))
        finally:
            _looks.release()

    if not _looks.acquire(blocking=False):
        return Measured(None)
    thread = threading.Thread(target=look, name="realm-telemetry-checkpoint", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread is to be had
        _looks.release()
        return Measured(None)
    thread.join(deadline.left_s)
    if not found:
        return Measured(None)
    while len(_known) >= MAX_KNOWN:
        _known.pop(next(iter(_known)), None)
    _known[path] = monotonic(), found[0]
    return found[0]


def _measured(path: str, deadline: Deadline) -> Measured:
    try:
        facts = os.stat(path)  # noqa: PTH116 - text of an event, taken as it is
    except (FileNotFoundError, NotADirectoryError):
        return Measured(is_there=False)
    if stat.S_ISREG(facts.st_mode):
        return Measured(is_there=True, size=facts.st_size)
    if not stat.S_ISDIR(facts.st_mode):
        return Measured(is_there=True)
    return Measured(is_there=True, size=_size_below(path, deadline))


def _size_below(path: str, deadline: Deadline) -> int | None:
    """The size of all files below a directory; None for too many, or for want of time."""
    total, entries, waiting = 0, 0, [path]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for entry in found:
                entries += 1
                if entries > MAX_FILES or deadline.left_s <= 0:
                    return None
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
