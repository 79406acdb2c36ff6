"""What the sections have in common: their containers, and how events and readers meet them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event, format_time
from realm_telemetry.folds.state.lattice import Cells, Records, RecordsDump, Stamp, join, values

MAX_TEXT: Final = 2_000
"""Characters of a text that a field keeps."""

MAX_NESTED_BYTES: Final = 16_384
"""Encoded size of a list or object that a field keeps."""

MAX_EXTRA_FIELDS: Final = 128
"""Fields that `section_updated` may add to one section."""

_NAMING: Final = (str, int, float)
_INTEGERS: Final = range(-(2**63), 2**63)


class SectionDump(msgspec.Struct, array_like=True):
    """What a section writes into a snapshot."""

    cells: Cells
    records: dict[str, RecordsDump]


class Section:
    """One section's cells and named records; `extra` holds what `section_updated` brought.

    limits: for each collection of records, how many are kept.
    """

    __slots__ = ("cells", "extra", "records")

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.cells: Cells = {}
        self.records = {name: Records(limit) for name, limit in limits.items()}
        self.extra = self.records.setdefault("extra", Records(MAX_EXTRA_FIELDS))

    def merge(self, other: "Section") -> None:
        """Fold the section of a disjoint set of events into this one."""
        join(self.cells, other.cells)
        for name, records in self.records.items():
            records.merge(other.records[name])

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

    def dump(self) -> SectionDump:
        """Return the canonical content."""
        return SectionDump(self.cells, {name: kept.dump() for name, kept in self.records.items()})

    def load(self, dumped: SectionDump) -> None:
        """Take over what `dump` returned."""
        self.cells = dumped.cells
        for name, records in self.records.items():
            records.load(dumped.records[name])


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

    reducers: what each kind does to the section.
    view: the section as JSON.
    limits: bounds of its collections.
    """

    reducers: Mapping[str, Reducer]
    view: View
    limits: Mapping[str, int]


def pick(details: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the named details that are there and not None, each within bounds."""
    picked = {}
    for name in names:
        value = details.get(name)
        if value is not None:
            picked[name] = value if type(value) is float else bounded(value)
    return picked


def bounded(value: Any) -> Any:
    """Return a JSON value within the bounds that state keeps; larger ones are marked."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value in _INTEGERS else str(value)
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
    size = _encoded_size(value)
    return value if size <= MAX_NESTED_BYTES else {"truncated": True, "size_bytes": size}


def _encoded_size(value: Any) -> int:
    try:
        return len(msgspec.msgpack.encode(value))
    except (OverflowError, TypeError):
        return MAX_NESTED_BYTES + 1


def identity(details: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of the named details as a record's key, None if none is fit for one."""
    for name in names:
        value = details.get(name)
        if type(value) in _NAMING and value != "":
            return str(value)[:200]
    return None


STATUS_OF: Final = {
    "started": "running",
    "resumed": "running",
    "submitted": "waiting",
    "retried": "waiting",
}
"""Status that a lifecycle event leads to, where it is not the last word of the kind itself."""


def transition(event: Event) -> dict[str, Any]:
    """Return the status, error and time fields that a lifecycle event sets."""
    word = event.kind.partition("_")[2]
    status = STATUS_OF.get(word, word)
    # A new attempt clears the error of the one before.
    error = event.details.get("error") if status == "failed" else None
    return {"status": status, "error": bounded(error), f"{word}_at": event.time_unix_nano}


def number(value: Any) -> float | None:
    """Return a finite number as it is, None for anything else ("NaN" among the losses)."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return value
    return None


def shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as readers see them: times (`..._at`, kept in nanoseconds) as text."""
    return {
        name: format_time(value) if name.endswith("_at") and type(value) is int else value
        for name, value in fields.items()
    }


def complete(names: Iterable[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with None for each documented name that nothing has set yet."""
    return dict.fromkeys(names) | dict(fields)
