"""RealmState: what the log's events add up to, in any order of arrival."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import Stamp, set_back_before, stamp_of
from realm_telemetry.folds.runtime import Row
from realm_telemetry.folds.state import system, workers
from realm_telemetry.folds.state.artifacts import DATA, VAULT
from realm_telemetry.folds.state.checkpoints import CHECKPOINTS
from realm_telemetry.folds.state.evals import EVAL
from realm_telemetry.folds.state.guild import GUILD
from realm_telemetry.folds.state.jobs import JOBS, QUEUE
from realm_telemetry.folds.state.lattice import Records, RecordsDump
from realm_telemetry.folds.state.section import (
    Reading,
    Reducer,
    Section,
    SectionDump,
    SectionSpec,
)
from realm_telemetry.folds.state.system import SYSTEM
from realm_telemetry.folds.state.training import TRAINING
from realm_telemetry.folds.state.values import bounded, identity
from realm_telemetry.folds.state.workers import WORKERS

FOLD_VERSION: Final = 1
"""Raised with every section or collection that is added; snapshots of lower versions are read."""

MAX_FURTHER_FIELDS: Final = 512
"""Fields kept of all sections together that only `section_updated` knows."""

SPECS: Final[Mapping[str, SectionSpec]] = {
    "training": TRAINING,
    "jobs": JOBS,
    "workers": WORKERS,
    "eval": EVAL,
    "checkpoints": CHECKPOINTS,
    "data": DATA,
    "guild": GUILD,
    "vault": VAULT,
    "system": SYSTEM,
    "queue": QUEUE,
}
"""The table of sections."""

SECTIONS: Final = tuple(SPECS)
"""The sections that `to_dict` always has; docs/state.md shows their shapes."""

_REDUCERS: Final[Mapping[str, tuple[str, tuple[Reducer, ...]]]] = {
    kind: (name, spec.reducers(kind)) for name, spec in SPECS.items() for kind in spec.kinds
}


def section_of(kind: str) -> str | None:
    """Return the section that events of a kind change; None if none does."""
    found = _REDUCERS.get(kind)
    return None if found is None else found[0]


class StateDump(msgspec.Struct, array_like=True):
    """What a state writes into a snapshot."""

    version: int
    cursor: int
    counts: dict[str, int]
    sections: dict[str, SectionDump]
    further: RecordsDump


class RealmState:
    """A fold of events: pure, order-free and bounded.

    Each field keeps the value with the greatest stamp: time and event id, see folds.clock. Counters
    count unique events.
    States of disjoint sets of events merge into the state of their union. For one thread.
    """

    def __init__(self) -> None:
        self.cursor = 0
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._sections = {name: Section(spec.all_limits()) for name, spec in SPECS.items()}
        self._further = Records(MAX_FURTHER_FIELDS)
        self._missing: set[str] = set()

    def apply(self, event: Event, cursor: int) -> None:
        """Fold in one event. The caller applies each cursor of a log once."""
        if cursor > self.cursor:
            self.cursor = cursor
        kind = event.kind
        stamp = stamp_of(event)
        self._tally(event, stamp)
        found = _REDUCERS.get(kind)
        if found is not None:
            self._counts[kind] += 1
            section = self._sections[found[0]]
            for reduce in found[1]:
                reduce(section, event, stamp)
        elif kind == "section_updated":
            self._update_section(event, stamp)

    def take(self, rows: Sequence[Row]) -> None:
        """Fold in rows of the log; those at or before the cursor are in it already."""
        for row in rows:
            if row.cursor > self.cursor:
                if (arrival := set_back_before(row)) is not None:
                    self.set_back(arrival)
                self.apply(row.event, row.cursor)

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower the stamps of all that is folded: the log's clock was ahead until an arrival."""
        for section in self._sections.values():
            section.set_back(arrival_unix_nano)
        self._further.set_back(arrival_unix_nano)

    def merge(self, other: "RealmState") -> "RealmState":
        """Fold in the state of a disjoint set of events; return self. The other stays as it is."""
        self.cursor = max(self.cursor, other.cursor)
        for name, count in other._counts.items():
            self._counts[name] += count
        for name, section in self._sections.items():
            section.merge(other._sections[name])
        self._further.merge(other._further)
        return self

    def to_dict(self, now_ns: int | None = None) -> dict[str, dict[str, Any]]:
        """Return {section: {...}}, JSON in the shapes of docs/state.md.

        now_ns: what ages are counted to; the present by default.
        """
        reading = self._reading(now_ns)
        shapes = {name: spec.view(self._sections[name], reading) for name, spec in SPECS.items()}
        return self._further_sections() | shapes

    def section(self, name: str, now_ns: int | None = None) -> dict[str, Any]:
        """Return one section as in `to_dict`; KeyError if there is none of this name."""
        if name in SPECS:
            return SPECS[name].view(self._sections[name], self._reading(now_ns))
        return self._further_sections()[name]

    def updated_fields(self, name: str) -> dict[str, Any]:
        """Return the fields that `section_updated` events have set in one section."""
        if name not in SPECS:
            return self._further_sections().get(name, {})
        records = self._sections[name].extra.read()
        return {field: cells["value"][1] for field, cells in records.items()}

    def dump(self) -> bytes:
        """Return the state with its stamps; equal sets of events give equal states."""
        return msgspec.msgpack.encode(self._dumped(), order="deterministic")

    @classmethod
    def load(cls, dumped: bytes) -> "RealmState":
        """Return the state that `dump` wrote, in this version or an older one.

        Raises ValueError if it is of a newer version or no dump at all.
        """
        read = msgspec.msgpack.decode(dumped, type=StateDump)
        if read.version > FOLD_VERSION:
            raise ValueError(f"a dump of fold version {read.version}, newer than {FOLD_VERSION}")
        state = cls()
        state.cursor = read.cursor
        state._counts.update(read.counts)
        state._further.load(read.further)
        for name, section in state._sections.items():
            if name in read.sections:
                section.load(read.sections[name])
            else:
                state._begin(name)
        return state

    @property
    def incomplete(self) -> bool:
        """Whether the snapshot had no part of what this version keeps."""
        return bool(self._missing) or any(each.missing for each in self._sections.values())

    def fill(self, earlier: "RealmState") -> None:
        """Take the missing parts from a state of the rows up to this one's cursor."""
        for name in self._missing:
            self._sections[name].merge(earlier._sections[name])
            for kind in SPECS[name].kinds:
                if kind in earlier._counts:
                    self._counts.setdefault(kind, earlier._counts[kind])
        self._missing.clear()
        for name, section in self._sections.items():
            section.fill(earlier._sections[name])

    def _begin(self, name: str) -> None:
        """Begin a section that the snapshot does not have, with what programs reported of it."""
        self._missing.add(name)
        for record in self._further.read().values():
            stamp, (section, field, value) = record["field"]
            if section == name:
                self._sections[name].update(stamp, {field: value})

    def _tally(self, event: Event, stamp: Stamp) -> None:
        counts = self._counts
        counts["events"] += 1
        severities = system.TALLIES.get(event.channel)
        name = severities and severities.get(event.severity)
        if name:
            counts[name] += 1
        if event.severity == "warning" or event.severity == "error":
            system.notice(self._sections["system"], event, stamp)

    def _update_section(self, event: Event, stamp: Stamp) -> None:
        name, fields = identity(event.details, "section"), event.details.get("data")
        if name is None or not isinstance(fields, dict):
            return
        if name == "workers":
            workers.update(self._sections[name], event, stamp, fields)
        elif name in SPECS:
            self._sections[name].update(stamp, fields)
        else:
            for field, value in fields.items():
                kept = [name, field, bounded(value)]
                self._further.put(f"{name}\n{field}", stamp, {"field": kept})

    def _further_sections(self) -> dict[str, dict[str, Any]]:
        sections: dict[str, dict[str, Any]] = {}
        for _, cells in self._further.newest():
            name, field, value = cells["field"]
            sections.setdefault(name, {})[field] = value
        return sections

    def _reading(self, now_ns: int | None) -> Reading:
        lost = self._sections["workers"].records["lost"].read()
        now_ns = time.time_ns() if now_ns is None else now_ns
        return Reading(now_ns, self._sections, self._counts, frozenset(lost))

    def _dumped(self) -> StateDump:
        sections = {name: section.dump() for name, section in self._sections.items()}
        return StateDump(FOLD_VERSION, self.cursor, self._counts, sections, self._further.dump())
