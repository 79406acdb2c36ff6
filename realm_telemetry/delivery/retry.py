"""When to send again: backoff, bisection, and the policy of one receiver."""

from collections import deque
from collections.abc import Callable, Sequence
from random import random
from typing import Final, Generic, NamedTuple, TypeVar

Row = TypeVar("Row")

FIRST_S: Final = 0.25
CAP_S: Final = 30.0
LONGEST_RETRY_AFTER_S: Final = 3600.0

BATCH: Final = 512
FAILURES_BEFORE_BISECTION: Final = 5
FIRST_BUDGET: Final = 31
"""Failures in a row that mean that the receiver is down: five levels of halves."""

PACE_S: Final = 0.05
"""Between failures of a bisection: the receiver may be in trouble."""


def pause_s(
    failures: int,
    retry_after_s: float | None = None,
    *,
    first_s: float = FIRST_S,
    cap_s: float = CAP_S,
    jitter: Callable[[], float] = random,
) -> float:
    """Return how long to wait after so many failures in a row.

    It doubles with each failure up to a cap, and is spread: senders that failed together do not
    retry together. retry_after_s: what the receiver asked for; kept, up to an hour, but nobody is
    asked again at once because of a 0 or of a date that has passed.
    jitter: a number from 0 to 1, drawn for each wait.
    """
    if retry_after_s is not None:
        asked_s = min(max(retry_after_s, first_s / 2), LONGEST_RETRY_AFTER_S)
        return asked_s * (1.0 + 0.1 * jitter())
    longest_s = min(first_s * 2.0 ** min(failures - 1, 30), cap_s)
    return longest_s * (0.5 + 0.5 * jitter())


class Backoff:
    """Counts failures in a row, and returns how long to wait after each."""

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
        """Count a failure and return the seconds to wait; see `pause_s`."""
        self.failures += 1
        return pause_s(
            self.failures,
            retry_after_s,
            first_s=self._first_s,
            cap_s=self._cap_s,
            jitter=self._jitter,
        )

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0


class Policy:
    """How one receiver is retried, and how far a batch is searched for rejected records.

    It counts the receiver's failures in a row, so all followers that deliver to it share one.
    bisect_after: failures in a row after which a batch is bisected, if the receiver does not say
        what is wrong.
    max_budget: how far the budget of a bisection may grow, see `bisect`.
    """

    def __init__(
        self,
        *,
        backoff: Backoff | None = None,
        batch: int = BATCH,
        bisect_after: int = FAILURES_BEFORE_BISECTION,
        max_budget: int = 2 * BATCH,
        pace_s: float = PACE_S,
    ) -> None:
        self.backoff = backoff or Backoff()
        self.batch = batch
        self.bisect_after = bisect_after
        self.max_budget = max_budget
        self.pace_s = pace_s
        self.budget = FIRST_BUDGET

    def succeeded(self) -> None:
        """Start over: the receiver has taken something."""
        self.backoff.succeeded()
        self.budget = FIRST_BUDGET

    def found_nothing(self) -> None:
        """Search further next time: nothing went through, so no record could be blamed."""
        self.budget = min(self.budget * 2, self.max_budget)


class OutageError(Exception):
    """The receiver asks to come back later: no record is to blame, and the search ends."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


class Condemned(NamedTuple, Generic[Row]):
    """A record that will never be taken, and why."""

    row: Row
    reason: str


class Verdict(NamedTuple, Generic[Row]):
    """What became of a batch's rows; those that are in neither list were delivered.

    remaining: still to be delivered.
    """

    condemned: list[Condemned[Row]]
    remaining: list[Row]


def bisect(
    rows: Sequence[Row], send: Callable[[Sequence[Row]], str | None], budget: int = FIRST_BUDGET
) -> Verdict[Row]:
    """Deliver what can be delivered of a batch that failed as a whole.

    Halves are tried breadth first, so that a good half is met early. A record is condemned only
    if it failed alone, twice, and another one of the batch went through in between: while nothing
    goes through, the receiver is down and no record is to blame.
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
            condemned.append(Condemned(row, reason))
    return Verdict(condemned, [])


def _halves(rows: Sequence[Row]) -> list[Sequence[Row]]:
    middle = len(rows) // 2
    return [half for half in (rows[:middle], rows[middle:]) if half]
