"""A clock and a wait that go on where a test has frozen or moved the program's time.

freezegun, time-machine and others replace the functions of `time`, `monotonic` among them, in every
module that has them; a deadline that is counted on those never comes. None of them replaces
`clock_gettime` for the monotonic clock. libfaketime does, so that a `Deadline` also counts how long
it has waited: a lock is waited for in the kernel.

Times that an event shows are the program's own: they stay what the frozen clock says.
"""

import threading
import time
from typing import Any, Final

_read_clock = time.clock_gettime
_read_clock_ns = time.clock_gettime_ns
_CLOCK: Final = time.CLOCK_MONOTONIC
_YEAR_S: Final = 366 * 86_400.0


def monotonic() -> float:
    """Return seconds of a clock that only goes forward."""
    return _read_clock(_CLOCK)


def monotonic_ns() -> int:
    """Return nanoseconds of the same clock, which all processes of a host share."""
    return _read_clock_ns(_CLOCK)


def seconds(value: Any, otherwise: float = 2.0) -> float:
    """Return a number of seconds that can be waited for, a year at the most.

    otherwise: for what is no number, or cannot be read.
    """
    try:
        number = float(value)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - a value's own code may raise anything
        return otherwise
    return otherwise if number != number else min(max(number, 0.0), _YEAR_S)


class Deadline:
    """A moment so many seconds from now."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._began_s = monotonic()
        self._waited_s = 0.0
        self._never = threading.Lock()
        self._never.acquire()

    @property
    def left_s(self) -> float:
        """Seconds that are left, at least 0."""
        passed_s = max(monotonic() - self._began_s, self._waited_s)
        return max(self._timeout_s - passed_s, 0.0)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or as long as is left; False if nothing was left."""
        wait_s = min(seconds, self.left_s)
        if wait_s <= 0.0:
            return False
        self._never.acquire(timeout=wait_s)
        self._waited_s += wait_s
        return True
