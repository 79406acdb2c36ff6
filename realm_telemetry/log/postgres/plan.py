"""The plan of a query: conditions on single rows, and paths through the indexes.

Kind, channel and severity are a group, and few groups occur. An index that begins with the group
gives its rows in order of time; one statement takes the newest of every group (LATERAL) and merges
them. What no index answers is a condition on the rows that the path leads to.

Details are compared in Python. The server only leaves out rows whose JSON does not have the value's
text: its own JSON functions refuse an escaped NUL, and read numbers in another way.
"""

from collections.abc import Collection, Sequence
from functools import cached_property
from itertools import product
from typing import Any, Final, Self

import msgspec

from realm_telemetry.log.fields import FIELDS, Field
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.has import Has
from realm_telemetry.log.postgres.connection import Session
from realm_telemetry.log.postgres.texts import from_stored, to_name
from realm_telemetry.log.tokens import NEWEST, Position

OLDEST: Final = -(2**63)
COUNTED: Final = ("kind", "channel", "severity")
"""The fields that make a group, whose totals and hourly counts are kept."""

# Runs are the narrowest.
_NAMED: Final = ("run", "campaign", "hero")
_PAIR: Final = ("run", "hero")
_BY_NAME: Final = {field.name: field for field in FIELDS}
_VALUES: Final = {
    "rank": "e.rank::text",
    "producer": "left(replace(e.event_id::text, '-', ''), 16)",
    "source": "e.source",
}
_UNINDEXED: Final = tuple(
    field for field in FIELDS if field.name not in COUNTED and field.name not in _NAMED
)
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Condition(msgspec.Struct, frozen=True):
    """A piece of SQL that is true or false of a row `e`, and its parameters."""

    sql: str
    params: tuple[Any, ...] = ()


TRUE: Final = Condition("true")


class Bounds(msgspec.Struct, frozen=True):
    """The part of history that a query looks at.

    since: the earliest time. before: the place that all rows lie below.
    as_of: the highest cursor; later arrivals are left out.
    """

    since: int
    before: Position
    as_of: int


class Group(msgspec.Struct, frozen=True):
    """A combination of kind, channel and severity that occurs."""

    id: int
    kind: str
    channel: str
    severity: str


class Path(msgspec.Struct, frozen=True):
    """A way through an index: which rows it leads to, and what it leaves to be asked.

    source: what the index is asked for, one row for each of its beginnings, as SQL of `at`.
    start: the condition of an index entry on it. rest: what it does not answer.
    """

    source: str
    params: tuple[Any, ...]
    start: str
    rest: Condition = TRUE


class Walked(msgspec.Struct, frozen=True):
    """A row that a path led to. fits: whether it is wanted."""

    place: Position
    group: int
    fits: bool


class Plan(msgspec.Struct, frozen=True, dict=True):
    """What filters ask of the log, worked out once for page, count, histogram and export.

    groups: those that the filters can want. is_counted: whether some of COUNTED is asked for.
    exact: whether that is all but for times, so that no row has to be looked at to count.
    scans: whether names are wanted that no index finds, so that many rows may be looked at.
    """

    filters: Filters
    since: int
    end: Position
    groups: tuple[Group, ...]
    is_counted: bool
    exact: bool
    scans: bool

    @classmethod
    def of(cls, session: Session, filters: Filters) -> Self:
        """Plan a query."""
        since, until = filters.since_unix_nano, filters.until_unix_nano
        return cls(
            filters,
            OLDEST if since is None else since,
            NEWEST if until is None else Position(until, OLDEST),
            tuple(group for group in read_groups(session) if _is_wanted(filters, group)),
            any(filters.asks_for(_BY_NAME[name]) for name in COUNTED),
            _is_exact(filters),
            any(filters.wanted(field) for field in _UNINDEXED),
        )

    @property
    def group_ids(self) -> list[int]:
        """The ids of the groups."""
        return [group.id for group in self.groups]

    @cached_property
    def row(self) -> Condition:
        """What a row must fulfil, words apart, where no path leads to it; see `confirms`."""
        parts = [self._grouped(), self._left_over(())]
        if self.filters.since_unix_nano is not None:
            parts.append(Condition("e.time_unix_nano >= ?", (self.filters.since_unix_nano,)))
        if self.filters.until_unix_nano is not None:
            parts.append(Condition("e.time_unix_nano < ?", (self.filters.until_unix_nano,)))
        return both(parts)

    @property
    def confirms(self) -> bool:
        """Whether details have to be compared: a condition lets too many through."""
        return bool(self.filters.has or self.filters.has_not)

    def wants(self, details: str | None) -> bool:
        """Whether details have what the filters ask of them, and nothing that they must not."""
        found = _decode(details) if details else {}
        return all(has.matches(found) for has in self.filters.has) and not any(
            has.matches(found) for has in self.filters.has_not
        )

    def paths(self) -> list[Path]:
        """The paths that could answer the filters, at least one; walking shows which is best."""
        names = {name: self._wanted(name) for name in _NAMED if self._asks(name)}
        if all(name in names for name in _PAIR):
            pairs = list(product(names["run"], names["hero"]))
            source = "unnest(?::text[], ?::text[]) AS at (run_id, hero_id)"
            params = ([run for run, _ in pairs], [hero for _, hero in pairs])
            start = "run_id = at.run_id AND hero_id = at.hero_id"
            rest = both([self._grouped(), self._left_over(_PAIR)])
            return [Path(source, params, start, rest)]
        return [self._by_name(name, wanted) for name, wanted in names.items()] or [self._by_group()]

    def _by_name(self, name: str, wanted: list[str]) -> Path:
        pairs = list(product(wanted, self.group_ids))
        params = ([value for value, _ in pairs], [group for _, group in pairs])
        start = f"{_BY_NAME[name].column} = at.name AND group_id = at.group_id"
        source = "unnest(?::text[], ?::integer[]) AS at (name, group_id)"
        return Path(source, params, start, self._left_over((name,)))

    def _by_group(self) -> Path:
        """By kind, channel and severity; by time alone if none of them is named."""
        rest = self._left_over(())
        if not self.is_counted:
            return Path("(SELECT 1) AS at", (), "true", rest)
        source = "unnest(?::integer[]) AS at (group_id)"
        return Path(source, (self.group_ids,), "group_id = at.group_id", rest)

    def _asks(self, name: str) -> bool:
        return bool(self.filters.wanted(_BY_NAME[name]))

    def _wanted(self, name: str) -> list[str]:
        field = _BY_NAME[name]
        unwanted = self.filters.unwanted(field)
        wanted = dict.fromkeys(self.filters.wanted(field))
        return [to_name(each) for each in wanted if each not in unwanted]

    def _grouped(self) -> Condition:
        if not self.is_counted:
            return TRUE
        return Condition("e.group_id = ANY(?::integer[])", (self.group_ids,))

    def _left_over(self, answered: Collection[str]) -> Condition:
        """What names and details ask for, without groups and what an index has answered."""
        fields = [f for f in FIELDS if f.name not in COUNTED and f.name not in answered]
        parts = [_named(self.filters, field) for field in fields]
        return both(parts + [_may_have(has) for has in self.filters.has])


def read_groups(session: Session) -> list[Group]:
    """The groups that there are rows of."""
    rows = session.execute(
        "SELECT id, kind, channel, severity FROM realm_groups WHERE happened > gone"
    )
    return [Group(row[0], *map(from_stored, row[1:])) for row in rows]


def _is_wanted(filters: Filters, group: Group) -> bool:
    for name in COUNTED:
        value = getattr(group, name)
        wanted = filters.wanted(_BY_NAME[name])
        if (wanted and value not in wanted) or value in filters.unwanted(_BY_NAME[name]):
            return False
    return True


def _is_exact(filters: Filters) -> bool:
    return not (filters.has or filters.has_not or filters.q) and all(
        field.name in COUNTED or not filters.asks_for(field) for field in FIELDS
    )


def _named(filters: Filters, field: Field) -> Condition:
    """What a field asks for: names that must fit, and names that must not."""
    value = _VALUES.get(field.name, f"e.{field.column}")
    if field.absent:
        value = f"coalesce({value}, '{field.absent}')"
    parts = []
    if wanted := filters.wanted(field):
        parts.append(Condition(f"{value} = ANY(?::text[])", (_names(wanted),)))
    if unwanted := filters.unwanted(field):
        sql = f"({value} IS NULL OR {value} <> ALL(?::text[]))"
        parts.append(Condition(sql, (_names(unwanted),)))
    return both(parts)


def _names(values: Sequence[str]) -> list[str]:
    return [to_name(value) for value in values]


def _may_have(has: Has) -> Condition:
    """Whether the text of the details has that of the value, somewhere."""
    texts = [msgspec.json.encode(has.value).decode(), *has.json_texts()]
    return Condition(
        f"({' OR '.join('position(? IN e.details::text) > 0' for _ in texts)})", tuple(texts)
    )


def both(parts: Collection[Condition]) -> Condition:
    """All of some conditions; TRUE if there are none."""
    parts = [part for part in parts if part != TRUE]
    if not parts:
        return TRUE
    return Condition(
        " AND ".join(part.sql for part in parts),
        tuple(value for part in parts for value in part.params),
    )


def newest(session: Session, plan: Plan, path: Path, bounds: Bounds, limit: int) -> list[Walked]:
    """The newest `limit` rows of a path within bounds, newest first, and which are wanted."""
    is_direct = path.rest == TRUE
    details = "CASE WHEN fits THEN details END" if plan.confirms else "NULL"
    taken = "e.details::text" if plan.confirms else "NULL::text"
    inner = (
        "SELECT time_unix_nano, id, group_id FROM events"
        f" WHERE {path.start} AND time_unix_nano >= ? AND (time_unix_nano, id) < (?, ?)"
        " AND id <= ? ORDER BY time_unix_nano DESC, id DESC LIMIT ?"
    )
    walked = (
        f"SELECT w.time_unix_nano, w.id, w.group_id FROM {path.source},"
        f" LATERAL ({inner}) AS w ORDER BY 1 DESC, 2 DESC LIMIT ?"
    )
    params = (*path.params, bounds.since, *bounds.before, bounds.as_of, limit, limit)
    if is_direct and not plan.confirms:
        rows = session.execute(walked, params).fetchall()
        return [Walked(Position(time, cursor), group, True) for time, cursor, group in rows]
    rows = session.execute(
        f"SELECT time_unix_nano, id, group_id, fits, {details} FROM (SELECT w.time_unix_nano, w.id,"
        f" w.group_id, ({path.rest.sql}) IS TRUE AS fits, {taken} AS details"
        f" FROM ({walked}) AS w JOIN events AS e ON e.id = w.id) AS looked"
        " ORDER BY 1 DESC, 2 DESC",
        (*path.rest.params, *params),
    ).fetchall()
    return [
        Walked(
            Position(time, cursor),
            group,
            fits and (not plan.confirms or plan.wants(details)),
        )
        for time, cursor, group, fits, details in rows
    ]
