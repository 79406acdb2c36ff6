"""A strand: the values of one name from one process, in a bounded number of buckets.

A place is a step, or for what has no steps a time in milliseconds. A bucket has the values of
`2 ** level` neighbouring places; when there are more buckets than the limit, the level rises and
neighbours are merged. The level is the least one with which the limit holds, so that what is kept
depends on the set of values alone, in any order of arrival.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

Number = int | float

MAX_NOT_FINITE: Final = 64
"""Points of a strand that are kept with their place; all are counted."""


class Bucket(NamedTuple):
    """What is kept of neighbouring places.

    first, last: the values at the lowest and the highest place; of several there, by the event's
        number. least, greatest: with the lowest place that has them.
    begun_ns, ended_ns: the earliest and the latest time.
    """

    first_place: int
    first_number: int
    first: Number
    last_place: int
    last_number: int
    last: Number
    least: Number
    least_place: int
    greatest: Number
    greatest_place: int
    points: int
    begun_ns: int
    ended_ns: int


class NotFinite(NamedTuple):
    """A point that is no finite number. value: "NaN", "Infinity" or "-Infinity"."""

    place: int
    number: int
    value: str
    time_ns: int


class Column(NamedTuple):
    """Values of one name from some events of one process, in order of place and number."""

    places: Sequence[int]
    numbers: Sequence[int]
    values: Sequence[Number]
    times_ns: Sequence[int]


class StrandDump(msgspec.Struct, array_like=True):
    """A strand as it is stored."""

    level: int
    buckets: list[Bucket]
    not_finite: list[NotFinite]
    not_finite_count: int


class Strand:
    """See the top of this module."""

    __slots__ = ("buckets", "level", "not_finite", "not_finite_count")

    def __init__(self) -> None:
        self.level = 0
        self.buckets: dict[int, Bucket] = {}
        self.not_finite: list[NotFinite] = []
        self.not_finite_count = 0

    def add(self, column: Column) -> None:
        """Fold in values."""
        places, level = column.places, self.level
        start, end = 0, len(places)
        while start < end:
            key = places[start] >> level
            if start + 1 < end and places[start + 1] >> level == key:
                stop = bisect_left(places, (key + 1) << level, start)
                self._put(key, _bucket_of(column, start, stop))
                start = stop
            else:
                place, number = places[start], column.numbers[start]
                value, time_ns = column.values[start], column.times_ns[start]
                at = (place, number, value)
                single = (*at, *at, value, place, value, place, 1, time_ns, time_ns)
                self._put(key, Bucket._make(single))
                start += 1

    def _put(self, key: int, bucket: Bucket) -> None:
        known = self.buckets.get(key)
        self.buckets[key] = bucket if known is None else joined(known, bucket)

    def add_not_finite(self, points: Iterable[NotFinite], count: int) -> None:
        """Fold in points that are no finite numbers; `count` may be more than are given."""
        self.not_finite = sorted([*self.not_finite, *points])[:MAX_NOT_FINITE]
        self.not_finite_count += count

    def merge(self, other: "Strand") -> None:
        """Fold in a strand of other events; that one stays as it is."""
        self.raise_to(other.level)
        rise = self.level - other.level
        for key, bucket in other.buckets.items():
            self._put(key >> rise, bucket)
        self.add_not_finite(other.not_finite, other.not_finite_count)

    def raise_to(self, level: int) -> None:
        """Merge neighbours until the level is at least this one."""
        rise = level - self.level
        if rise > 0:
            before, self.buckets, self.level = self.buckets, {}, level
            for key, bucket in before.items():
                self._put(key >> rise, bucket)

    def limit(self, most: int) -> None:
        """Merge neighbours until there are no more than so many buckets."""
        while len(self.buckets) > most:
            self.raise_to(self.level + 1)

    def set_back(self, latest_ns: int) -> None:
        """Lower all times, because the log's clock was ahead until then."""
        self.buckets = {
            key: bucket._replace(
                begun_ns=min(bucket.begun_ns, latest_ns), ended_ns=min(bucket.ended_ns, latest_ns)
            )
            for key, bucket in self.buckets.items()
        }
        self.not_finite = [
            point._replace(time_ns=min(point.time_ns, latest_ns)) for point in self.not_finite
        ]

    def copy(self) -> "Strand":
        """Return a strand of its own with the same content."""
        found = Strand()
        found.level, found.buckets = self.level, dict(self.buckets)
        found.not_finite, found.not_finite_count = self.not_finite, self.not_finite_count
        return found

    def read(self) -> list[Bucket]:
        """Return the buckets in order of place."""
        return [self.buckets[key] for key in sorted(self.buckets)]

    def dump(self) -> StrandDump:
        """Return what `load` reads; equal sets of values give equal dumps."""
        return StrandDump(self.level, self.read(), self.not_finite, self.not_finite_count)

    @classmethod
    def load(cls, read: StrandDump) -> "Strand":
        """Return the strand that was dumped."""
        found = cls()
        found.level, found.not_finite = read.level, read.not_finite
        found.not_finite_count = read.not_finite_count
        found.buckets = {bucket.first_place >> read.level: bucket for bucket in read.buckets}
        return found


def joined(one: Bucket, other: Bucket) -> Bucket:
    """Return the bucket of all that is in two."""
    first = min(one[:3], other[:3])
    last = max(one[3:6], other[3:6])
    least = min(one[6:8], other[6:8])
    greatest = one[8:10]
    if (other.greatest, -other.greatest_place) > (one.greatest, -one.greatest_place):
        greatest = other[8:10]
    times = min(one.begun_ns, other.begun_ns), max(one.ended_ns, other.ended_ns)
    return Bucket._make((*first, *last, *least, *greatest, one.points + other.points, *times))


def _bucket_of(column: Column, start: int, stop: int) -> Bucket:
    values, times = column.values[start:stop], column.times_ns[start:stop]
    least, greatest = min(values), max(values)
    places, numbers = column.places, column.numbers
    return Bucket(
        places[start],
        numbers[start],
        values[0],
        places[stop - 1],
        numbers[stop - 1],
        values[-1],
        least,
        places[start + values.index(least)],
        greatest,
        places[start + values.index(greatest)],
        stop - start,
        min(times),
        max(times),
    )
