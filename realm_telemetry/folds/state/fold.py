"""RealmState: what the log's events add up to, whatever order they come in."""

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.folds.state import (
    checkpoints,
    data,
    evals,
    guild,
    jobs,
    queue,
    system,
    training,
    vault,
    workers,
)
from realm_telemetry.folds.state.lattice import Records, RecordsDump, Stamp
from realm_telemetry.folds.state.section import (
    Reading,
    Reducer,
    Section,
    SectionDump,
    SectionSpec,
    bounded,
    identity,
)

FOLD_VERSION: Final = 1
"""Raised with every change of what a fold keeps; snapshots of another version are ignored."""

MAX_FURTHER_FIELDS: Final = 512
"""Fields kept of all sections together that only `section_updated` knows."""

_SPECS: Final[Mapping[str, SectionSpec]] = {
    "training": training.SPEC,
    "jobs": jobs.SPEC,
    "workers": workers.SPEC,
    "eval": evals.SPEC,
    "checkpoints": checkpoints.SPEC,
    "data": data.SPEC,
    "guild": guild.SPEC,
    "vault": vault.SPEC,
    "system": system.SPEC,
    "queue": queue.SPEC,
}

SECTIONS: Final = tuple(_SPECS)
"""The sections that `to_dict` always has; docs/state.md shows their shapes."""

_REDUCERS: Final[Mapping[str, tuple[str, Reducer]]] = {
    kind: (name, reducer)
    for name, spec in _SPECS.items()
    for kind, reducer in spec.reducers.items()
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

    Each field keeps the value with the greatest (time, event id), counters count unique events.
    States of disjoint sets of events merge into the state of their union. For one thread.
    """

    def __init__(self) -> None:
        self.cursor = 0
        self._counts: dict[str, int] = {}
        self._sections = {name: Section(spec.limits) for name, spec in _SPECS.items()}
        self._further = Records(MAX_FURTHER_FIELDS)

    def apply(self, event: Event, cursor: int) -> None:
        """Fold in one event. The caller applies each cursor of a log once."""
        if cursor > self.cursor:
            self.cursor = cursor
        kind = event.kind
        stamp = (event.time_unix_nano, event.producer, event.number)
        self._tally(event, stamp)
        found = _REDUCERS.get(kind)
        if found is not None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            found[1](self._sections[found[0]], event, stamp)
        elif kind == "section_updated":
            self._update_section(event, stamp)

    def merge(self, other: "RealmState") -> "RealmState":
        """Fold in the state of a disjoint set of events; return self. The other stays as it is."""
        self.cursor = max(self.cursor, other.cursor)
        for name, count in other._counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        for name, section in self._sections.items():
            section.merge(other._sections[name])
        self._further.merge(other._further)
        return self

    def to_dict(self, now_ns: int | None = None) -> dict[str, dict[str, Any]]:
        """Return {section: {...}}, JSON in the shapes of docs/state.md.

        now_ns: what ages are counted to; the present by default.
        """
        reading = self._reading(now_ns)
        shapes = {name: spec.view(self._sections[name], reading) for name, spec in _SPECS.items()}
        return self._further_sections() | shapes

    def section(self, name: str, now_ns: int | None = None) -> dict[str, Any]:
        """Return one section as in `to_dict`; KeyError if there is none of this name."""
        if name in _SPECS:
            return _SPECS[name].view(self._sections[name], self._reading(now_ns))
        return self._further_sections()[name]

    def told(self, name: str) -> dict[str, Any]:
        """Return what `section_updated` events have said of one section; empty if nothing."""
        if name not in _SPECS:
            return self._further_sections().get(name, {})
        records = self._sections[name].extra.read()
        return {field: cells["value"][1] for field, cells in records.items()}

    def dump(self) -> bytes:
        """Return the state with its stamps; equal sets of events give equal states."""
        return msgspec.msgpack.encode(self._dumped(), order="deterministic")

    @classmethod
    def load(cls, dumped: bytes) -> "RealmState":
        """Return the state that `dump` wrote.

        Raises ValueError if it is of another fold version or no dump at all.
        """
        read = msgspec.msgpack.decode(dumped, type=StateDump)
        if read.version != FOLD_VERSION or read.sections.keys() != _SPECS.keys():
            raise ValueError(f"a dump of fold version {read.version}, not {FOLD_VERSION}")
        state = cls()
        state.cursor, state._counts = read.cursor, read.counts
        for name, section in state._sections.items():
            section.load(read.sections[name])
        state._further.load(read.further)
        return state

    def _tally(self, event: Event, stamp: Stamp) -> None:
        counts = self._counts
        counts["events"] = counts.get("events", 0) + 1
        severities = system.TALLIES.get(event.channel)
        name = severities and severities.get(event.severity)
        if name:
            counts[name] = counts.get(name, 0) + 1
        if event.severity == "warning" or event.severity == "error":
            system.notice(self._sections["system"], event, stamp)

    def _update_section(self, event: Event, stamp: Stamp) -> None:
        name, fields = identity(event.details, "section"), event.details.get("data")
        if name is None or not isinstance(fields, dict):
            return
        if name == "workers":
            workers.update(self._sections[name], event, stamp, fields)
        elif name in _SPECS:
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
