"""What happened, counted by channel, severity, kind, run and time. Retention does not change it."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from realm_telemetry.log.graphs import GROUPINGS, cut_hours, period
from realm_telemetry.log.sqlite.foreign_text import name_of
from realm_telemetry.log.sqlite.plan import ALL, AccessPath
from realm_telemetry.log.sqlite.schema import HOUR_NS, RUN_INDEX
from realm_telemetry.log.sqlite.transaction import ReadTransaction

Hour = tuple[int, str, str, str, str | None, int]
"""An hour, channel, severity, kind and run (None for events without), and how many of these."""


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
    counts: Counter[tuple[Any, ...]] = Counter()
    for hour, channel, severity, kind, run, count in _hours(log.connection, by, since_ns, until_ns):
        names = {
            "channel": name_of(channel),
            "severity": name_of(severity),
            "kind": name_of(kind),
            "run": run if run is None else name_of(run),
        }
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
    connection: sqlite3.Connection, by: Sequence[str], since_ns: int | None, until_ns: int | None
) -> list[Hour]:
    first = -(2**63) if since_ns is None else -(-since_ns // HOUR_NS)
    end = 2**63 - 1 if until_ns is None else until_ns // HOUR_NS
    rows = _whole_hours(connection, "realm_hourly_counts", by, first, end)
    if "run" in by:
        runs = _whole_hours(connection, "realm_run_counts", by, first, end)
        # The same taken off from what counts as having none.
        rows += runs + [(*row[:4], None, -row[5]) for row in runs]
    for start, stop in cut_hours(since_ns, until_ns, first, end):
        rows += _part_of_hour(connection, by, start, stop)
    return rows


def _part_of_hour(
    connection: sqlite3.Connection, by: Sequence[str], start: int, stop: int
) -> list[Hour]:
    """Count index entries of a span inside one hour; rows of a million take seconds to read."""
    hour = start // HOUR_NS
    named = ALL.path_by_kind(connection)
    rows: list[Hour] = [
        (hour, channel, severity, kind, None, count)
        for (kind, channel, severity), count in _entries(connection, named, start, stop)
    ]
    if "run" in by:
        for (run, kind, channel, severity), count in _entries(
            connection, _runs_of(connection, hour), start, stop
        ):
            rows += [
                (hour, channel, severity, kind, run, count),
                (hour, channel, severity, kind, None, -count),
            ]
    return rows


def _runs_of(connection: sqlite3.Connection, hour: int) -> AccessPath:
    """The path by run for all runs of an hour."""
    groups = connection.execute(
        "SELECT run_id, kind, channel, severity FROM realm_run_counts WHERE hour = ?", (hour,)
    ).fetchall()
    columns = ("run_id", "kind", "channel", "severity")
    return AccessPath(RUN_INDEX, columns, tuple(groups))


def _entries(
    connection: sqlite3.Connection, path: AccessPath, start: int, stop: int
) -> Iterator[tuple[Any, int]]:
    """Each group of a path and how many rows of it lie in a span."""
    for group in path.groups:
        counted = connection.execute(
            f"SELECT count(*) {path.source(group)} AND time_unix_nano >= ? AND time_unix_nano < ?",
            (*group, start, stop),
        )
        yield group, counted.fetchone()[0]


def _whole_hours(
    connection: sqlite3.Connection, table: str, by: Sequence[str], first: int, end: int
) -> list[Hour]:
    """Counts of whole hours, added up over what is not counted by: SQLite does that faster."""
    named = [name if name in by else "''" for name in ("channel", "severity", "kind")]
    named.insert(0, "hour" if "day" in by or "hour" in by else "0")
    named.append("run_id" if table == "realm_run_counts" else "NULL")
    return connection.execute(
        f"SELECT {', '.join(named)}, sum(happened) FROM {table}"
        " WHERE hour >= ? AND hour < ? GROUP BY 1, 2, 3, 4, 5",
        (first, end),
    ).fetchall()
