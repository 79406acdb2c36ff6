"""What graphs and tables of the log show, whatever the engine: bars, series, counts by period."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from realm_telemetry.log.rows import Relation
from realm_telemetry.values.conversions import NOT_FINITE
from realm_telemetry.values.paths import MAX_PATH_CHARS, find

GROUPINGS: Final = ("channel", "severity", "kind", "run", "day", "hour")
"""What a summary can count by."""

MAX_POINTS: Final = 5_000
"""The most points of a series."""
MAX_BUCKETS: Final = 500
MAX_FIELDS: Final = 8

_S: Final = 1_000_000_000
_HOUR_NS: Final = 3600 * _S
_WIDTHS_NS: Final = tuple(
    seconds * _S
    for seconds in (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800)
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Bucket(msgspec.Struct, frozen=True):
    """One bar: times from start to before end, and how many by severity."""

    start_unix_nano: int
    end_unix_nano: int
    counts: dict[str, int]


class Histogram(msgspec.Struct, frozen=True):
    """Bars side by side, oldest first; their counts sum to `total`.

    width_ns: of every bucket but the first and last, which a span may cut.
    """

    buckets: list[Bucket]
    width_ns: int
    total: int
    relation: Relation
    as_of: int


def bar_edges(since: int, until: int, buckets: int) -> tuple[list[int], int]:
    """Where about `buckets` bars begin and the last one ends, and how wide they are.

    Empty for an empty span.
    """
    if since >= until:
        return [], _WIDTHS_NS[0]
    width = _width((until - since) // min(max(buckets, 1), MAX_BUCKETS))
    return [since, *range(since // width * width + width, until, width), until], width


def bar_of(moment: int, edges: list[int]) -> int | None:
    """The place of the bar that a time lies in; None if it lies in none."""
    if not edges[0] <= moment < edges[-1]:
        return None
    if len(edges) == 2 or moment < edges[1]:
        return 0
    return 1 + (moment - edges[1]) // (edges[2] - edges[1]) if len(edges) > 3 else 1


def _width(least: int) -> int:
    return next((width for width in _WIDTHS_NS if width >= least), _days(least))


def _days(least: int) -> int:
    day = 86_400 * _S
    return max(-(-least // day), 1) * day


Point = tuple[Any, ...]
"""(cursor, time in ms since 1970, step, a value for each field)."""


class Series(msgspec.Struct, frozen=True):
    """Points, oldest first.

    fields: what the values of a point are, after cursor, time and step. A value is a number, None,
        or one of "NaN", "Infinity", "-Infinity".
    sampled: whether there were too many rows to look at each.
    """

    fields: list[str]
    points: list[Point]
    sampled: bool


def detail_names(fields: Sequence[str]) -> tuple[str, ...]:
    """The names of details, each once. Raises ValueError for none, too many, or one too long."""
    names = tuple(dict.fromkeys(fields))
    if not 1 <= len(names) <= MAX_FIELDS:
        raise ValueError(f"name 1 to {MAX_FIELDS} details")
    for name in names:
        if not 0 < len(name) <= MAX_PATH_CHARS:
            raise ValueError(f"a name has 1 to {MAX_PATH_CHARS} characters, {name[:80]!r} has not")
    return names


def numbers(details: dict[str, Any], names: tuple[str, ...]) -> list[float | str | None]:
    """The step among details, and the values of some names; None for what is no number."""
    return [_number(find(details, name)) for name in ("step", *names)]


def _number(value: Any) -> float | str | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    return value if isinstance(value, str) and value in NOT_FINITE else None


def thin(points: list[Point], wanted: int) -> list[Point]:
    """Keep about `wanted` points: of each group of neighbours the least and the greatest.

    The first field decides; what is not a finite number is kept once a group.
    """
    if len(points) <= wanted:
        return points
    size = -(-len(points) * 2 // wanted)
    thinned: list[Point] = []
    for start in range(0, len(points), size):
        thinned += _extremes(points[start : start + size])
    return thinned


def _extremes(group: list[Point]) -> list[Point]:
    finite = [point for point in group if isinstance(point[3], int | float)]
    odd = [point for point in group if isinstance(point[3], str)][:1]
    ends = [min(finite, key=_first_value), max(finite, key=_first_value)] if finite else group[:1]
    return sorted({point[0]: point for point in [*ends, *odd]}.values(), key=lambda p: p[1:2])


def _first_value(point: Point) -> float:
    value: float = point[3]
    return value


@lru_cache(maxsize=4096)
def period(name: str, hour: int) -> str:
    """The day or hour (by `name`) that an hour since 1970 lies in, UTC."""
    moment = _EPOCH + timedelta(hours=hour)
    return f"{moment:%Y-%m-%d}" if name == "day" else f"{moment:%Y-%m-%dT%H:00:00Z}"


def cut_hours(
    since_ns: int | None, until_ns: int | None, first: int, end: int
) -> list[tuple[int, int]]:
    """The spans at both ends that are not whole hours."""
    if since_ns is not None and until_ns is not None and first >= end:
        middle = min(first * _HOUR_NS, until_ns)
        spans = [(since_ns, middle), (max(middle, since_ns), until_ns)]
        return [(start, stop) for start, stop in spans if start < stop]
    spans = []
    if since_ns is not None:
        spans.append((since_ns, min(first * _HOUR_NS, 2**63 - 1)))
    if until_ns is not None:
        spans.append((max(end * _HOUR_NS, -(2**63)), until_ns))
    return [(start, stop) for start, stop in spans if start < stop]
