"""How many rows match: from totals and hourly counts where it can, row by row where it must."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.graphs import Bucket, Histogram, bar_edges, bar_of
from realm_telemetry.log.postgres.plan import OLDEST, Bounds, Plan, Walked, newest
from realm_telemetry.log.postgres.schema import HOUR_NS
from realm_telemetry.log.postgres.search import search
from realm_telemetry.log.postgres.texts import from_stored
from realm_telemetry.log.postgres.transaction import ReadTransaction
from realm_telemetry.log.rows import Relation
from realm_telemetry.log.tokens import NEWEST, Position

BUDGET_S: Final = 0.2
_STEP: Final = 4096
_LATER: Final = "e.id > ? AND e.group_id = ANY(?::integer[])"

Bars = list[Counter[str]]


def happened(log: ReadTransaction) -> dict[tuple[str, str, str], int]:
    """Events ever stored, by channel, kind and severity; retention does not change it."""
    rows = log.session.execute(
        "SELECT channel, kind, severity, happened FROM realm_groups WHERE happened > 0"
    )
    return {
        (from_stored(channel), from_stored(kind), from_stored(severity)): count
        for channel, kind, severity, count in rows
    }


def total(log: ReadTransaction, plan: Plan, as_of: int, deadline: float) -> tuple[int, Relation]:
    """How many rows match a plan, whatever the page; and whether there may be more."""
    if plan.exact:
        return sum(_counted_until(log, plan, plan.since, _until(plan), as_of).values()), "eq"
    counted = 0
    walk = _walk(log, plan, Bounds(plan.since, plan.end, as_of), deadline)
    for rows in walk:
        if rows is None:
            return counted, "gte"
        counted += sum(row.fits for row in rows)
    return counted, "eq"


def _until(plan: Plan) -> int:
    until = plan.filters.until_unix_nano
    return NEWEST.time_unix_nano if until is None else until


def _walk(
    log: ReadTransaction, plan: Plan, bounds: Bounds, deadline: float
) -> Iterator[list[Walked] | None]:
    """Go down the plan's first path in steps; None at the end if time ran out."""
    path = plan.paths()[0]
    while True:
        rows = newest(log.session, plan, path, bounds, _STEP)
        yield rows
        if len(rows) < _STEP:
            return
        if time.monotonic() > deadline:
            yield None
            return
        bounds = msgspec.structs.replace(bounds, before=rows[-1].place)


def _counted_until(
    log: ReadTransaction, plan: Plan, since: int, until: int, as_of: int
) -> Counter[int]:
    """Rows by group from `since` to before `until`, without those that came after `as_of`."""
    counts: Counter[int] = Counter()
    if since == OLDEST and until == NEWEST.time_unix_nano:
        rows = log.session.execute(
            "SELECT id, happened - gone FROM realm_groups WHERE id = ANY(?::integer[])",
            (plan.group_ids,),
        )
        counts.update(dict(rows.fetchall()))
        later = log.session.execute(
            f"SELECT group_id, count(*) FROM events AS e WHERE {_LATER} GROUP BY 1",
            (as_of, plan.group_ids),
        )
        counts.subtract(dict(later.fetchall()))
        return counts
    for _, group, count in _by_hour(log, plan, since, until, as_of):
        counts[group] += count
    return counts


def _by_hour(
    log: ReadTransaction, plan: Plan, since: int, until: int, as_of: int
) -> Iterator[tuple[int, int, int]]:
    """A time inside each hour of a span, a group and a count: of whole hours from what is kept."""
    first_hour, end_hour = -(-since // HOUR_NS), until // HOUR_NS
    if first_hour >= end_hour:
        yield from _rows_between(log, plan, since, until, as_of)
        return
    hours = log.session.execute(
        "SELECT hour, group_id, happened - gone FROM realm_hourly_counts"
        " WHERE hour >= ? AND hour < ? AND group_id = ANY(?::integer[])",
        (first_hour, end_hour, plan.group_ids),
    )
    for hour, group, count in hours.fetchall():
        yield hour * HOUR_NS, group, count
    later = log.session.execute(
        f"SELECT e.time_unix_nano, e.group_id FROM events AS e WHERE {_LATER}"
        " AND e.time_unix_nano >= ? AND e.time_unix_nano < ?",
        (as_of, plan.group_ids, first_hour * HOUR_NS, end_hour * HOUR_NS),
    )
    for moment, group in later.fetchall():
        yield moment, group, -1
    yield from _rows_between(log, plan, since, first_hour * HOUR_NS, as_of)
    yield from _rows_between(log, plan, end_hour * HOUR_NS, until, as_of)


def _rows_between(
    log: ReadTransaction, plan: Plan, since: int, until: int, as_of: int
) -> Iterator[tuple[int, int, int]]:
    if since < until:
        rows = log.session.execute(
            "SELECT ?::bigint, group_id, count(*) FROM events WHERE group_id = ANY(?::integer[])"
            " AND time_unix_nano >= ? AND time_unix_nano < ? AND id <= ? GROUP BY 2",
            (since, plan.group_ids, since, until, as_of),
        )
        yield from rows.fetchall()


def histogram(
    log: ReadTransaction, filters: Filters, buckets: int = 60, as_of: int | None = None
) -> Histogram:
    """Counts over time by severity, of the rows that match.

    buckets: about how many bars, over the filters' span or over all that they want.
    """
    (highest,) = log.session.execute("SELECT cursor FROM realm_head").fetchone()
    as_of = highest if as_of is None else min(as_of, highest)
    plan = Plan.of(log.session, filters)
    edges, width = _edges(log, plan, buckets)
    bars, relation = _bars(log, plan, edges, width, as_of)
    filled = [
        Bucket(start, end, dict(+bar))
        for start, end, bar in zip(edges, edges[1:], bars, strict=False)
    ]
    return Histogram(filled, width, sum((+bar).total() for bar in bars), relation, as_of)


def _edges(log: ReadTransaction, plan: Plan, buckets: int) -> tuple[list[int], int]:
    """Where bars begin and the last one ends, and how wide they are; empty in an empty log."""
    since, until = plan.filters.since_unix_nano, plan.filters.until_unix_nano
    if since is None:
        since = _oldest(log, plan)
    if until is None:
        row = log.session.execute("SELECT max(time_unix_nano) FROM events").fetchone()
        newest_time = OLDEST if row[0] is None else row[0]
        until = min(max(log.clock_ns(), newest_time + 1), NEWEST.time_unix_nano)
    return bar_edges(until if since is None else since, until, buckets)


def oldest_time(log: ReadTransaction) -> int | None:
    """The earliest time of a row that is still there; None in an empty log."""
    row = log.session.execute("SELECT min(time_unix_nano) FROM events").fetchone()
    return None if row[0] is None else int(row[0])


def _oldest(log: ReadTransaction, plan: Plan) -> int | None:
    """The earliest time that the plan's first path leads to."""
    path = plan.paths()[0]
    row = log.session.execute(
        f"SELECT min(w.time_unix_nano) FROM {path.source}, LATERAL (SELECT time_unix_nano"
        f" FROM events WHERE {path.start} ORDER BY time_unix_nano LIMIT 1) AS w",
        path.params,
    ).fetchone()
    return None if row[0] is None else int(row[0])


def _bars(
    log: ReadTransaction, plan: Plan, edges: list[int], width: int, as_of: int
) -> tuple[Bars, Relation]:
    bars: Bars = [Counter() for _ in edges[1:]]
    if not edges:
        return [], "eq"
    severities = {group.id: group.severity for group in plan.groups}
    deadline = time.monotonic() + BUDGET_S
    if plan.exact:
        for moment, group, count in _exact(log, plan, edges, width, as_of):
            index = bar_of(moment, edges)
            if index is not None:
                bars[index][severities[group]] += count
        return bars, "eq"
    if plan.filters.q:
        return bars, _searched(log, plan, edges, as_of, bars)
    for rows in _walk(log, plan, Bounds(edges[0], Position(edges[-1], OLDEST), as_of), deadline):
        if rows is None:
            return bars, "gte"
        for row in rows:
            index = bar_of(row.place.time_unix_nano, edges)
            if row.fits and index is not None:
                bars[index][severities[row.group]] += 1
    return bars, "eq"


def _exact(
    log: ReadTransaction, plan: Plan, edges: list[int], width: int, as_of: int
) -> Iterator[tuple[int, int, int]]:
    """Times inside bars, groups and counts; a bar that is no whole hours is counted by rows."""
    if width % HOUR_NS == 0:
        yield from _by_hour(log, plan, edges[0], edges[-1], as_of)
        return
    rows = log.session.execute(
        "SELECT width_bucket(time_unix_nano, ?::bigint[]), group_id, count(*) FROM events"
        " WHERE group_id = ANY(?::integer[]) AND time_unix_nano >= ? AND time_unix_nano < ?"
        " AND id <= ? GROUP BY 1, 2",
        (edges, plan.group_ids, edges[0], edges[-1], as_of),
    )
    for bar, group, count in rows.fetchall():
        yield edges[bar - 1], group, count


def _searched(
    log: ReadTransaction, plan: Plan, edges: list[int], as_of: int, bars: Bars
) -> Relation:
    below: int | None = as_of + 1
    deadline = time.monotonic() + BUDGET_S
    while below is not None and time.monotonic() < deadline:
        hits = search(log.session, plan, below=below, limit=_STEP, deadline=deadline)
        rows = log.session.execute(
            "SELECT e.time_unix_nano, g.severity FROM events AS e JOIN realm_groups AS g"
            " ON g.id = e.group_id WHERE e.id = ANY(?::bigint[])",
            (hits.ids,),
        )
        for moment, severity in rows.fetchall():
            index = bar_of(moment, edges)
            if index is not None:
                bars[index][from_stored(severity)] += 1
        below = hits.further
    return "eq" if below is None else "gte"
