"""Where a process was when a signal ended it: Python's `faulthandler`, into a file of the spool.

`faulthandler` writes from C, without the interpreter lock, and then lets the signal do what it
would have done: the process dies of it, as soon and with the same status. It knows a file by the
number of its descriptor alone. So there is one number for the life of the process, a high one: a
program that closes descriptors it does not know gets low numbers for its own files, and until the
keeper looks again a stack is written nowhere. In a forked child, and after `shutdown`, the number
leads to /dev/null, until there is another file. Nothing here is ever unregistered, because that
would also undo handlers that others have put there since, in C, where Python cannot see them.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from realm_telemetry.spool.liveness import FAULTS_NAME, file_of

SIGNALS: Final = ("SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGQUIT")
_HIGHEST: Final = 4_096
"""Descriptors above cost the kernel a larger table for this process."""


class _Hold:
    """What `faulthandler` of this process was told.

    number: the descriptor that it writes to; -1 before the first time.
    file: what the descriptor must have open to be ours; None while it is closed.
    has_enabled: whether it was us who enabled it.
    """

    number = -1
    file: tuple[int, int] | None = None
    directory: Path | None = None
    has_enabled = False
    signals: tuple[int, ...] = ()


_hold: Final = _Hold()
_turn = threading.Lock()
"""For what the number leads to and `_hold.file` together: keeper and shutdown change both."""
_TURN_S: Final = 1.0
"""A signal handler may come here while its own thread has the lock."""


@contextmanager
def _in_turn() -> Iterator[None]:
    turn = _turn
    taken = turn.acquire(timeout=_TURN_S)
    try:
        yield
    finally:
        if taken:
            turn.release()


def attach(directory: Path) -> None:
    """Write stacks into a file of this spool from now on. Never raises."""
    with _in_turn():
        _attach(directory)


def _attach(directory: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    flags |= os.O_NONBLOCK  # a pipe in its place has no reader
    try:
        opened = os.open(directory / FAULTS_NAME, flags, 0o600)
    except OSError:  # without stacks, then
        return
    try:
        _take(opened)
        _hold.file, _hold.directory = file_of(opened), directory
    except (OSError, RuntimeError, ValueError, ImportError):
        pass  # no descriptor is free, or a Python without `faulthandler`
    finally:
        os.close(opened)


def renew(directory: Path) -> None:
    """Open the file again if the program has closed it, or has one of its own there."""
    with _in_turn():
        if _hold.directory is not None and not _is_ours():
            _attach(directory)


def detach() -> None:
    """Write no stacks any more; handlers stay, see the head of this file.

    The number is kept: a file of the program must not get it, or the next stack would be in that.
    """
    with _in_turn():
        if _is_ours():
            with suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                os.dup2(null, _hold.number, inheritable=False)
                os.close(null)
                _hold.file = file_of(_hold.number)
        _hold.directory = None


def after_fork() -> None:
    """In a child: the file is its parent's, and whoever had the lock is not there."""
    global _turn
    _turn = threading.Lock()
    detach()


def _take(opened: int) -> None:
    """Have a file open under the number that `faulthandler` knows, or tell it another number."""
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    if _is_ours():
        os.dup2(opened, _hold.number, inheritable=False)
        return
    # Never `dup2` on a number that is not ours: a file of the program may be there.
    number = fcntl(opened, F_DUPFD_CLOEXEC, _lowest() if _hold.number < 0 else _hold.number)
    if number == _hold.number:
        return
    is_first, _hold.number = _hold.number < 0, number
    if is_first:
        _begin(number)
    else:
        _tell(number)


def _lowest() -> int:
    from resource import RLIMIT_NOFILE, getrlimit

    limit = getrlimit(RLIMIT_NOFILE)[0]
    return (min(limit, _HIGHEST) if limit > 0 else _HIGHEST) * 3 // 4


def _begin(number: int) -> None:
    """Enable what nobody else has, for signals whose disposition is the default."""
    import faulthandler
    import signal

    if not faulthandler.is_enabled():
        faulthandler.enable(number, all_threads=False)
        _hold.has_enabled = True
    handled = _handled_signals()
    wanted = (getattr(signal, name, None) for name in SIGNALS)
    _hold.signals = tuple(
        each
        for each in wanted
        if each is not None and each not in handled and signal.getsignal(each) == signal.SIG_DFL
    )
    _tell(number)


def _tell(number: int) -> None:
    import faulthandler
    import signal

    for each in _hold.signals:
        # One that the program handles by now is its own, and stays as it is.
        if signal.getsignal(each) == signal.SIG_DFL:
            # Never all threads: of a running process that has crashed Python.
            faulthandler.register(each, number, all_threads=False, chain=True)
    if _hold.has_enabled and faulthandler.is_enabled():
        faulthandler.enable(number, all_threads=False)


def _handled_signals() -> set[int]:
    """The signals that are caught or ignored, by C code too; empty where that cannot be read."""
    try:
        lines = Path("/proc/thread-self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return set()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigIgn:", "SigCgt:"))]
    return {number for number in range(1, 65) if any(mask >> number - 1 & 1 for mask in masks)}


def _is_ours() -> bool:
    return _hold.file is not None and file_of(_hold.number) == _hold.file
