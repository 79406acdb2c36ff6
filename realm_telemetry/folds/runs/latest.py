"""The last value of each number that a run measures: what a list of runs shows in a column.

Most steps of a training have the same names, so of events alike the newest alone is kept, and
taken apart when somebody looks.
"""

from collections.abc import Mapping
from typing import Any, Final

from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.measures import SAMPLED, is_measured, measured
from realm_telemetry.folds.state.lattice import Records, RecordsDump

MAX_NUMBERS: Final = 64
"""Of a run; of more those stay that came last."""

_MAX_WAITING: Final = 16
_PLAIN: Final = frozenset((int, float))


class Latest:
    """The numbers of one run by name, each with its newest value. Order-free, and bounded."""

    __slots__ = ("_numbers", "_waiting")

    def __init__(self, limit: int = MAX_NUMBERS) -> None:
        self._numbers = Records(limit)
        # By kind, names and types: events alike in these set the same numbers.
        self._waiting: dict[tuple[Any, ...], tuple[Stamp, Mapping[str, Any]]] = {}

    def take(self, kind: str, details: Mapping[str, Any], stamp: Stamp) -> None:
        """Fold in one event."""
        if not details or kind == SAMPLED or not is_measured(kind):
            return
        types = tuple(map(type, details.values()))
        if not _PLAIN.issuperset(types):
            self._put(kind, details, stamp)
            return
        alike = (kind, *details, *types)
        known = self._waiting.get(alike)
        if known is None or known[0] < stamp:
            self._waiting[alike] = stamp, details
            if len(self._waiting) > _MAX_WAITING:
                self._fold()

    def _put(self, kind: str, details: Mapping[str, Any], stamp: Stamp) -> None:
        for name, value in measured(kind, details):
            self._numbers.put(name, stamp, {"last": value})

    def _fold(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for alike, (stamp, details) in waiting.items():
            self._put(alike[0], details, stamp)

    def merge(self, other: "Latest") -> None:
        """Fold in the numbers of a disjoint set of events."""
        self._fold()
        other._fold()
        self._numbers.merge(other._numbers)

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower all stamps, because the log's clock was ahead until then."""
        self._fold()
        self._numbers.set_back(arrival_unix_nano)

    def dump(self) -> RecordsDump:
        """Return the canonical content: equal sets of events give equal dumps."""
        self._fold()
        return self._numbers.dump()

    def load(self, dumped: RecordsDump) -> None:
        """Take over what `dump` returned."""
        self._numbers.load(dumped)

    def read(self) -> dict[str, float | str]:
        """Return the values by name, in order of the names; what is not finite is a word."""
        self._fold()
        cells = self._numbers.read()
        return {
            name: cells[name]["last"][1]
            for name in sorted(cells)
            if cells[name]["last"][1] is not None
        }
