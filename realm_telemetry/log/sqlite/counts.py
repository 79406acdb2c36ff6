"""How many rows a filter wants: from the hourly counts where it can, row by row where it must."""

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.plan import (
    COLUMNS,
    COUNTED,
    OLDEST,
    TRUE,
    Bounds,
    Group,
    Path,
    asks_for,
    both,
    kind_path,
    named,
    paths_for,
    residual,
    within,
)
from realm_telemetry.log.sqlite.schema import HOUR_NS
from realm_telemetry.log.tokens import NEWEST, Position

Relation = Literal["eq", "gte"]

BUDGET_S: Final = 0.2
_MOST_LATER_ROWS: Final = 50_000
_WINDOW: Final = {True: 20_000, False: 2_000}


def are_exact(filters: Filters) -> bool:
    """Whether counts of these filters are always exact: channel, severity, kind and time only."""
    return not (filters.has or filters.has_not or filters.q) and all(
        field in COUNTED or not asks_for(filters, field) for field in COLUMNS
    )


def total(
    connection: sqlite3.Connection, filters: Filters, as_of: int, deadline: float
) -> tuple[int, Relation]:
    """How many rows the filters want, whatever the page; and whether there may be more."""
    if not are_exact(filters):
        return _count_rows(connection, filters, as_of, deadline)
    since, until = filters.since_unix_nano, filters.until_unix_nano
    counts = count_by_severity(connection, filters, since, until)
    later, all_seen = rows_after(connection, filters, as_of)
    counted = sum(counts.values()) - len(later)
    return max(counted, 0), "eq" if all_seen else "gte"


def happened(connection: sqlite3.Connection) -> dict[tuple[str, str, str], int]:
    """Events ever stored, by channel, kind and severity; retention does not change it."""
    rows = connection.execute("SELECT channel, kind, severity, happened FROM realm_totals")
    return {(channel, kind, severity): count for channel, kind, severity, count in rows if count}


def count_by_severity(
    connection: sqlite3.Connection, filters: Filters, since: int | None, until: int | None
) -> Counter[str]:
    """Rows by severity from `since` to before `until`, exactly; for filters that `are_exact`."""
    if since is None and until is None:
        return _stored(connection, "realm_totals", filters, "1", ())
    first = OLDEST if since is None else since
    end = 2**63 if until is None else until
    first_hour, end_hour = -(-first // HOUR_NS), end // HOUR_NS
    if first_hour >= end_hour:
        return _count_between(connection, filters, first, end)
    counts = _stored(
        connection, "realm_hourly_counts", filters, "hour >= ? AND hour < ?", (first_hour, end_hour)
    )
    if since is not None:
        counts += _count_between(connection, filters, first, first_hour * HOUR_NS)
    if until is not None:
        counts += _count_between(connection, filters, end_hour * HOUR_NS, end)
    return counts


def rows_after(
    connection: sqlite3.Connection, filters: Filters, as_of: int
) -> tuple[list[tuple[int, str]], bool]:
    """Time and severity of wanted rows that arrived after `as_of`; whether those are all."""
    condition = both([residual(filters), within(filters.since_unix_nano, filters.until_unix_nano)])
    rows = connection.execute(
        "SELECT time_unix_nano, severity FROM battle_log WHERE id > ?"
        f" AND time_unix_nano IS NOT NULL AND {condition.sql} LIMIT ?",
        (as_of, *condition.params, _MOST_LATER_ROWS + 1),
    ).fetchall()
    return rows, len(rows) <= _MOST_LATER_ROWS


def _stored(
    connection: sqlite3.Connection,
    table: str,
    filters: Filters,
    when: str,
    params: Sequence[object],
) -> Counter[str]:
    condition = named(filters, COUNTED)
    rows = connection.execute(
        f"SELECT severity, sum(happened - gone) FROM {table}"
        f" WHERE {when} AND {condition.sql} GROUP BY severity",
        (*params, *condition.params),
    )
    return Counter(dict(rows.fetchall()))


def _count_between(
    connection: sqlite3.Connection, filters: Filters, since: int, until: int
) -> Counter[str]:
    """Count index entries; at most the two hours at the ends of a span."""
    counts: Counter[str] = Counter()
    if since >= until:
        return counts
    # Severity is needed with every count, so that all of them give the bars of a histogram.
    path = kind_path(connection, filters)
    query = f"SELECT count(*) {path.source()} AND time_unix_nano >= ? AND time_unix_nano < ?"
    for group in path.groups:
        count = connection.execute(query, (*group, since, min(until, 2**63 - 1))).fetchone()[0]
        if count:
            counts[str(group[-1])] += count
    return counts


def _count_rows(
    connection: sqlite3.Connection, filters: Filters, as_of: int, deadline: float
) -> tuple[int, Relation]:
    """Count in windows along the first path until the deadline."""
    path = paths_for(connection, filters)[0]
    until = filters.until_unix_nano
    before = NEWEST if until is None else Position(until, OLDEST)
    since = OLDEST if filters.since_unix_nano is None else filters.since_unix_nano
    counted = 0
    for group in path.groups:
        bounds = Bounds(since, before, as_of)
        count, ended = _count_group(connection, path, group, filters, bounds, deadline)
        counted += count
        if not ended:
            return counted, "gte"
    return counted, "eq"


def _count_group(
    connection: sqlite3.Connection,
    path: Path,
    group: Group,
    filters: Filters,
    bounds: Bounds,
    deadline: float,
) -> tuple[int, bool]:
    rest = residual(filters, path.answers)
    window = _WINDOW[rest == TRUE]
    span = f"{path.source()} AND time_unix_nano >= ? AND (time_unix_nano, id) < (?, ?)"
    edge = (
        f"SELECT time_unix_nano, id {span} ORDER BY time_unix_nano DESC, id DESC LIMIT 1 OFFSET ?"
    )
    inside = f"SELECT count(*) {span} AND (time_unix_nano, id) >= (?, ?) AND id <= ? AND {rest.sql}"
    counted, before = 0, bounds.before
    while time.monotonic() < deadline:
        place = (*group, bounds.since, *before)
        row = connection.execute(edge, (*place, window - 1)).fetchone()
        lowest = Position(*row) if row else Position(OLDEST, OLDEST)
        found = connection.execute(inside, (*place, *lowest, bounds.as_of, *rest.params)).fetchone()
        counted += found[0]
        if row is None:
            return counted, True
        before = lowest
    return counted, False
