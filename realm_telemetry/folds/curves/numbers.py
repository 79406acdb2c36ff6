"""The numbers among the details of events, by the names of their curves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from math import floor, isnan
from typing import Any, Final, NamedTuple

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import stamp_of
from realm_telemetry.folds.curves.strand import Column, NotFinite, Number
from realm_telemetry.folds.measures import MAX_DEPTH, SAMPLED, may_measure, named_by
from realm_telemetry.folds.state.values import number
from realm_telemetry.values.conversions import NOT_FINITE
from realm_telemetry.values.paths import MAX_PATH_CHARS

_LARGEST: Final = 2**62
_BEYOND: Final = 1e300
_INTEGERS: Final = (-(2**63), 2**63 - 1)

_OF_THE_RUN: Final = {
    "rss_bytes": "memory/rss_bytes",
    "container_memory_bytes": "memory/container_bytes",
    "host_memory_available_bytes": "memory/host_available_bytes",
    "memory_stall_percent": "memory/stall_percent",
    "cpu_percent": "cpu/percent",
    "host_cpu_percent": "cpu/host_percent",
}
_OF_A_GPU: Final = (
    *("utilization_percent", "memory_used_bytes", "temperature_c", "power_w"),
    "uncorrected_errors",
)
MACHINE: Final = frozenset(("cpu", "disk", "gpu", "memory"))
"""The prefixes of what is sampled of the machine."""

MAX_GPUS: Final = 64


class Numbers(NamedTuple):
    """One name of some events of one process.

    has_steps: whether its places are steps; else times in milliseconds.
    """

    name: str
    has_steps: bool
    column: Column
    not_finite: Sequence[NotFinite]


def numbers_of(kind: str, events: Sequence[Event]) -> Iterator[Numbers]:
    """Yield what events of one kind and process measure, by name."""
    if kind == SAMPLED:
        yield from _of_rows(_Rows.at_times(events, [sampled(e.details) for e in events]), str)
        return
    details = [event.details for event in events]
    steps = [_step(each.get("step")) for each in details]
    known = [step is not None for step in steps]
    if all(known):
        yield from _of_rows(_Rows.at_steps(events, details, steps), named_by(kind))
        return
    if any(known):
        with_steps = list(compress(events, known)), list(compress(details, known))
        found = _Rows.at_steps(*with_steps, list(compress(steps, known)))
        yield from _of_rows(found, named_by(kind))
    others = [not each for each in known]
    timed = _Rows.at_times(list(compress(events, others)), list(compress(details, others)))
    yield from _of_rows(timed, named_by(kind))


def _step(value: Any) -> int | None:
    if type(value) is not int:
        if type(value) is not float or number(value) is None:
            return None
        value = floor(value)
    return value if -_LARGEST < value < _LARGEST else None


class _Rows(NamedTuple):
    """Rows of one kind and process in order of place and number."""

    has_steps: bool
    places: Sequence[int]
    numbers: Sequence[int]
    times_ns: Sequence[int]
    details: Sequence[Mapping[str, Any]]

    @classmethod
    def at_steps(
        cls, events: Sequence[Event], details: Sequence[Mapping[str, Any]], steps: Sequence[Any]
    ) -> "_Rows":
        times = [stamp_of(event)[0] for event in events]
        return _sorted(cls(True, list(steps), [e.number for e in events], times, details))

    @classmethod
    def at_times(cls, events: Sequence[Event], details: Sequence[Mapping[str, Any]]) -> "_Rows":
        times = [stamp_of(event)[0] for event in events]
        places = [time_ns // 1_000_000 for time_ns in times]
        return _sorted(cls(False, places, [e.number for e in events], times, details))

    def only(self, wanted: list[bool]) -> "_Rows":
        """Return some of the rows."""
        columns: tuple[Sequence[Any], ...] = self[1:]
        return _Rows._make((self.has_steps, *(list(compress(each, wanted)) for each in columns)))


def _sorted(rows: _Rows) -> _Rows:
    order = list(zip(rows.places, rows.numbers, strict=True))
    if all(map(tuple.__le__, order, order[1:])):
        return rows
    places = sorted(range(len(order)), key=order.__getitem__)
    columns: tuple[Sequence[Any], ...] = rows[1:]
    return _Rows._make((rows.has_steps, *([each[at] for at in places] for each in columns)))


def _of_rows(
    rows: _Rows, named: Callable[[str], str], before: str = "", depth: int = 1
) -> Iterator[Numbers]:
    for key in sorted(set().union(*rows.details)):
        if not before and not may_measure(key):
            continue
        name = named(before + key)
        if not name or len(name) > MAX_PATH_CHARS:
            continue
        values: list[Any] = [each.get(key) for each in rows.details]
        if _are_finite(values):
            column = Column(rows.places, rows.numbers, values, rows.times_ns)
            yield Numbers(name, rows.has_steps, column, ())
            continue
        found = _sifted(rows, name, values)
        if found is not None:
            yield found
        nested = [type(value) is dict for value in values]
        if depth < MAX_DEPTH and any(nested):
            inner = rows.only(nested)._replace(details=list(compress(values, nested)))
            yield from _of_rows(inner, named, f"{before}{key}.", depth + 1)


def _are_finite(values: list[Any]) -> bool:
    """Whether all are finite numbers; most columns are."""
    kinds = set(map(type, values))
    if kinds == {float}:
        # NaN passes every comparison that is not made with its sum.
        is_within = min(values) > -_BEYOND and max(values) < _BEYOND
        return bool(is_within and not isnan(sum(values)))
    return bool(kinds == {int} and min(values) >= _INTEGERS[0] and max(values) <= _INTEGERS[1])


def _sifted(rows: _Rows, name: str, values: list[Any]) -> Numbers | None:
    """Take the numbers out of values of any type; None if there are none."""
    finite: list[Number | None] = [number(value) for value in values]
    known = [value is not None for value in finite]
    bad = [
        NotFinite(place, at, value, time_ns)
        for value, place, at, time_ns in zip(
            values, rows.places, rows.numbers, rows.times_ns, strict=True
        )
        if type(value) is str and value in NOT_FINITE
    ]
    if not bad and not any(known):
        return None
    kept = rows.only(known)
    numbers = [value for value in finite if value is not None]
    column = Column(kept.places, kept.numbers, numbers, kept.times_ns)
    return Numbers(name, rows.has_steps, column, bad)


def sampled(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a sample of the machine, by the names of their curves."""
    found = {name: details[key] for key, name in _OF_THE_RUN.items() if key in details}
    for key, value in details.items():
        if key.endswith("_free_bytes"):
            found[f"disk/{key}"] = value
    gpus = details.get("gpus")
    for place, gpu in enumerate(gpus[:MAX_GPUS] if isinstance(gpus, list) else ()):
        if isinstance(gpu, dict):
            index = gpu.get("index", place)
            found |= {f"gpu/{index}/{key}": gpu[key] for key in _OF_A_GPU if key in gpu}
    return found
