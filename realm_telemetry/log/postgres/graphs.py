"""Numbers over time, thinned to what a graph can show; and what happened, counted by fields."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.graphs import (
    GROUPINGS,
    Point,
    Series,
    cut_hours,
    detail_names,
    numbers,
    period,
    thin,
)
from realm_telemetry.log.postgres.plan import Bounds, Path, Plan, Walked, newest
from realm_telemetry.log.postgres.schema import HOUR_NS
from realm_telemetry.log.postgres.texts import from_stored
from realm_telemetry.log.postgres.transaction import ReadTransaction
from realm_telemetry.log.tokens import Position

EXACT_ROWS: Final = 20_000
_LAST: Final = 2**63 - 1
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def series(
    log: ReadTransaction, filters: Filters, fields: Sequence[str], points: int = 1000
) -> Series:
    """Numbers among the details over time, for a graph: at most about `points` of them.

    fields: names of details (values.paths), at most MAX_FIELDS.
    Up to EXACT_ROWS rows are all looked at, of more a sample spread evenly over their time.
    Raises ValueError for other names.
    """
    names = detail_names(fields)
    plan = Plan.of(log.session, filters)
    path = plan.paths()[0]
    found = newest(log.session, plan, path, Bounds(plan.since, plan.end, _LAST), EXACT_ROWS + 1)
    sampled = len(found) > EXACT_ROWS
    if sampled:
        found = _sample(log, plan, path, found[0].place, points)
    rows = _values(log, [row.place for row in found if row.fits], names)
    # A sample has a row or two more than asked for.
    return Series(list(names), thin(rows, 2 * points if sampled else points), sampled)


def _sample(
    log: ReadTransaction, plan: Plan, path: Path, last: Position, points: int
) -> list[Walked]:
    """The first rows of each of `points` equal spans of time, newest first."""
    (first,) = log.session.execute(
        f"SELECT min(w.time_unix_nano) FROM {path.source}, LATERAL (SELECT time_unix_nano FROM"
        f" events WHERE {path.start} AND time_unix_nano >= ? ORDER BY time_unix_nano LIMIT 1) AS w",
        (*path.params, plan.since),
    ).fetchone()
    width = max((last.time_unix_nano - first) // points, 1)
    details = "e.details::text" if plan.confirms else "NULL::text"
    rows = log.session.execute(
        f"SELECT w.time_unix_nano, w.id, w.group_id, ({path.rest.sql}) IS TRUE, {details}"
        f" FROM generate_series(?::bigint, ?::bigint, ?::bigint) AS span (start), {path.source},"
        f" LATERAL (SELECT time_unix_nano, id, group_id FROM events WHERE {path.start}"
        " AND time_unix_nano >= span.start AND time_unix_nano < span.start + ?::bigint"
        " ORDER BY time_unix_nano, id LIMIT 1) AS w JOIN events AS e ON e.id = w.id"
        " ORDER BY 1 DESC, 2 DESC",
        (
            *path.rest.params,
            first,
            last.time_unix_nano - 1,
            width,
            *path.params,
            width,
        ),
    ).fetchall()
    newest_row = newest(log.session, plan, path, Bounds(plan.since, plan.end, _LAST), 1)
    return newest_row + [
        Walked(Position(time, cursor), group, fits and (not plan.confirms or plan.wants(text)))
        for time, cursor, group, fits, text in rows
        if Position(time, cursor) != last
    ]


def _values(log: ReadTransaction, positions: list[Position], names: tuple[str, ...]) -> list[Point]:
    """The points of some rows, oldest first."""
    rows = log.session.execute(
        "SELECT id, details::text FROM events WHERE id = ANY(?::bigint[])",
        ([position.cursor for position in positions],),
    )
    values = {cursor: numbers(_decode(text) if text else {}, names) for cursor, text in rows}
    return [
        (position.cursor, position.time_unix_nano // 1_000_000, *values[position.cursor])
        for position in reversed(positions)
        if position.cursor in values
    ]


Hour = tuple[int, int, str | None, int]
"""An hour, a group and a run (None for events without), and how many of these."""


def summary(
    log: ReadTransaction,
    by: Sequence[str] = ("channel", "day"),
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> list[dict[str, Any]]:
    """Counts by some of GROUPINGS: one object for each combination, with `count`, in order.

    Days and hours are UTC. An hour that the span cuts counts the rows still in the log; all
    others count what happened.
    """
    for name in by:
        if name not in GROUPINGS:
            raise ValueError(f"cannot count by {name!r}; known are {', '.join(GROUPINGS)}")
    named = log.session.execute("SELECT id, kind, channel, severity FROM realm_groups").fetchall()
    groups = {
        row[0]: dict(zip(("kind", "channel", "severity"), map(from_stored, row[1:]), strict=True))
        for row in named
    }
    counts: Counter[tuple[Any, ...]] = Counter()
    for hour, group, run, count in _hours(log, by, since_ns, until_ns):
        names = groups[group] | {"run": run if run is None else from_stored(run)}
        key = tuple(names[name] if name in names else period(name, hour) for name in by)
        counts[key] += count
    return [
        {**dict(zip(by, key, strict=True)), "count": count}
        for key, count in sorted(counts.items(), key=_in_order)
        if count
    ]


def channels(log: ReadTransaction, since_ns: int | None = None) -> dict[str, dict[str, int]]:
    """What happened since a time, by channel and severity."""
    counts: dict[str, dict[str, int]] = {}
    for row in summary(log, ("channel", "severity"), since_ns):
        counts.setdefault(row["channel"], {})[row["severity"]] = row["count"]
    return counts


def _in_order(counted: tuple[tuple[Any, ...], int]) -> tuple[str, ...]:
    return tuple(value or "" for value in counted[0])


def _hours(
    log: ReadTransaction, by: Sequence[str], since_ns: int | None, until_ns: int | None
) -> list[Hour]:
    since = -(2**63) if since_ns is None else since_ns
    until = _LAST if until_ns is None else until_ns
    first = since if since_ns is None else -(-since // HOUR_NS)
    end = until if until_ns is None else until // HOUR_NS
    with_run, hourly = "run" in by, "day" in by or "hour" in by
    rows = _whole_hours(log, "realm_hourly_counts", "NULL::text", first, end, hourly)
    if with_run:
        runs = _whole_hours(log, "realm_run_counts", "run_id", first, end, hourly)
        # The same taken off from what counts as having none.
        rows += runs + [(hour, group, None, -count) for hour, group, _, count in runs]
    for start, stop in cut_hours(since_ns, until_ns, first, end):
        run = "run_id" if with_run else "NULL::text"
        found = log.session.execute(
            f"SELECT ?::bigint, group_id, {run}, count(*) FROM events"
            " WHERE time_unix_nano >= ? AND time_unix_nano < ? GROUP BY 2, 3",
            (start // HOUR_NS, start, stop),
        )
        rows += found.fetchall()
    return rows


def _whole_hours(
    log: ReadTransaction, table: str, run: str, first: int, end: int, hourly: bool
) -> list[Hour]:
    """Counts of whole hours, added up where periods are not asked for."""
    hour = "hour" if hourly else "0::bigint"
    rows = log.session.execute(
        f"SELECT {hour}, group_id, {run}, sum(happened)::bigint FROM {table}"
        " WHERE hour >= ? AND hour < ? GROUP BY 1, 2, 3",
        (first, end),
    )
    found: list[Hour] = rows.fetchall()
    return found
