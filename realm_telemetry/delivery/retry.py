"""Retry with backoff, and bisection: find the records that keep a batch from being delivered.

Halves are tried breadth first, so that a good half is met early. A record is condemned only
if it failed alone, twice, and another one of the batch went through in between: while nothing
goes through, the other side is down and no record is to blame.
"""

from collections import deque
from collections.abc import Callable, Sequence
from random import random
from typing import Final, Generic, NamedTuple, TypeVar

FIRST_S: Final = 0.25
CAP_S: Final = 30.0
LONGEST_RETRY_AFTER_S: Final = 3600.0


class Backoff:
    """Doubles the wait with each failure in a row, up to a cap, and spreads it.

    jitter: a number from 0 to 1, drawn for each wait, so that many who failed together do not
        come back together.
    """

    def __init__(
        self,
        first_s: float = FIRST_S,
        cap_s: float = CAP_S,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._jitter = jitter
        self.failures = 0

    def failed(self, retry_after_s: float | None = None) -> float:
        """Count a failure and return the seconds to wait.

        retry_after_s: what the other side asked for; kept, up to an hour.
        """
        self.failures += 1
        if retry_after_s is not None:
            asked_s = min(max(retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
            return asked_s * (1.0 + 0.1 * self._jitter())
        longest_s = min(self._first_s * 2.0 ** min(self.failures - 1, 30), self._cap_s)
        return longest_s * (0.5 + 0.5 * self._jitter())

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0


Row = TypeVar("Row")

FIRST_BUDGET: Final = 31
"""Failures in a row that say the other side is down: five levels of halves."""


class OutageError(Exception):
    """The other side asks to come back later: no row is to blame, and the search ends."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


class Verdict(NamedTuple, Generic[Row]):
    """What became of a batch's rows; those that are named nowhere were delivered.

    condemned: with the reason of each.
    remaining: still to be delivered.
    """

    condemned: list[tuple[Row, str]]
    remaining: list[Row]


def bisect(
    rows: Sequence[Row], send: Callable[[Sequence[Row]], str | None], budget: int = FIRST_BUDGET
) -> Verdict[Row]:
    """Deliver what can be delivered of a batch that failed as a whole.

    send: delivers rows; the reason if they were not taken. Raises OutageError.
    budget: failures before the first success after which all is given up for now.
    """
    queue: deque[Sequence[Row]] = deque(_halves(rows))
    suspects: list[Row] = []
    passed = False
    while queue:
        part = queue.popleft()
        if send(part) is None:
            passed = True
            continue
        budget -= 1
        if not passed and budget <= 0:
            rest = [row for later in queue for row in later]
            return Verdict([], suspects + list(part) + rest)
        if len(part) == 1:
            suspects.append(part[0])
        else:
            queue.extend(_halves(part))
    return _judge(suspects, send) if passed else Verdict([], suspects)


def _judge(suspects: list[Row], send: Callable[[Sequence[Row]], str | None]) -> Verdict[Row]:
    condemned = []
    for row in suspects:
        reason = send([row])
        if reason is not None:
            condemned.append((row, reason))
    return Verdict(condemned, [])


def _halves(rows: Sequence[Row]) -> list[Sequence[Row]]:
    middle = len(rows) // 2
    return [half for half in (rows[:middle], rows[middle:]) if half]
