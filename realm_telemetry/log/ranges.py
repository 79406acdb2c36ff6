"""Sets of event numbers, kept as ranges: a whole run is usually one."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from realm_telemetry.event import Event


class Ranges:
    """A set of numbers as sorted, disjoint, non-touching ranges, ends included."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    @classmethod
    def load(cls, text: str) -> Self:
        """Read what `dump` wrote."""
        return cls(msgspec.json.decode(text, type=list[tuple[int, int]]))

    def dump(self) -> str:
        """Write as JSON: `[[1,500],[502,502]]`."""
        return msgspec.json.encode(self.pairs()).decode()

    def pairs(self) -> list[tuple[int, int]]:
        """The ranges, ascending."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def add(self, first: int, last: int) -> int:
        """Add the numbers first to last; returns how many of them are new."""
        if self._lasts and first == self._lasts[-1] + 1:
            self._lasts[-1] = last
            return last - first + 1
        left = bisect_left(self._lasts, first - 1)
        right = bisect_right(self._firsts, last + 1)
        known = sum(self._lasts[left:right]) - sum(self._firsts[left:right]) + max(right - left, 0)
        if left < right:
            first = min(first, self._firsts[left])
            last = max(last, self._lasts[right - 1])
        self._firsts[left:right] = [first]
        self._lasts[left:right] = [last]
        return last - first + 1 - known

    def overlaps(self, first: int, last: int) -> bool:
        """Whether any of the numbers first to last is in the set."""
        index = bisect_left(self._lasts, first)
        return index < len(self._firsts) and self._firsts[index] <= last

    def covers(self, first: int, last: int) -> bool:
        """Whether all of the numbers first to last are in the set; true of an empty span."""
        if last < first:
            return True
        index = bisect_left(self._lasts, first)
        return (
            index < len(self._firsts)
            and self._firsts[index] <= first
            and self._lasts[index] >= last
        )

    def __contains__(self, number: int) -> bool:
        return self.overlaps(number, number)

    def __len__(self) -> int:
        """How many numbers are in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)


class Run(msgspec.Struct, frozen=True):
    """Events of one producer that stand in a batch one after the other, numbered without a gap.

    start, stop: their slice of the batch.
    """

    producer: str
    first: int
    last: int
    start: int
    stop: int


def runs_of(events: Sequence[Event]) -> list[Run]:
    """Cut a batch into runs; a spool's batch is one."""
    runs: list[Run] = []
    producer, first, expected, start = "", 0, -1, 0
    for position, event in enumerate(events):
        if event.number != expected or event.producer != producer:
            if position:
                runs.append(Run(producer, first, expected - 1, start, position))
            producer, first, start = event.producer, event.number, position
            expected = first
        expected += 1
    if events:
        runs.append(Run(producer, first, expected - 1, start, len(events)))
    return runs
