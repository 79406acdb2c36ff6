"""The log in order of arrival: what the live view, exporters and the fold follow."""

import sqlite3
from collections.abc import Iterator
from itertools import islice

from realm_telemetry.event import LATE_AFTER_NS
from realm_telemetry.log.arrival import with_jumps, with_webhooks
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import Followed, LogRow
from realm_telemetry.log.sqlite.connection import snapshot
from realm_telemetry.log.sqlite.inserts import last_cursor
from realm_telemetry.log.sqlite.plan import ALL, TIME_PATH, Group, Plan
from realm_telemetry.log.sqlite.rows import READ_COLUMNS, read_rows, to_log_row
from realm_telemetry.log.sqlite.transaction import ReadTransaction
from realm_telemetry.log.text import contains_words

_WINDOW = 20_000
ARRIVALS_WINDOW = 1_000
"""Row ids that one step of `arrivals` looks at."""
_SEARCHED_FOR_A_GROUP = 1_000


def after(
    log: ReadTransaction,
    cursor: int,
    limit: int = 1000,
    filters: Filters | None = None,
    *,
    webhooks: bool = False,
) -> list[LogRow]:
    """Up to `limit` wanted rows that arrived after a cursor, in order of arrival.

    webhooks: whether events carry the addresses asked for at emit.
    """
    plan = ALL if filters is None else Plan.of(filters)
    query = f"SELECT {READ_COLUMNS} FROM battle_log WHERE id > ? AND {plan.row.sql} ORDER BY id"
    found = log.connection.execute(query, (cursor, *plan.row.params))
    # One at a time: a row that other software wrote may be of 100 MB.
    wanted = (to_log_row(row, log.log_id) for row in found)
    if words := plan.filters.q:
        wanted = (row for row in wanted if contains_words(row.event, words))
    return _events(log, cursor, list(islice(wanted, limit)), webhooks=webhooks)


def follow(
    log: ReadTransaction, cursor: int, limit: int = 1000, *, pipeline: str, webhooks: bool = False
) -> Followed:
    """Rows of one pipeline's producers after a cursor, and how far was looked."""
    end = min(cursor + max(_WINDOW, limit), last_cursor(log.connection))
    found = log.connection.execute(
        f"SELECT {READ_COLUMNS} FROM battle_log WHERE id > ? AND id <= ? AND +producer IN"
        " (SELECT producer FROM realm_producers WHERE pipeline = ?) ORDER BY id LIMIT ?",
        (cursor, end, pipeline, limit),
    )
    rows = [to_log_row(row, log.log_id) for row in found]
    reached = rows[-1].cursor if len(rows) == limit else max(end, cursor)
    return Followed(_events(log, cursor, rows, webhooks=webhooks), reached)


def arrivals(log: ReadTransaction, filters: Filters, as_of: int | None) -> Iterator[Followed]:
    """All rows that match in order of arrival, in short transactions.

    Each step says how far was looked; one may have no rows. as_of: the last cursor to look at.
    """
    plan = Plan.of(filters)
    with snapshot(log.connection):
        cursor = _before_since(log.connection, filters.since_unix_nano)
        end = last_cursor(log.connection)
    end = end if as_of is None else min(as_of, end)
    while cursor < end:
        upper = min(cursor + ARRIVALS_WINDOW, end)
        with snapshot(log.connection):
            rows = _between(log, cursor, upper, plan)
        yield Followed(rows, upper)
        cursor = upper


def _between(log: ReadTransaction, cursor: int, end: int, plan: Plan) -> list[LogRow]:
    """The rows after a cursor and up to another that match a plan."""
    found = log.connection.execute(
        f"SELECT {READ_COLUMNS} FROM battle_log WHERE id > ? AND id <= ? AND {plan.row.sql}"
        " ORDER BY id",
        (cursor, end, *plan.row.params),
    )
    rows, words = [to_log_row(row, log.log_id) for row in found], plan.filters.q
    return [row for row in rows if not words or contains_words(row.event, words)]


def cursor_before(log: ReadTransaction, since_unix_nano: int) -> int:
    """A cursor behind which lie all rows that happened since a time."""
    return _before_since(log.connection, since_unix_nano)


def _before_since(connection: sqlite3.Connection, since_unix_nano: int | None) -> int:
    """Reads index entries only."""
    if since_unix_nano is None:
        return _min_cursor(connection)
    row = connection.execute(
        f"SELECT min(id) {TIME_PATH.source()} AND time_unix_nano >= ?", (since_unix_nano,)
    ).fetchone()
    return last_cursor(connection) if row[0] is None else int(row[0]) - 1


def latest(log: ReadTransaction, per_group: int = 50) -> list[LogRow]:
    """The newest rows of each channel and severity that did not come late, by arrival.

    Behind an import of older events a kind may have fewer: only its newest 1,000 are looked at.
    """
    path = ALL.path_by_kind(log.connection)
    found: dict[Group, list[int]] = {}
    for group in path.groups:
        rows = log.connection.execute(
            "SELECT id FROM (SELECT id, time_unix_nano, coalesce(origin_observed_unix_nano,"
            f" observed_unix_nano) AS arrival {path.source(group)}"
            f" ORDER BY time_unix_nano DESC, id DESC LIMIT {_SEARCHED_FOR_A_GROUP})"
            " WHERE arrival - time_unix_nano <= ? LIMIT ?",
            (*group, LATE_AFTER_NS, per_group),
        )
        found.setdefault(group[1:], []).extend(row[0] for row in rows)
    newest = [cursor for ids in found.values() for cursor in sorted(ids)[-per_group:]]
    return read_rows(log.connection, sorted(newest), log.log_id)


def min_cursor(log: ReadTransaction) -> int:
    """The lowest cursor that can still be resumed from: every row after it is there."""
    return _min_cursor(log.connection)


def _min_cursor(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT min(id) FROM battle_log").fetchone()
    return last_cursor(connection) if row[0] is None else int(row[0]) - 1


def first_webhook_cursor(log: ReadTransaction) -> int | None:
    """The cursor of the first event there that names addresses; None if none does."""
    row = log.connection.execute("SELECT min(cursor) FROM webhook_requests").fetchone()
    return None if row[0] is None else int(row[0])


def _events(
    log: ReadTransaction, after: int, found: list[LogRow], *, webhooks: bool
) -> list[LogRow]:
    """Rows after a cursor, with the steps of the clock, and with the addresses if asked for."""
    if not found:
        return found
    jumps = log.connection.execute(
        "SELECT cursor, arrival_unix_nano FROM realm_clock_jumps WHERE cursor > ? AND cursor <= ?",
        (after, found[-1].cursor),
    ).fetchall()
    found = with_jumps(found, jumps)
    if not webhooks:
        return found
    asked = log.connection.execute(
        "SELECT cursor, urls FROM webhook_requests WHERE cursor BETWEEN ? AND ?",
        (found[0].cursor, found[-1].cursor),
    ).fetchall()
    return with_webhooks(found, asked, log.addresses.find)
