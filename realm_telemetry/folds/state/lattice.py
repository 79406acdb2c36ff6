"""The order-free containers that RealmState is made of.

A cell holds the value with the greatest stamp that it was ever given, so neither order nor
repetition matters. A stamp is `(time_unix_nano, producer, number)`, which orders like (time, event
id); a container that looks for the least loss puts the negated loss in front of it.

`Records` is bounded and order-free at once. Let the rank of a record be its greatest stamp, and
let the floor of a set of events be the rank of the first record beyond the limit. Ranks only
grow, so the floor only rises as events are added. The kept content is defined as *the cells whose
stamp is above the floor*; it depends on the set alone, because all that a partial fold has dropped
lay below its own floor, which is at or below the final one. The price: when more keys than the
limit have been seen, a kept record has lost those of its cells that are older than the floor.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from realm_telemetry.folds.clock import Stamp, lowered

Cell = tuple[Stamp, Any]
Cells = dict[str, Cell]
Rank = tuple[Stamp, str]
"""A stamp and a record's key; the key divides records that one event has touched."""


def put(cells: Cells, name: str, stamp: Stamp, value: Any) -> None:
    """Set a cell unless it holds the value of a greater stamp."""
    old = cells.get(name)
    if old is None or old[0] < stamp:
        cells[name] = (stamp, value)


def put_all(cells: Cells, stamp: Stamp, fields: Mapping[str, Any]) -> None:
    """Set several cells that one event speaks of."""
    for name, value in fields.items():
        put(cells, name, stamp, value)


def join(cells: Cells, other: Cells) -> None:
    """Fold the other cells into these."""
    for name, (stamp, value) in other.items():
        put(cells, name, stamp, value)


def lower(cells: Cells, arrival_unix_nano: int) -> Cells:
    """Return the cells with their stamps lowered to an arrival."""
    return {
        name: (lowered(stamp, arrival_unix_nano), value) for name, (stamp, value) in cells.items()
    }


def values(cells: Cells) -> dict[str, Any]:
    """Return the cells' values without their stamps."""
    return {name: value for name, (_, value) in cells.items()}


class RecordsDump(msgspec.Struct, array_like=True):
    """What `Records` writes into a snapshot."""

    floor: Rank | None
    records: dict[str, Cells]


class Records:
    """Cells by key, of the `limit` keys with the greatest stamps. See the top of this module."""

    __slots__ = ("_floor", "_records", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._floor: Rank | None = None
        self._records: dict[str, Cells] = {}

    def put(self, key: str, stamp: Stamp, fields: Mapping[str, Any]) -> None:
        """Set cells of one record; fields must not be empty, for a rank is a cell's stamp."""
        if self._floor is not None and (stamp, key) <= self._floor:
            return
        record = self._records.get(key)
        if record is None:
            self._records[key] = {name: (stamp, value) for name, value in fields.items()}
            # Twice the limit before pruning: sorting at each new key would make a flood quadratic.
            if len(self._records) > 2 * self.limit:
                self._prune()
            return
        for name, value in fields.items():
            old = record.get(name)
            if old is None or old[0] < stamp:
                record[name] = (stamp, value)

    def merge(self, other: "Records") -> None:
        """Fold the records of a disjoint set of events into these."""
        floors = [floor for floor in (self._floor, other._floor) if floor is not None]
        self._floor = max(floors, default=None)
        for key, cells in other._records.items():
            join(self._records.setdefault(key, {}), cells)
        self._drop_below_floor()
        self._prune()

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower all stamps, because the log's clock was ahead until then."""
        if self._floor is not None:
            stamp, key = self._floor
            self._floor = (lowered(stamp, arrival_unix_nano), key)
        self._records = {
            key: lower(cells, arrival_unix_nano) for key, cells in self._records.items()
        }

    def read(self) -> Mapping[str, Cells]:
        """Return the kept records by key."""
        self._prune()
        return self._records

    def newest(self, count: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (key, values) by rank, newest first."""
        records = self.read()
        for _, key in sorted(map(_rank, records.items()), reverse=True)[:count]:
            yield key, values(records[key])

    def get(self, key: str) -> dict[str, Any]:
        """Return the values of one record, empty if it is not kept."""
        return values(self.read().get(key, {}))

    def dump(self) -> RecordsDump:
        """Return the canonical content: equal sets of events give equal dumps."""
        self._prune()  # first, for it moves the floor
        return RecordsDump(self._floor, self._records)

    def load(self, dumped: RecordsDump) -> None:
        """Take over what `dump` returned."""
        self._floor, self._records = dumped.floor, dumped.records
        self._prune()

    def _prune(self) -> None:
        if len(self._records) <= self.limit:
            return
        ranks = sorted(map(_rank, self._records.items()), reverse=True)
        self._floor = ranks[self.limit]
        self._drop_below_floor()

    def _drop_below_floor(self) -> None:
        floor = self._floor
        if floor is None:
            return
        above = {
            key: {name: cell for name, cell in cells.items() if (cell[0], key) > floor}
            for key, cells in self._records.items()
        }
        self._records = {key: cells for key, cells in above.items() if cells}


def _rank(item: tuple[str, Cells]) -> Rank:
    key, cells = item
    return max(stamp for stamp, _ in cells.values()), key
