"""The curves of one run: what its events measure, in a bounded number of buckets.

A curve is one name of one rank; it has a strand for each process, because a later attempt of a run
passes the same steps again. All bounds depend on the set of events alone: of too many curves those
stay that sort first, and every further curve lowers how many buckets each may have.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import UNDERWAY_NS
from realm_telemetry.folds.curves.numbers import Numbers, numbers_of
from realm_telemetry.folds.curves.strand import Strand, StrandDump
from realm_telemetry.values.rank import rank_of

MAX_CURVES: Final = 512
"""Of rank 0 and of processes without a rank; and again of all other ranks."""

MAX_BUCKETS: Final = 512
MIN_BUCKETS: Final = 32
ALL_BUCKETS: Final = 20_480
"""Of a process, over all its curves; each curve has between MIN_BUCKETS and MAX_BUCKETS."""

MAX_PROCESSES: Final = 16
"""Of one curve; with more of them their values are kept together, as of one process."""

CHUNK: Final = 256
"""Events that wait before they are folded together, which is several times faster."""

_TOGETHER: Final = ""


class Key(NamedTuple):
    """Which curve: what sorts first is kept first. rank: -1 for none. order: short names first."""

    rank: int
    order: int
    name: str
    has_steps: bool


def key_of(rank: int | None, name: str, has_steps: bool) -> Key:
    """Return the key of a curve."""
    return Key(-1 if rank is None else rank, len(name), name, has_steps)


class Curve:
    """One name of one rank. kind: of the events it comes from; of several the first by name."""

    __slots__ = ("kind", "strands")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.strands: dict[str, Strand] = {}

    @property
    def is_together(self) -> bool:
        """Whether there were too many processes to keep them apart."""
        return _TOGETHER in self.strands

    def strand(self, producer: str) -> Strand:
        """Return the strand of a process."""
        if self.is_together:
            producer = _TOGETHER
        found = self.strands.get(producer)
        if found is None:
            found = self.strands[producer] = Strand()
            if len(self.strands) > MAX_PROCESSES:
                return self._joined()
        return found

    def _joined(self) -> Strand:
        found = Strand()
        for strand in self.strands.values():
            found.merge(strand)
        self.strands = {_TOGETHER: found}
        return found

    def merge(self, other: "Curve") -> None:
        """Fold in the curve of other events."""
        self.kind = min(self.kind, other.kind)
        for producer, strand in other.strands.items():
            self.strand(producer).merge(strand)

    def dump(self, key: Key) -> "CurveDump":
        """Return what is stored of it."""
        strands = {name: self.strands[name].dump() for name in sorted(self.strands)}
        return CurveDump(key, self.kind, strands)

    def copy(self) -> "Curve":
        """Return a curve of its own with the same content."""
        found = Curve(self.kind)
        found.strands = {producer: strand.copy() for producer, strand in self.strands.items()}
        return found


class CurveDump(msgspec.Struct, array_like=True):
    """A curve as it is stored."""

    key: Key
    kind: str
    strands: dict[str, StrandDump]


class GroupDump(msgspec.Struct, array_like=True):
    """Curves as they are stored. is_cut: whether there were more than are kept."""

    is_cut: bool
    curves: list[CurveDump]


class Group:
    """Curves that share their bounds."""

    __slots__ = ("_most", "curves", "is_cut")

    def __init__(self) -> None:
        self.curves: dict[Key, Curve] = {}
        self.is_cut = False
        self._most = MAX_BUCKETS

    def curve(self, key: Key, kind: str) -> Curve:
        """Return a curve, a new one if need be."""
        found = self.curves.get(key)
        if found is None:
            return self.curves.setdefault(key, Curve(kind))
        if kind < found.kind:
            found.kind = kind
        return found

    def keep_bounds(self, touched: Sequence[Strand] | None = None) -> None:
        """Drop what is beyond the bounds. touched: strands that have grown; None for all."""
        if len(self.curves) > MAX_CURVES:
            self.is_cut = True
            for key in sorted(self.curves)[MAX_CURVES:]:
                del self.curves[key]
        most = ALL_BUCKETS // max(len(self.curves), 1)
        most = min(max(most, MIN_BUCKETS), MAX_BUCKETS)
        if most != self._most or touched is None:
            self._most = most
            touched = [s for curve in self.curves.values() for s in curve.strands.values()]
        for strand in touched:
            strand.limit(most)

    def merge(self, other: "Group") -> None:
        """Fold in the curves of other events."""
        self.is_cut = self.is_cut or other.is_cut
        for key, curve in other.curves.items():
            self.curve(key, curve.kind).merge(curve)
        self.keep_bounds()

    def copy(self) -> "Group":
        """Return a group of its own with the same content."""
        found = Group()
        found.curves = {key: curve.copy() for key, curve in self.curves.items()}
        found.is_cut, found._most = self.is_cut, self._most
        return found

    def dump(self) -> GroupDump:
        """Return what `load` reads."""
        curves = sorted(self.curves.items(), key=lambda item: item[0])
        return GroupDump(self.is_cut, [curve.dump(key) for key, curve in curves])

    @classmethod
    def load(cls, read: GroupDump) -> "Group":
        """Return the group that was dumped."""
        found = cls()
        found.is_cut = read.is_cut
        for each in read.curves:
            curve = found.curves[each.key] = Curve(each.kind)
            curve.strands = {name: Strand.load(strand) for name, strand in each.strands.items()}
        found.keep_bounds()
        return found


class CurvesDump(msgspec.Struct, array_like=True):
    """The curves of a run as they are stored; a later version adds fields at the end."""

    version: int
    lead: GroupDump
    others: GroupDump


_VERSION: Final = 1
_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
_decoder: Final = msgspec.msgpack.Decoder(CurvesDump)


class RunCurves:
    """The curves of one run. See the top of this module."""

    __slots__ = ("_feeds", "lead", "others")

    def __init__(self) -> None:
        self.lead, self.others = Group(), Group()
        self._feeds: dict[tuple[str, str], list[Event]] = {}

    def add(self, event: Event) -> None:
        """Fold in one event, of a kind that measures."""
        key = (event.producer, event.kind)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = []
        feed.append(event)
        if len(feed) >= CHUNK:
            del self._feeds[key]
            self._take(*key, feed)

    def fold(self) -> None:
        """Fold together the events that are kept as they are."""
        feeds, self._feeds = self._feeds, {}
        for (producer, kind), events in feeds.items():
            self._take(producer, kind, events)

    def _take(self, producer: str, kind: str, events: Sequence[Event]) -> None:
        ranks = {rank_of(event) for event in events}
        for rank in ranks:
            of_rank = events if len(ranks) == 1 else [e for e in events if rank_of(e) == rank]
            group = self.others if rank else self.lead
            touched = [
                _put(group, key_of(rank, found.name, found.has_steps), kind, producer, found)
                for found in numbers_of(kind, of_rank)
            ]
            group.keep_bounds(touched)

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower all times, because the log's clock was ahead until then."""
        self.fold()
        for group in (self.lead, self.others):
            for curve in group.curves.values():
                for strand in curve.strands.values():
                    strand.set_back(arrival_unix_nano - UNDERWAY_NS)

    def merge(self, other: "RunCurves") -> None:
        """Fold in the curves of other events; those stay as they are."""
        self.fold()
        self.lead.merge(other.lead)
        self.others.merge(other.others)
        for (producer, kind), events in other._feeds.items():
            self._take(producer, kind, events)

    def copy(self) -> "RunCurves":
        """Return curves of their own with the same content."""
        found = RunCurves()
        found.lead, found.others = self.lead.copy(), self.others.copy()
        found._feeds = {key: list(events) for key, events in self._feeds.items()}
        return found

    def curves(self) -> Iterator[tuple[Key, Curve]]:
        """Yield all curves, sorted by key; rank 0 and processes without a rank first."""
        self.fold()
        for group in (self.lead, self.others):
            yield from sorted(group.curves.items(), key=lambda item: item[0])

    @property
    def is_cut(self) -> bool:
        """Whether there were more names, or ranks, than are kept."""
        return self.lead.is_cut or self.others.is_cut

    def dump(self) -> bytes:
        """Return all of it; equal sets of events give equal dumps."""
        self.fold()
        return _encoder.encode(CurvesDump(_VERSION, self.lead.dump(), self.others.dump()))

    @classmethod
    def load(cls, dumped: bytes) -> "RunCurves":
        """Return the curves that `dump` wrote. Raises ValueError."""
        read = _decoder.decode(dumped)
        if read.version > _VERSION:
            raise ValueError(f"curves of version {read.version}, newer than {_VERSION}")
        found = cls()
        found.lead, found.others = Group.load(read.lead), Group.load(read.others)
        return found


def _put(group: Group, key: Key, kind: str, producer: str, found: Numbers) -> Strand:
    strand = group.curve(key, kind).strand(producer)
    strand.add(found.column)
    if found.not_finite:
        strand.add_not_finite(found.not_finite, len(found.not_finite))
    return strand
