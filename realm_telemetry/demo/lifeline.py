"""A child of the lab ends when the lab does, however the lab ends."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


def run_until_told(work: Callable[[], None]) -> int:
    """Run a child's work until it is done, or standard input ends, or a signal asks for the end.

    All of these are one KeyboardInterrupt in the main thread, so the work can end in order.
    Returns the exit code.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    threading.Thread(target=_watch_standard_input, name="lifeline", daemon=True).start()
    try:
        work()
    except KeyboardInterrupt:
        return 0
    finally:
        _ignore_signals()
    return 0


def _watch_standard_input() -> None:
    # The lab holds the other end and never writes; the kernel closes it with the lab's death.
    while os.read(0, 1024):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Once: what ends in order must not be interrupted again.
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
