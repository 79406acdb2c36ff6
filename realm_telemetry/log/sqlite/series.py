"""Numbers among the details of events over time, thinned to what a graph can show.

Up to EXACT_ROWS rows are all looked at, and of each group of neighbours the least and the greatest
are kept, so that no spike is lost. Of more rows a sample is read, spread evenly over their time:
the cost does not grow with the run.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.graphs import Point, Series, detail_names, numbers, thin
from realm_telemetry.log.sqlite.odd_rows import details_of
from realm_telemetry.log.sqlite.plan import AccessPath, Bounds, Plan, matching, newest, position
from realm_telemetry.log.sqlite.transaction import ReadTransaction
from realm_telemetry.log.tokens import NEWEST, Position

EXACT_ROWS: Final = 20_000


def series(
    log: ReadTransaction, filters: Filters, fields: Sequence[str], points: int = 1000
) -> Series:
    """Numbers among the details over time, for a graph: at most about `points` of them.

    fields: names of details (values.paths), at most MAX_FIELDS.
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
    found = [last]
    for start in range(first, last.time_unix_nano, width):
        for group in path.groups:
            row = connection.execute(
                f"SELECT time_unix_nano, id {path.source(group)} AND time_unix_nano >= ?"
                " AND time_unix_nano < ? ORDER BY time_unix_nano, id LIMIT 1",
                (*group, start, min(start + width, NEWEST.time_unix_nano)),
            ).fetchone()
            if row:
                found.append(position(row))
    return sorted(found, reverse=True)


def _first_time(connection: sqlite3.Connection, path: AccessPath, bounds: Bounds) -> int:
    found = [
        connection.execute(
            f"SELECT time_unix_nano {path.source(group)} AND time_unix_nano >= ?"
            " ORDER BY time_unix_nano LIMIT 1",
            (*group, bounds.since),
        ).fetchone()
        for group in path.groups
    ]
    return min(int(row[0]) for row in found if row)


def _values(
    connection: sqlite3.Connection, positions: list[Position], names: tuple[str, ...]
) -> list[Point]:
    """The points of some rows, oldest first.

    Details are decoded here, which costs what SQLite's JSON functions do, and never fails.
    """
    ids = msgspec.json.encode([position.cursor for position in positions]).decode()
    rows = connection.execute(
        "SELECT id, details_json FROM battle_log WHERE id IN (SELECT value FROM json_each(?))",
        (ids,),
    )
    values = {cursor: numbers(details_of(text), names) for cursor, text in rows}
    return [
        (position.cursor, position.time_unix_nano // 1_000_000, *values[position.cursor])
        for position in reversed(positions)
        if position.cursor in values
    ]
