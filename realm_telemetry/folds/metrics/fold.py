"""The fold of events into metrics: each event once, in the log's order."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import Stamp, set_back_before, stamp_of
from realm_telemetry.folds.metrics.definition import Definition
from realm_telemetry.folds.metrics.instruments import Attribute
from realm_telemetry.folds.metrics.machine import SAMPLED, MachineInstrument, readings
from realm_telemetry.folds.metrics.series import (
    Count,
    Distribution,
    Key,
    Latest,
    Series,
    key_reader,
    number,
)
from realm_telemetry.folds.runtime import Row
from realm_telemetry.values.paths import find

FOLD_VERSION: Final = 1
"""Raised with every change of what is kept; a dump of another version is ignored."""

_MOST_KINDS: Final = 10_000

_Group = tuple[Callable[[Event], Key], list[tuple[str | None, Series]]]
_Dumped = list[tuple[Key | None, Count | Latest | Distribution]]


class _Dump(msgspec.Struct, array_like=True):
    """instruments: their digests; version 0.1.0 did not write them."""

    definition: str
    cursor: int
    start_unix_nano: int
    series: dict[str, _Dumped]
    instruments: dict[str, str] = {}


class Metrics:
    """All metrics of a log, or of a part of it. For one thread at a time.

    cursor: of the last event folded in.
    start_unix_nano: the arrival of the first, which is where its counters began at 0; 0 before.
    """

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self.cursor = 0
        self.start_unix_nano = 0
        self._series = {
            each.name: Series(each, definition.max_series) for each in definition.instruments
        }
        self._by_kind: dict[str, list[_Group]] = {}
        self._missing: set[str] = set()

    def apply(self, event: Event, cursor: int) -> None:
        """Fold in one event; one at or before the cursor is known already."""
        if cursor <= self.cursor:
            return
        self.cursor = cursor
        if not self.start_unix_nano:
            self.start_unix_nano = event.observed_unix_nano or event.time_unix_nano
        stamp = stamp_of(event)
        details = event.details
        for read_key, members in self._for_kind(event.kind):
            key = read_key(event)
            for detail, series in members:
                value = 1.0 if detail is None else number(find(details, detail))
                if value is not None and series.instrument.takes(value):
                    series.add(key, value, stamp)
        if event.kind == SAMPLED:
            self._measure(event, stamp)

    def _measure(self, event: Event, stamp: Stamp) -> None:
        """Take the numbers of a sample of the machine."""
        for name, key, value in readings(event):
            series = self._series.get(name)
            if series is not None:
                series.add(key, value, stamp)

    def take(self, rows: Sequence[Row]) -> None:
        """Fold in rows of the log; those at or before the cursor are in it already."""
        for row in rows:
            if (arrival := set_back_before(row)) is not None and row.cursor > self.cursor:
                self.set_back(arrival)
            self.apply(row.event, row.cursor)

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower the stamps of all that is folded: the log's clock was ahead until an arrival."""
        for series in self._series.values():
            series.set_back(arrival_unix_nano)

    def __iter__(self) -> Iterator[Series]:
        """The series of each instrument, in the order of the table."""
        return iter(self._series.values())

    def __getitem__(self, name: str) -> Series:
        """The series of one instrument. Raises KeyError."""
        return self._series[name]

    def dump(self) -> bytes:
        """All of it as bytes, for `load`."""
        dump = _Dump(
            digest(self._definition),
            self.cursor,
            self.start_unix_nano,
            {name: list(each) for name, each in self._series.items()},
            _digests(self._definition),
        )
        return msgspec.msgpack.encode(dump)

    @classmethod
    def load(cls, dumped: bytes, definition: Definition) -> "Metrics":
        """Return what `dump` wrote; metrics that are defined differently are empty.

        Raises ValueError if it is no dump, or one of which no metric is left.
        """
        read = msgspec.msgpack.decode(dumped, type=_Dump)
        metrics = cls(definition)
        then, now = read.instruments or _digests_of_0_1(read, definition), _digests(definition)
        changed = {name for name in now if then.get(name) != now[name]}
        if len(changed) == len(now):
            raise ValueError("a dump of other instruments")
        metrics._missing = {name for name in changed if not metrics._is_of_machine(name)}
        metrics.cursor, metrics.start_unix_nano = read.cursor, read.start_unix_nano
        for name in metrics._series.keys() - changed:
            series, points = metrics._series[name], read.series.get(name, [])
            series.points = {key: point for key, point in points if key is not None}
            series.overflow = next((point for key, point in points if key is None), None)
        return metrics

    def _is_of_machine(self, name: str) -> bool:
        """Whether a metric is filled by the next sample: earlier ones are too old to be shown."""
        return isinstance(self._series[name].instrument, MachineInstrument)

    @property
    def incomplete(self) -> bool:
        """Whether metrics are empty because the snapshot had others."""
        return bool(self._missing)

    def fill(self, earlier: "Metrics") -> None:
        """Take the metrics that the snapshot did not have from those of the rows before."""
        for name in self._missing:
            self._series[name] = earlier._series[name]
        self._missing.clear()
        self._by_kind.clear()

    def _for_kind(self, kind: str) -> list[_Group]:
        found = self._by_kind.get(kind)
        if found is None:
            found = self._grouped(kind)
            # Kinds are few; a program that makes up new ones all the time must not fill the memory.
            if len(self._by_kind) < _MOST_KINDS:
                self._by_kind[kind] = found
        return found

    def _grouped(self, kind: str) -> list[_Group]:
        """The series that a kind's events go to; those of the same attributes share a key."""
        groups: dict[tuple[Attribute, ...], list[tuple[str | None, Series]]] = {}
        for each in self._series.values():
            instrument = each.instrument
            if isinstance(instrument, MachineInstrument):
                continue
            if not instrument.kinds or kind in instrument.kinds:
                members = groups.setdefault(instrument.attributes, [])
                members.append((instrument.detail, each))
        return [(key_reader(attributes), members) for attributes, members in groups.items()]


def digest(definition: Definition) -> str:
    """Identify instruments and limits: counts that others made do not continue."""
    text = msgspec.json.encode((FOLD_VERSION, definition), order="deterministic")
    return blake2b(text, digest_size=8).hexdigest()


def _digests_of_0_1(read: _Dump, definition: Definition) -> dict[str, str]:
    """The digests of the instruments in a dump that has one of all only, if all are as then."""
    known = tuple(each for each in definition.instruments if each.name in read.series)
    same = Definition(known, definition.max_series)
    return _digests(same) if digest(same) == read.definition else {}


def _digests(definition: Definition) -> dict[str, str]:
    """The digest of each instrument alone, by its name."""
    limit = definition.max_series
    return {each.name: digest(Definition((each,), limit)) for each in definition.instruments}
