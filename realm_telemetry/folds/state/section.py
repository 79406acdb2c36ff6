"""What the sections have in common: their containers, and how events and readers meet them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.state.lattice import (
    Cells,
    Records,
    RecordsDump,
    join,
    lower,
    put_all,
    values,
)
from realm_telemetry.folds.state.table import Table, plan
from realm_telemetry.folds.state.values import bounded, shown

MAX_EXTRA_FIELDS: Final = 128
"""Fields that `section_updated` may add to one section."""

EXTRA: Final = "extra"
"""The records that hold them."""


class SectionDump(msgspec.Struct, array_like=True):
    """What a section writes into a snapshot."""

    cells: Cells
    records: dict[str, RecordsDump]


class Section:
    """One section's cells and named records; `extra` holds what `section_updated` brought.

    limits: for each collection of records, how many are kept.
    missing: collections that the snapshot did not have from which this was loaded.
    """

    __slots__ = ("cells", "extra", "missing", "records")

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.cells: Cells = {}
        self.records = {name: Records(limit) for name, limit in limits.items()}
        self.extra = self.records.setdefault(EXTRA, Records(MAX_EXTRA_FIELDS))
        self.missing: set[str] = set()

    def merge(self, other: "Section") -> None:
        """Fold the section of a disjoint set of events into this one."""
        join(self.cells, other.cells)
        for name, records in self.records.items():
            records.merge(other.records[name])

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower all stamps, because the log's clock was ahead until then."""
        self.cells = lower(self.cells, arrival_unix_nano)
        for records in self.records.values():
            records.set_back(arrival_unix_nano)

    def update(self, stamp: Stamp, data: Mapping[str, Any]) -> None:
        """Keep the fields of a `section_updated` event."""
        for name, value in data.items():
            self.extra.put(name, stamp, {"value": bounded(value)})

    def flat(self, cells: Cells | None = None) -> dict[str, Any]:
        """Return the newest of each field: from the given cells (the section's own), or extra."""
        own = self.cells if cells is None else cells
        fields = shown(values(own))
        for name, record in self.extra.read().items():
            stamp, value = record["value"]
            if name not in own or own[name][0] < stamp:
                fields[name] = value
        return fields

    def newest(self, table: Table, count: int | None = None) -> Iterator[tuple[str, Any]]:
        """Yield key and record of a table as readers see them, newest first."""
        for key, fields in self.records[table.records].newest(count):
            yield key, table.show(fields)

    def dump(self) -> SectionDump:
        """Return the canonical content."""
        return SectionDump(self.cells, {name: kept.dump() for name, kept in self.records.items()})

    def load(self, dumped: SectionDump) -> None:
        """Take over what `dump` returned, by this version or an older one."""
        self.cells = dumped.cells
        for name, records in self.records.items():
            if name in dumped.records:
                records.load(dumped.records[name])
            else:
                self.missing.add(name)

    def fill(self, earlier: "Section") -> None:
        """Take the missing collections from the section of the events before."""
        for name in self.missing:
            self.records[name].merge(earlier.records[name])
        self.missing.clear()


class Reading(msgspec.Struct, frozen=True):
    """What a view may look at besides its own section.

    now_ns: when it is read; ages and staleness are computed against it.
    counts: unique events by kind, and by `channel/severity`.
    lost: producers that ended without goodbye.
    """

    now_ns: int
    sections: Mapping[str, Section]
    counts: Mapping[str, int]
    lost: frozenset[str]

    def totals(self, kinds: Iterable[str]) -> dict[str, int]:
        """Return how many events of each kind there were."""
        return {kind: self.counts.get(kind, 0) for kind in kinds}


Reducer = Callable[[Section, Event, Stamp], None]
View = Callable[[Section, Reading], dict[str, Any]]


class SectionSpec(msgspec.Struct, frozen=True):
    """One row of the table of sections.

    kinds: of the events that change the section, in the order of `totals`.
    tables: what they set.
    view: the section as JSON.
    limits: bounds of the collections that no table fills.
    also: what else a kind does to the section.
    """

    kinds: tuple[str, ...]
    tables: tuple[Table, ...]
    view: View
    limits: Mapping[str, int] = {}
    also: Mapping[str, Reducer] = {}

    def all_limits(self) -> dict[str, int]:
        """Return the bounds of all collections."""
        return {table.records: table.limit for table in self.tables if table.records} | dict(
            self.limits
        )

    def reducers(self, kind: str) -> tuple[Reducer, ...]:
        """Return what events of a kind do to the section."""
        filled = [_reducer(table, kind) for table in self.tables if kind in table.kinds]
        return (*filled, self.also[kind]) if kind in self.also else tuple(filled)


def _reducer(table: Table, kind: str) -> Reducer:
    fields_of = plan(table.rows, kind)
    name, key_of, rank_of = table.records, table.key, table.rank

    def set_cells(section: Section, event: Event, stamp: Stamp) -> None:
        put_all(section.cells, stamp, fields_of(event))

    def set_record(section: Section, event: Event, stamp: Stamp) -> None:
        fields, key = fields_of(event), key_of(event)
        if not fields or key is None:
            return
        rank = stamp if rank_of is None else rank_of(fields, stamp)
        if rank is not None:
            section.records[name].put(key, rank, fields)

    return set_record if name else set_cells
