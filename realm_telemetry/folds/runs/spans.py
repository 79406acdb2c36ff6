"""The ends of short spans of time: a bounded, order-free container for what comes by the thousand.

Time is cut into spans of one width. Of each span the first few and the last few entries are kept,
and of all spans the newest. What is kept depends on the set of entries alone: an entry is dropped
only for entries that the whole set has as well.
"""

from bisect import insort
from typing import Any

from realm_telemetry.folds.clock import Stamp, lowered

Entry = tuple[Stamp, Any]


class Spans:
    """Entries by stamp: the `first` and `last` ones of each of the newest `limit` spans."""

    __slots__ = ("_first", "_kept", "_limit", "_most", "_width_ns")

    def __init__(self, width_ns: int, limit: int, *, first: int, last: int) -> None:
        self._width_ns, self._limit = width_ns, limit
        self._first, self._most = first, first + last
        self._kept: dict[int, list[Entry]] = {}

    def add(self, stamp: Stamp, value: Any) -> None:
        """Add an entry."""
        span = stamp[0] // self._width_ns
        kept = self._kept.get(span)
        if kept is not None:
            if kept[-1][0] < stamp:  # nearly all come in order
                kept.append((stamp, value))
            else:
                insort(kept, (stamp, value), key=_stamp)
            if len(kept) > self._most:
                del kept[self._first]
            return
        if len(self._kept) == self._limit:
            oldest = min(self._kept)
            if span < oldest:
                return
            del self._kept[oldest]
        self._kept[span] = [(stamp, value)]

    def add_all(self, entries: list[Entry]) -> None:
        """Add what `read` of another one returned."""
        for stamp, value in entries:
            self.add(stamp, value)

    def read(self) -> list[Entry]:
        """Return all that is kept, oldest first."""
        return [entry for span in sorted(self._kept) for entry in self._kept[span]]

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower all stamps, because the log's clock was ahead until then."""
        entries = self.read()
        self._kept = {}
        self.add_all([(lowered(stamp, arrival_unix_nano), value) for stamp, value in entries])


def _stamp(entry: Entry) -> Stamp:
    return entry[0]
