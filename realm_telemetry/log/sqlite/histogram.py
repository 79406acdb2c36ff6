"""Events over time, stacked by severity."""

import sqlite3
import time
from collections import Counter
from itertools import pairwise
from typing import Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.counts import (
    BUDGET_S,
    Relation,
    are_exact,
    count_by_severity,
    rows_after,
)
from realm_telemetry.log.sqlite.plan import (
    OLDEST,
    TIME_PATH,
    Bounds,
    matching,
    newest,
    paths_for,
    residual,
)
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.tokens import NEWEST, Position

MAX_BUCKETS: Final = 500

_S: Final = 1_000_000_000
_WIDTHS_NS: Final = tuple(
    seconds * _S
    for seconds in (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800)
)
_STEP: Final = 4096
_ALL: Final = Filters()


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


def histogram(
    connection: sqlite3.Connection,
    filters: Filters,
    buckets: int,
    as_of: int,
    now_ns: int,
    search: SearchIndex,
) -> Histogram:
    """At most about `buckets` bars over the filters' span, or over all that they want."""
    buckets = min(max(buckets, 1), MAX_BUCKETS)
    since = filters.since_unix_nano
    if since is None:
        since = oldest_time(connection, filters)
    until = filters.until_unix_nano
    if until is None:
        until = max(now_ns, _newest_time(connection) + 1)
    if since is None or since >= until:
        return Histogram([], _WIDTHS_NS[0], 0, "eq", as_of)
    width = _width((until - since) // buckets)
    edges = [since, *range(since // width * width + width, until, width), until]
    if are_exact(filters):
        bars, relation = _counted(connection, filters, edges, as_of)
    elif filters.q:
        bars, relation = _searched(connection, filters, edges, as_of, search)
    else:
        bars, relation = _walked(connection, filters, edges, as_of)
    filled = [
        Bucket(start, end, dict(bar))
        for start, end, bar in zip(edges, edges[1:], bars, strict=False)
    ]
    return Histogram(filled, width, sum(bar.total() for bar in bars), relation, as_of)


Bars = list[Counter[str]]


def _counted(
    connection: sqlite3.Connection, filters: Filters, edges: list[int], as_of: int
) -> tuple[Bars, Relation]:
    bars = [count_by_severity(connection, filters, start, end) for start, end in pairwise(edges)]
    later, all_seen = rows_after(connection, filters, as_of)
    for moment, severity in later:
        index = _bar_of(moment, edges)
        if index is not None:
            bars[index][severity] -= 1
    return [+bar for bar in bars], "eq" if all_seen else "gte"


def _walked(
    connection: sqlite3.Connection, filters: Filters, edges: list[int], as_of: int
) -> tuple[Bars, Relation]:
    bars: Bars = [Counter() for _ in edges[1:]]
    path = paths_for(connection, filters)[0]
    rest = residual(filters, path.answers)
    before = Position(edges[-1], OLDEST)
    deadline = time.monotonic() + BUDGET_S
    while time.monotonic() < deadline:
        rows = newest(connection, path, Bounds(edges[0], before, as_of), _STEP)
        kept = matching(connection, rows, rest)
        _add(connection, [position.cursor for position in kept], edges, bars)
        if len(rows) < _STEP:
            return bars, "eq"
        before = rows[-1]
    return bars, "gte"


def _searched(
    connection: sqlite3.Connection,
    filters: Filters,
    edges: list[int],
    as_of: int,
    search: SearchIndex,
) -> tuple[Bars, Relation]:
    bars: Bars = [Counter() for _ in edges[1:]]
    below: int | None = as_of + 1
    deadline = time.monotonic() + BUDGET_S
    while below is not None and time.monotonic() < deadline:
        hits = search.query(connection, filters, below=below, limit=_STEP, deadline=deadline)
        _add(connection, hits.ids, edges, bars)
        below = hits.further
    return bars, "eq" if below is None else "gte"


def _add(connection: sqlite3.Connection, ids: list[int], edges: list[int], bars: Bars) -> None:
    rows = connection.execute(
        "SELECT time_unix_nano, severity FROM battle_log"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(ids).decode(),),
    )
    for moment, severity in rows:
        # An older row that is not filled in yet has no time.
        index = None if moment is None else _bar_of(moment, edges)
        if index is not None:
            bars[index][severity] += 1


def _bar_of(moment: int, edges: list[int]) -> int | None:
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


def oldest_time(connection: sqlite3.Connection, filters: Filters = _ALL) -> int | None:
    """The earliest time that the filters' best path knows; None if it has no row."""
    path = paths_for(connection, filters)[0]
    query = f"SELECT time_unix_nano {path.source()} ORDER BY time_unix_nano LIMIT 1"
    found = [connection.execute(query, group).fetchone() for group in path.groups]
    return min((row[0] for row in found if row), default=None)


def _newest_time(connection: sqlite3.Connection) -> int:
    rows = newest(connection, TIME_PATH, Bounds(OLDEST, NEWEST, 2**63 - 1), 1)
    return rows[0].time_unix_nano if rows else OLDEST
