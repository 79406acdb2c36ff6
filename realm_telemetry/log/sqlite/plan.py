"""Ways to reach rows in history's order through an index, without a scan or a sort.

An index that begins with kind, channel and severity gives the rows of one combination in order of
time. So a filter becomes groups, one for each combination that occurs; the newest of every group
are fetched and merged. Each query touches about as many index entries as rows are wanted.
What an index does not answer becomes an SQL condition on single rows.
"""

import sqlite3
from collections.abc import Collection
from typing import Final

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.has import Has
from realm_telemetry.log.sqlite.schema import (
    CAMPAIGN_INDEX,
    HERO_INDEX,
    KIND_INDEX,
    RUN_INDEX,
    TIME_INDEX,
)
from realm_telemetry.log.tokens import Position


class Condition(msgspec.Struct, frozen=True):
    """A piece of SQL that is true or false of a row, and its parameters."""

    sql: str
    params: tuple[object, ...] = ()


TRUE = Condition("1")

COLUMNS = {
    "channels": "channel",
    "kinds": "kind",
    "severities": "severity",
    "heroes": "hero_id",
    "campaigns": "campaign_id",
    "runs": "run_id",
    "producers": "producer",
}


def residual(filters: Filters, without: Collection[str] = ()) -> Condition:
    """What names and details ask for, without the fields that an index has answered already.

    Times, `q`, page and limit are not part of it.
    """
    parts = [named(filters, [field for field in COLUMNS if field not in without])]
    parts += [_has(has) for has in filters.has]
    parts += [Condition(f"NOT {(part := _has(has)).sql}", part.params) for has in filters.has_not]
    return both(parts)


def asks_for(filters: Filters, field: str) -> bool:
    """Whether the filters name anything by this field of COLUMNS."""
    return bool(getattr(filters, field) or getattr(filters, f"not_{field}"))


def named(filters: Filters, fields: Collection[str]) -> Condition:
    """What some of the fields in COLUMNS ask for: names that must fit, and that must not."""
    parts = []
    for field in fields:
        column = COLUMNS[field]
        # The plus keeps the planner from choosing an index.
        if wanted := getattr(filters, field):
            parts.append(Condition(f"+{column} IN ({_marks(wanted)})", wanted))
        if unwanted := getattr(filters, f"not_{field}"):
            sql = f"(+{column} IS NULL OR +{column} NOT IN ({_marks(unwanted)}))"
            parts.append(Condition(sql, unwanted))
    return both(parts)


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def within(since: int | None, until: int | None) -> Condition:
    """Times at or after `since` and before `until`."""
    parts = []
    if since is not None:
        parts.append(Condition("+time_unix_nano >= ?", (since,)))
    if until is not None:
        parts.append(Condition("+time_unix_nano < ?", (until,)))
    return both(parts)


def both(parts: Collection[Condition]) -> Condition:
    """All of some conditions; TRUE if there are none."""
    parts = [part for part in parts if part != TRUE]
    if not parts:
        return TRUE
    return Condition(
        " AND ".join(part.sql for part in parts),
        tuple(value for part in parts for value in part.params),
    )


def _has(has: Has) -> Condition:
    tests = [test for keys in has.key_lists() for test in _tests(has, keys)]
    # Older code could write details that are not JSON, where the functions would raise.
    return Condition(
        "(CASE WHEN NOT coalesce(json_valid(details_json), 0) THEN 0"
        f" {' '.join(f'WHEN {test.sql} THEN 1' for test in tests)} ELSE 0 END)",
        tuple(value for test in tests for value in test.params),
    )


def _tests(has: Has, keys: list[str]) -> list[Condition]:
    """The value at one place, and among the entries of a list on the way to it."""
    tests = [_is_value(has, "details_json", _json_path(keys))]
    for depth in range(1, len(keys) + 1):
        path = _json_path(keys[:depth])
        rest = keys[depth:]
        entry = _entry_has(has, rest) if rest else _entry_is(has)
        sql = (
            "json_type(details_json, ?) = 'array' AND EXISTS (SELECT 1 FROM"
            f" json_each(details_json, ?) AS entry WHERE {entry.sql})"
        )
        tests.append(Condition(sql, (path, path, *entry.params)))
    return tests


def _json_path(keys: list[str]) -> str:
    return "$" + "".join(f'."{key}"' for key in keys)


def _is_value(has: Has, text: str, path: str) -> Condition:
    """Whether JSON has the value at a path."""
    sql = f"(json_type({text}, ?) = 'text' AND json_extract({text}, ?) = ?"
    params = [path, path, has.value]
    if texts := has.json_texts():
        # Numbers are compared as JSON text: SQLite 3.40 reads some a last bit off.
        sql += (
            f" OR json_type({text}, ?) NOT IN ('text', 'object', 'array')"
            f" AND ({text} -> ?) IN ({_marks(texts)})"
        )
        params += [path, path, *texts]
    return Condition(f"{sql})", tuple(params))


def _entry_has(has: Has, keys: list[str]) -> Condition:
    inside = _is_value(has, "entry.value", _json_path(keys))
    return Condition(f"entry.type = 'object' AND {inside.sql}", inside.params)


def _entry_is(has: Has) -> Condition:
    sql = "(entry.type = 'text' AND entry.atom = ?"
    params: list[object] = [has.value]
    texts = has.json_texts()
    if texts == [has.value] and has.value.isalpha():
        sql, params = f"{sql} OR entry.type = ?", [*params, has.value]
    elif texts:
        # To have its text an entry is looked for again from the list's beginning: only those that
        # come near are.
        sql += (
            " OR entry.type IN ('integer', 'real') AND entry.atom BETWEEN ? AND ?"
            f" AND (details_json -> entry.fullkey) IN ({_marks(texts)})"
        )
        near = [float(has.value) * (1 + off) for off in (-1e-12, 1e-12)]
        params += [*sorted(near), *texts]
    return Condition(f"{sql})", tuple(params))


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
