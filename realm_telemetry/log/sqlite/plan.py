"""The plan of a query: conditions on single rows, and paths through the indexes.

An index that begins with kind, channel and severity gives the rows of one combination in order of
time. So a filter becomes groups, one for each combination that occurs; the newest of every group
are fetched and merged, without a scan or a sort. Each query touches about as many index entries as
rows are wanted. What no index answers (producer, details) is a condition on the rows that the path
leads to, and whoever walks it has a deadline.
"""

import re
import sqlite3
from collections.abc import Collection
from functools import cached_property
from itertools import product
from typing import Any, Final, Self

import msgspec

from realm_telemetry.log.fields import FIELDS, Field
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.has import Has
from realm_telemetry.log.sqlite.foreign_text import equals
from realm_telemetry.log.sqlite.odd_rows import HAS_FUNCTION
from realm_telemetry.log.sqlite.schema import (
    CAMPAIGN_INDEX,
    HERO_INDEX,
    HERO_RUN_INDEX,
    KIND_INDEX,
    RUN_INDEX,
    TIME_INDEX,
)
from realm_telemetry.log.tokens import NEWEST, Position
from realm_telemetry.values.paths import key_lists

Group = tuple[object, ...]

# The others are quotes, backslashes, control characters and what is not ASCII.
_PLAIN_PATH: Final = re.compile(r"[ !#-\[\]-~]+")

OLDEST: Final = -(2**63)
_LAST_REAL: Final = 2.0**63 - 1024

COUNTED: Final = ("kind", "channel", "severity")
"""The fields that totals and hourly counts can answer, in the order of the index by kind."""

# Runs are the narrowest.
_INDEXES: Final = {"run": RUN_INDEX, "campaign": CAMPAIGN_INDEX, "hero": HERO_INDEX}
_PAIR: Final = tuple(field for name in ("run", "hero") for field in FIELDS if field.name == name)
_MOST_PAIRS: Final = 64
_UNINDEXED: Final = tuple(
    field for field in FIELDS if field.name not in COUNTED and field.name not in _INDEXES
)


class Condition(msgspec.Struct, frozen=True):
    """A piece of SQL that is true or false of a row, and its parameters."""

    sql: str
    params: tuple[object, ...] = ()


TRUE: Final = Condition("1")


class Bounds(msgspec.Struct, frozen=True):
    """The part of history that a query looks at.

    since: the earliest time. before: the place that all rows lie below.
    as_of: the highest row id; later arrivals are left out.
    """

    since: int
    before: Position
    as_of: int


class AccessPath(msgspec.Struct, frozen=True):
    """An index, the values of its first columns for each group, and what it leaves to be asked.

    rest: what the filters ask of a row (times and words apart) beyond what the index answers.
    """

    index: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    rest: Condition = TRUE

    def source(self, group: Group = ()) -> str:
        """SQL from FROM on, for one group; its values are the parameters."""
        compared = map(equals, self.columns, group)
        conditions = " AND ".join(["time_unix_nano IS NOT NULL", *compared])
        return f"FROM battle_log INDEXED BY {self.index} WHERE {conditions}"


TIME_PATH: Final = AccessPath(TIME_INDEX, (), ((),))


class Plan(msgspec.Struct, frozen=True, dict=True):
    """What filters ask of the log, worked out once for page, count, histogram and export.

    since, end: the span of time; all rows lie below `end`.
    counted: the part that totals and hourly counts can answer.
    exact: whether that is all but for times, so that no row has to be looked at to count.
    scans: whether names are wanted that no index finds, so that many rows may be looked at.
    """

    filters: Filters
    since: int
    end: Position
    counted: Condition
    exact: bool
    scans: bool

    @classmethod
    def of(cls, filters: Filters) -> Self:
        """Plan a query."""
        since, until = filters.since_unix_nano, filters.until_unix_nano
        return cls(
            filters,
            OLDEST if since is None else since,
            NEWEST if until is None else Position(until, OLDEST),
            both([_named(filters, field) for field in FIELDS if field.name in COUNTED]),
            _is_counted(filters),
            any(filters.wanted(field) for field in _UNINDEXED),
        )

    @cached_property
    def row(self) -> Condition:
        """What a row must fulfil, words apart, where no path leads to it."""
        filters = self.filters
        within = _within(filters.since_unix_nano, filters.until_unix_nano)
        return both([_left_over(filters, ()), within])

    def paths(self, connection: sqlite3.Connection) -> list[AccessPath]:
        """The paths that could answer the filters, at least one; walking shows which is best."""
        pair = self._pair_path()
        if pair is not None:
            return [pair]
        paths = [
            self._path_by(connection, field, _INDEXES[field.name])
            for name in _INDEXES
            for field in FIELDS
            if field.name == name and self.filters.wanted(field)
        ]
        return paths or [self._counted_path(connection)]

    def _pair_path(self) -> AccessPath | None:
        """The path of a hero and a run together, which neither alone finds fast; None for more.

        Only a few pairs, for each is a group.
        """
        names = [
            [name for name in dict.fromkeys(self.filters.wanted(field)) if name not in unwanted]
            for field in _PAIR
            for unwanted in [self.filters.unwanted(field)]
            if self.filters.wanted(field)
        ]
        if len(names) < len(_PAIR) or len(names[0]) * len(names[1]) > _MOST_PAIRS:
            return None
        rest = _left_over(self.filters, [field.name for field in _PAIR])
        columns = tuple(field.column for field in _PAIR)
        return AccessPath(HERO_RUN_INDEX, columns, tuple(product(*names)), rest)

    def path_by_kind(self, connection: sqlite3.Connection) -> AccessPath:
        """The path by kind, channel and severity; its groups end with the severity."""
        groups = tuple(self._combinations(connection))
        return AccessPath(KIND_INDEX, COUNTED, groups, _left_over(self.filters, COUNTED))

    def _counted_path(self, connection: sqlite3.Connection) -> AccessPath:
        """The path by kind, channel and severity; by time alone if none of them is named."""
        if self.counted != TRUE:
            return self.path_by_kind(connection)
        return msgspec.structs.replace(TIME_PATH, rest=_left_over(self.filters, ()))

    def _path_by(self, connection: sqlite3.Connection, field: Field, index: str) -> AccessPath:
        unwanted = self.filters.unwanted(field)
        combinations = self._combinations(connection)
        groups = tuple(
            (value, *combination)
            for value in dict.fromkeys(self.filters.wanted(field))
            if value not in unwanted
            for combination in combinations
        )
        rest = _left_over(self.filters, (field.name, *COUNTED))
        return AccessPath(index, (field.column, *COUNTED), groups, rest)

    def _combinations(self, connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
        """Kind, channel and severity of all rows that the filters can want; a few dozen."""
        return connection.execute(
            "SELECT kind, channel, severity FROM realm_totals"
            f" WHERE happened > gone AND {self.counted.sql}",
            self.counted.params,
        ).fetchall()


def _is_counted(filters: Filters) -> bool:
    return not (filters.has or filters.has_not or filters.q) and all(
        field.name in COUNTED or not filters.asks_for(field) for field in FIELDS
    )


def _left_over(filters: Filters, answered: Collection[str]) -> Condition:
    """What names and details ask for, without the fields that an index has answered already."""
    parts = [_named(filters, field) for field in FIELDS if field.name not in answered]
    parts += [_has(has) for has in filters.has]
    parts += [Condition(f"NOT {(part := _has(has)).sql}", part.params) for has in filters.has_not]
    return both(parts)


def _named(filters: Filters, field: Field) -> Condition:
    """What a field asks for: names that must fit, and names that must not."""
    parts, value = [], _value_of(field)
    if wanted := filters.wanted(field):
        parts.append(Condition(f"{value} IN ({_marks(wanted)})", wanted))
    if unwanted := filters.unwanted(field):
        sql = f"({value} IS NULL OR {value} NOT IN ({_marks(unwanted)}))"
        parts.append(Condition(sql, unwanted))
    return both(parts)


def _value_of(field: Field) -> str:
    # The plus keeps the planner from choosing an index.
    value = f"+{field.sql or field.column}"
    return f"coalesce({value}, '{field.absent}')" if field.absent else value


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _within(since: int | None, until: int | None) -> Condition:
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
    # A BLOB, because text that is not UTF-8 could not be handed over.
    function = f"{HAS_FUNCTION}(CAST(details_json AS BLOB), ?, ?)"
    if not _PLAIN_PATH.fullmatch(has.path):
        # Other keys cannot be written in a path of SQLite's, or are not found where JSON escapes
        # them.
        return Condition(function, (has.path, has.value))
    tests = [test for keys in key_lists(has.path) for test in _tests(has, keys)]
    # Other software may write details that are not JSON, where SQLite's functions would raise.
    return Condition(
        "(CASE WHEN details_json IS NULL THEN 0 WHEN typeof(details_json) != 'text'"
        f" OR NOT json_valid(details_json) THEN {function}"
        f" {' '.join(f'WHEN {test.sql} THEN 1' for test in tests)} ELSE 0 END)",
        (has.path, has.value, *(value for test in tests for value in test.params)),
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


def position(row: tuple[Any, int]) -> Position:
    """The place of a row in history, from its time and id; other software may write any type."""
    moment, cursor = row
    if type(moment) is float:
        moment = int(min(max(moment, float(OLDEST)), _LAST_REAL))
    elif type(moment) is not int:
        # Text and BLOBs are sorted after all numbers.
        moment = NEWEST.time_unix_nano
    return Position(moment, cursor)


def newest(
    connection: sqlite3.Connection, path: AccessPath, bounds: Bounds, limit: int
) -> list[Position]:
    """The newest `limit` rows of all groups of a path within bounds, newest first."""
    best: list[Position] = []
    since = bounds.since
    for group in path.groups:
        found = connection.execute(
            f"SELECT time_unix_nano, id {path.source(group)} AND time_unix_nano >= ?"
            " AND (time_unix_nano, id) < (?, ?) AND id <= ?"
            " ORDER BY time_unix_nano DESC, id DESC LIMIT ?",
            (*group, since, *bounds.before, bounds.as_of, limit),
        ).fetchall()
        best = sorted([*best, *map(position, found)], reverse=True)[:limit]
        if best and len(best) == limit:
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


ALL: Final = Plan.of(Filters())
"""The plan for every event."""
