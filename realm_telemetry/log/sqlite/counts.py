"""How many rows match: from the hourly counts where it can, row by row where it must."""

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from realm_telemetry.log.rows import Relation
from realm_telemetry.log.sqlite.foreign_text import name_of
from realm_telemetry.log.sqlite.plan import (
    OLDEST,
    TRUE,
    AccessPath,
    Bounds,
    Group,
    Plan,
    position,
)
from realm_telemetry.log.sqlite.schema import HOUR_NS
from realm_telemetry.log.tokens import Position

BUDGET_S: Final = 0.2
_MOST_LATER_ROWS: Final = 50_000
_WINDOW: Final = {True: 20_000, False: 2_000}


def total(
    connection: sqlite3.Connection, plan: Plan, path: AccessPath, as_of: int, deadline: float
) -> tuple[int, Relation]:
    """How many rows match a plan, whatever the page; and whether there may be more.

    path: one of the plan's, for rows that have to be counted one by one.
    """
    if not plan.exact:
        return _count_rows(connection, plan, path, as_of, deadline)
    later, all_seen = rows_after(connection, plan, as_of)
    counted = sum(_all_by_severity(connection, plan).values()) - len(later)
    return max(counted, 0), "eq" if all_seen else "gte"


def happened(connection: sqlite3.Connection) -> dict[tuple[str, str, str], int]:
    """Events ever stored, by channel, kind and severity; retention does not change it."""
    rows = connection.execute("SELECT channel, kind, severity, happened FROM realm_totals")
    counts: Counter[tuple[str, str, str]] = Counter()
    for channel, kind, severity, count in rows:
        if count:
            counts[name_of(channel), name_of(kind), name_of(severity)] += count
    return dict(counts)


def _all_by_severity(connection: sqlite3.Connection, plan: Plan) -> Counter[str]:
    since, until = plan.filters.since_unix_nano, plan.filters.until_unix_nano
    if since is None and until is None:
        return _stored(connection, "realm_totals", plan, "1", ())
    return count_by_severity(connection, plan, plan.path_by_kind(connection), since, until)


def count_by_severity(
    connection: sqlite3.Connection,
    plan: Plan,
    path: AccessPath,
    since: int | None,
    until: int | None,
) -> Counter[str]:
    """Rows by severity from `since` to before `until`, exactly; for plans that are exact.

    path: the plan's path by kind, for the two hours at the ends of the span.
    """
    first = OLDEST if since is None else since
    end = 2**63 if until is None else until
    first_hour, end_hour = -(-first // HOUR_NS), end // HOUR_NS
    if first_hour >= end_hour:
        return _count_between(connection, path, first, end)
    counts = _stored(
        connection, "realm_hourly_counts", plan, "hour >= ? AND hour < ?", (first_hour, end_hour)
    )
    if since is not None:
        counts += _count_between(connection, path, first, first_hour * HOUR_NS)
    if until is not None:
        counts += _count_between(connection, path, end_hour * HOUR_NS, end)
    return counts


def rows_after(
    connection: sqlite3.Connection, plan: Plan, as_of: int
) -> tuple[list[tuple[int, str]], bool]:
    """Time and severity of wanted rows that arrived after `as_of`; whether those are all."""
    rows = connection.execute(
        "SELECT time_unix_nano, severity FROM battle_log WHERE id > ?"
        f" AND time_unix_nano IS NOT NULL AND {plan.row.sql} LIMIT ?",
        (as_of, *plan.row.params, _MOST_LATER_ROWS + 1),
    ).fetchall()
    named = [(moment, name_of(severity)) for moment, severity in rows]
    return named, len(rows) <= _MOST_LATER_ROWS


def _stored(
    connection: sqlite3.Connection,
    table: str,
    plan: Plan,
    when: str,
    params: Sequence[object],
) -> Counter[str]:
    rows = connection.execute(
        f"SELECT severity, sum(happened - gone) FROM {table}"
        f" WHERE {when} AND {plan.counted.sql} GROUP BY severity",
        (*params, *plan.counted.params),
    )
    counts: Counter[str] = Counter()
    for severity, count in rows:
        counts[name_of(severity)] += count
    return counts


def _count_between(
    connection: sqlite3.Connection, path: AccessPath, since: int, until: int
) -> Counter[str]:
    """Count index entries; at most the two hours at the ends of a span."""
    counts: Counter[str] = Counter()
    if since >= until:
        return counts
    for group in path.groups:
        count = connection.execute(
            f"SELECT count(*) {path.source(group)} AND time_unix_nano >= ? AND time_unix_nano < ?",
            (*group, since, min(until, 2**63 - 1)),
        ).fetchone()[0]
        if count:
            # Severity is needed with every count, so that all of them give a histogram's bars.
            counts[name_of(group[-1])] += count
    return counts


def _count_rows(
    connection: sqlite3.Connection, plan: Plan, path: AccessPath, as_of: int, deadline: float
) -> tuple[int, Relation]:
    """Count in windows along a path until the deadline."""
    bounds = Bounds(plan.since, plan.end, as_of)
    counted = 0
    for group in path.groups:
        count, ended = _count_group(connection, path, group, bounds, deadline)
        counted += count
        if not ended:
            return counted, "gte"
    return counted, "eq"


def _count_group(
    connection: sqlite3.Connection,
    path: AccessPath,
    group: Group,
    bounds: Bounds,
    deadline: float,
) -> tuple[int, bool]:
    rest = path.rest
    window = _WINDOW[rest == TRUE]
    span = f"{path.source(group)} AND time_unix_nano >= ? AND (time_unix_nano, id) < (?, ?)"
    edge = (
        f"SELECT time_unix_nano, id {span} ORDER BY time_unix_nano DESC, id DESC LIMIT 1 OFFSET ?"
    )
    inside = f"SELECT count(*) {span} AND (time_unix_nano, id) >= (?, ?) AND id <= ? AND {rest.sql}"
    counted, before = 0, bounds.before
    while time.monotonic() < deadline:
        place = (*group, bounds.since, *before)
        row = connection.execute(edge, (*place, window - 1)).fetchone()
        lowest = position(row) if row else Position(OLDEST, OLDEST)
        found = connection.execute(inside, (*place, *lowest, bounds.as_of, *rest.params)).fetchone()
        counted += found[0]
        if row is None:
            return counted, True
        before = lowest
    return counted, False
