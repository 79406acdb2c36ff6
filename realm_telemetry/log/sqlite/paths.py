"""Ways to reach rows in history's order through an index, without a scan or a sort.

An index that begins with kind, channel and severity gives the rows of one combination in order of
time. So a filter becomes groups, one for each combination that occurs; the newest of every group
are fetched and merged. Each query touches about as many index entries as rows are wanted.
"""

import sqlite3
from typing import Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.conditions import Condition, asks_for, named
from realm_telemetry.log.sqlite.schema import (
    CAMPAIGN_INDEX,
    HERO_INDEX,
    KIND_INDEX,
    RUN_INDEX,
    TIME_INDEX,
)
from realm_telemetry.log.tokens import Position

Group = tuple[object, ...]

OLDEST: Final = -(2**63)


class Path(msgspec.Struct, frozen=True):
    """An index, the values of its first columns for each group, and the filters it answers."""

    index: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    answers: frozenset[str]

    def source(self) -> str:
        """SQL from FROM on, for one group; its values are the parameters."""
        conditions = " AND ".join(
            ["time_unix_nano IS NOT NULL", *(f"{column} = ?" for column in self.columns)]
        )
        return f"FROM battle_log INDEXED BY {self.index} WHERE {conditions}"


class Bounds(msgspec.Struct, frozen=True):
    """The part of history that a query looks at.

    since: the earliest time. before: the place that all rows lie below.
    as_of: the highest row id; later arrivals are left out.
    """

    since: int
    before: Position
    as_of: int


TIME_PATH: Final = Path(TIME_INDEX, (), ((),), frozenset())

COUNTED: Final = ("kinds", "channels", "severities")
"""The filters that totals and hourly counts can answer."""

_SINGLE: Final = (
    ("runs", "run_id", RUN_INDEX),
    ("campaigns", "campaign_id", CAMPAIGN_INDEX),
    ("heroes", "hero_id", HERO_INDEX),
)


def paths_for(connection: sqlite3.Connection, filters: Filters) -> list[Path]:
    """The paths that could answer the filters, at least one; which is best is found by walking."""
    paths = [
        Path(
            index,
            (column, "kind", "channel", "severity"),
            tuple(
                (value, *combination)
                for value in dict.fromkeys(values)
                if value not in getattr(filters, f"not_{field}")
                for combination in _combinations(connection, filters)
            ),
            frozenset({field, *COUNTED}),
        )
        for field, column, index in _SINGLE
        if (values := getattr(filters, field))
    ]
    return paths or [counted_path(connection, filters)]


def counted_path(connection: sqlite3.Connection, filters: Filters) -> Path:
    """The path by kind, channel and severity; by time alone if the filters name none of them."""
    if not any(asks_for(filters, field) for field in COUNTED):
        return TIME_PATH
    return kind_path(connection, filters)


def kind_path(connection: sqlite3.Connection, filters: Filters) -> Path:
    """The path by kind, channel and severity; its groups end with the severity."""
    return Path(
        KIND_INDEX,
        ("kind", "channel", "severity"),
        tuple(_combinations(connection, filters)),
        frozenset(COUNTED),
    )


def _combinations(connection: sqlite3.Connection, filters: Filters) -> list[tuple[str, str, str]]:
    """Kind, channel and severity of all rows that the filters can want; a few dozen."""
    condition = named(filters, COUNTED)
    return connection.execute(
        "SELECT kind, channel, severity FROM realm_totals"
        f" WHERE happened > gone AND {condition.sql}",
        condition.params,
    ).fetchall()


def newest(
    connection: sqlite3.Connection, path: Path, bounds: Bounds, limit: int
) -> list[Position]:
    """The newest `limit` rows of all groups of a path within bounds, newest first."""
    query = (
        f"SELECT time_unix_nano, id {path.source()} AND time_unix_nano >= ?"
        " AND (time_unix_nano, id) < (?, ?) AND id <= ?"
        " ORDER BY time_unix_nano DESC, id DESC LIMIT ?"
    )
    best: list[Position] = []
    since = bounds.since
    for group in path.groups:
        found = connection.execute(
            query, (*group, since, *bounds.before, bounds.as_of, limit)
        ).fetchall()
        best = sorted([*best, *map(Position._make, found)], reverse=True)[:limit]
        if len(best) == limit:
            # Nothing older than the worst so far can still come among the best.
            since = best[-1].time_unix_nano
    return best


def matching(
    connection: sqlite3.Connection, positions: list[Position], condition: Condition
) -> list[Position]:
    """Those of some rows for which a condition is true, in the same order."""
    ids = msgspec.json.encode([position.cursor for position in positions]).decode()
    kept = {
        row[0]
        for row in connection.execute(
            "SELECT id FROM battle_log WHERE id IN (SELECT value FROM json_each(?))"
            f" AND {condition.sql}",
            (ids, *condition.params),
        )
    }
    return [position for position in positions if position.cursor in kept]
