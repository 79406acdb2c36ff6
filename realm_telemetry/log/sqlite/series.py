"""Numbers among the details of events over time, thinned to what a graph can show.

Up to EXACT_ROWS rows are all looked at, and of each group of neighbours the least and the greatest
are kept, so that no spike is lost. Of more rows a sample is read, spread evenly over their time:
the cost does not grow with the run.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.graphs import Point, Series, detail_names, thin
from realm_telemetry.log.sqlite.plan import AccessPath, Bounds, Plan, matching, newest
from realm_telemetry.log.sqlite.transaction import ReadTransaction
from realm_telemetry.log.tokens import Position

EXACT_ROWS: Final = 20_000
_NOT_FINITE: Final = ("NaN", "Infinity", "-Infinity")


def series(
    log: ReadTransaction, filters: Filters, fields: Sequence[str], points: int = 1000
) -> Series:
    """Numbers among the details over time, for a graph: at most about `points` of them.

    fields: names of details, nested ones with dots, at most MAX_FIELDS.
    Raises ValueError for other names.
    """
    names = detail_names(fields)
    connection, plan = log.connection, Plan.of(filters)
    path = plan.paths(connection)[0]
    bounds = Bounds(plan.since, plan.end, 2**63 - 1)
    found = newest(connection, path, bounds, EXACT_ROWS + 1)
    sampled = len(found) > EXACT_ROWS
    if sampled:
        found = _sample(connection, path, bounds, points)
    rows = _values(connection, matching(connection, found, path.rest), names)
    # A sample has a row or two more than asked for.
    return Series(list(names), thin(rows, 2 * points if sampled else points), sampled)


def _sample(
    connection: sqlite3.Connection, path: AccessPath, bounds: Bounds, points: int
) -> list[Position]:
    """The first rows of each of `points` equal spans of time, newest first."""
    last = newest(connection, path, bounds, 1)[0]
    first = _first_time(connection, path, bounds)
    width = max((last.time_unix_nano - first) // points, 1)
    query = (
        f"SELECT time_unix_nano, id {path.source()} AND time_unix_nano >= ?"
        " AND time_unix_nano < ? ORDER BY time_unix_nano, id LIMIT 1"
    )
    found = [last]
    for start in range(first, last.time_unix_nano, width):
        for group in path.groups:
            row = connection.execute(query, (*group, start, start + width)).fetchone()
            if row:
                found.append(Position._make(row))
    return sorted(found, reverse=True)


def _first_time(connection: sqlite3.Connection, path: AccessPath, bounds: Bounds) -> int:
    query = (
        f"SELECT time_unix_nano {path.source()} AND time_unix_nano >= ?"
        " ORDER BY time_unix_nano LIMIT 1"
    )
    found = [connection.execute(query, (*group, bounds.since)).fetchone() for group in path.groups]
    return min(int(row[0]) for row in found if row)


def _values(
    connection: sqlite3.Connection, positions: list[Position], names: tuple[str, ...]
) -> list[Point]:
    columns = ", ".join("json_extract(details_json, ?)" for _ in ("step", *names))
    paths = ["$" + "".join(f'."{key}"' for key in name.split(".")) for name in ("step", *names)]
    ids = msgspec.json.encode([position.cursor for position in positions]).decode()
    rows = connection.execute(
        f"SELECT id, time_unix_nano / 1000000, {columns} FROM battle_log"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (*paths, ids),
    )
    order = {position.cursor: index for index, position in enumerate(reversed(positions))}
    points = [(cursor, time_ms, *map(_number, values)) for cursor, time_ms, *values in rows]
    return sorted(points, key=lambda point: order[point[0]])


def _number(value: Any) -> float | str | None:
    if isinstance(value, int | float):
        return value
    return value if isinstance(value, str) and value in _NOT_FINITE else None
