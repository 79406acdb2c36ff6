"""Numbers among the details of events over time, thinned to what a graph can show.

Up to EXACT_ROWS rows are all looked at, and of each group of neighbours the least and the greatest
are kept, so that no spike is lost. Of more rows a sample is read, spread evenly over their time:
the cost does not grow with the run.
"""

import re
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.plan import AccessPath, Bounds, Plan, matching, newest
from realm_telemetry.log.sqlite.transaction import ReadTransaction
from realm_telemetry.log.tokens import Position

EXACT_ROWS: Final = 20_000
MAX_FIELDS: Final = 8

_FIELD: Final = re.compile(r"\w+(?:\.\w+)*", re.ASCII)
_NOT_FINITE: Final = ("NaN", "Infinity", "-Infinity")

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


def series(
    log: ReadTransaction, filters: Filters, fields: Sequence[str], points: int = 1000
) -> Series:
    """Numbers among the details over time, for a graph: at most about `points` of them.

    fields: names of details, nested ones with dots, at most MAX_FIELDS.
    Raises ValueError for other names.
    """
    names = _checked(fields)
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


def _checked(fields: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(fields))
    if not 1 <= len(names) <= MAX_FIELDS:
        raise ValueError(f"name 1 to {MAX_FIELDS} details")
    for name in names:
        if not _FIELD.fullmatch(name) or len(name) > 100:
            raise ValueError(f"{name[:80]!r} is not the name of a detail")
    return names


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
