"""Filters as SQL conditions on single rows of `battle_log`."""

from collections.abc import Collection

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.has import Has


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
