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
    parts = [
        one_of(column, values)
        for field, column in COLUMNS.items()
        if field not in without and (values := getattr(filters, field))
    ]
    parts += [_has(has) for has in filters.has]
    parts += [Condition(f"NOT {(part := _has(has)).sql}", part.params) for has in filters.has_not]
    return both(parts)


def one_of(column: str, values: Collection[object]) -> Condition:
    """A column that is one of some values. The plus keeps the planner from choosing an index."""
    return Condition(f"+{column} IN ({', '.join('?' * len(values))})", tuple(values))


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
    texts = has.json_texts()
    tests, params = [], []
    for path in has.json_paths():
        tests.append("(json_type(details_json, ?) = 'text' AND json_extract(details_json, ?) = ?)")
        params += [path, path, has.value]
        if texts:
            # Numbers are compared as JSON text: SQLite 3.40 reads some a last bit off.
            marks = ", ".join("?" * len(texts))
            tests.append(
                "(json_type(details_json, ?) NOT IN ('text', 'object', 'array')"
                f" AND (details_json -> ?) IN ({marks}))"
            )
            params += [path, path, *texts]
    # Older code could write details that are not JSON, where the functions above would raise.
    return Condition(
        f"(CASE WHEN json_valid(details_json) THEN coalesce({' OR '.join(tests)}, 0) ELSE 0 END)",
        tuple(params),
    )
