"""Events over time, stacked by severity."""

import sqlite3
import time
from collections import Counter
from itertools import pairwise
from typing import Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.graphs import Bucket, Histogram, bar_edges, bar_of
from realm_telemetry.log.rows import Relation
from realm_telemetry.log.sqlite.counts import BUDGET_S, count_by_severity, rows_after
from realm_telemetry.log.sqlite.foreign_text import name_of
from realm_telemetry.log.sqlite.inserts import last_cursor
from realm_telemetry.log.sqlite.older import are_unfilled
from realm_telemetry.log.sqlite.plan import (
    ALL,
    OLDEST,
    TIME_PATH,
    AccessPath,
    Bounds,
    Plan,
    matching,
    newest,
    position,
)
from realm_telemetry.log.sqlite.transaction import ReadTransaction
from realm_telemetry.log.tokens import NEWEST, Position

_STEP: Final = 4096


def histogram(
    log: ReadTransaction, filters: Filters, buckets: int = 60, as_of: int | None = None
) -> Histogram:
    """Counts over time by severity, of the rows that match.

    buckets: about how many bars, over the filters' span or over all that they want.
    """
    highest = last_cursor(log.connection)
    as_of = highest if as_of is None else min(as_of, highest)
    plan = Plan.of(filters)
    path = plan.paths(log.connection)[0]
    edges, width = _edges(log, plan, path, buckets)
    bars, relation = _bars(log, plan, path, edges, as_of)
    filled = [
        Bucket(start, end, dict(bar))
        for start, end, bar in zip(edges, edges[1:], bars, strict=False)
    ]
    if are_unfilled(log.connection):
        relation = "gte"
    return Histogram(filled, width, sum(bar.total() for bar in bars), relation, as_of)


Bars = list[Counter[str]]


def _edges(
    log: ReadTransaction, plan: Plan, path: AccessPath, buckets: int
) -> tuple[list[int], int]:
    """Where bars begin and the last one ends, and how wide they are; empty in an empty log."""
    since, until = plan.filters.since_unix_nano, plan.filters.until_unix_nano
    if since is None:
        since = _oldest(log.connection, path)
    if until is None:
        until = min(max(log.clock_ns(), _newest_time(log.connection) + 1), NEWEST.time_unix_nano)
    return bar_edges(until if since is None else since, until, buckets)


def _bars(
    log: ReadTransaction, plan: Plan, path: AccessPath, edges: list[int], as_of: int
) -> tuple[Bars, Relation]:
    if not edges:
        return [], "eq"
    if plan.exact:
        return _counted(log.connection, plan, edges, as_of)
    if plan.filters.q:
        return _searched(log, plan, edges, as_of)
    return _walked(log.connection, path, edges, as_of)


def _counted(
    connection: sqlite3.Connection, plan: Plan, edges: list[int], as_of: int
) -> tuple[Bars, Relation]:
    path = plan.path_by_kind(connection)
    bars = [count_by_severity(connection, plan, path, *ends) for ends in pairwise(edges)]
    later, all_seen = rows_after(connection, plan, as_of)
    for moment, severity in later:
        index = bar_of(moment, edges)
        if index is not None:
            bars[index][severity] -= 1
    return [+bar for bar in bars], "eq" if all_seen else "gte"


def _walked(
    connection: sqlite3.Connection, path: AccessPath, edges: list[int], as_of: int
) -> tuple[Bars, Relation]:
    bars: Bars = [Counter() for _ in edges[1:]]
    before = Position(edges[-1], OLDEST)
    deadline = time.monotonic() + BUDGET_S
    while time.monotonic() < deadline:
        rows = newest(connection, path, Bounds(edges[0], before, as_of), _STEP)
        kept = matching(connection, rows, path.rest)
        _add(connection, [position.cursor for position in kept], edges, bars)
        if len(rows) < _STEP:
            return bars, "eq"
        before = rows[-1]
    return bars, "gte"


def _searched(
    log: ReadTransaction, plan: Plan, edges: list[int], as_of: int
) -> tuple[Bars, Relation]:
    bars: Bars = [Counter() for _ in edges[1:]]
    below: int | None = as_of + 1
    deadline = time.monotonic() + BUDGET_S
    while below is not None and time.monotonic() < deadline:
        hits = log.search.query(log.connection, plan, below=below, limit=_STEP, deadline=deadline)
        _add(log.connection, hits.ids, edges, bars)
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
        index = bar_of(moment, edges) if isinstance(moment, int) else None
        if index is not None:
            bars[index][name_of(severity)] += 1


def oldest_time(log: ReadTransaction) -> int | None:
    """The earliest time of a row that is still there; None in an empty log."""
    return _oldest(log.connection, ALL.paths(log.connection)[0])


def _oldest(connection: sqlite3.Connection, path: AccessPath) -> int | None:
    found = [
        connection.execute(
            f"SELECT time_unix_nano {path.source(group)} ORDER BY time_unix_nano LIMIT 1", group
        ).fetchone()
        for group in path.groups
    ]
    return min((position((row[0], 0)).time_unix_nano for row in found if row), default=None)


def _newest_time(connection: sqlite3.Connection) -> int:
    rows = newest(connection, TIME_PATH, Bounds(OLDEST, NEWEST, 2**63 - 1), 1)
    return rows[0].time_unix_nano if rows else OLDEST
