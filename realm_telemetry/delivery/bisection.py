"""Find the records that keep a batch from being delivered.

Halves are tried breadth first, so that a good half is met early. A record is condemned only
if it failed alone, twice, and another one of the batch went through in between: while nothing
goes through, the other side is down and no record is to blame.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

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
