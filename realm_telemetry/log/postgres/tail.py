"""The log in order of arrival: what the live view, exporters and the fold follow."""

from typing import Final

from realm_telemetry.event import LATE_AFTER_NS
from realm_telemetry.log.arrival import with_jumps, with_webhooks
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.postgres.plan import Plan
from realm_telemetry.log.postgres.rows import read_rows, rows_where
from realm_telemetry.log.postgres.transaction import ReadTransaction
from realm_telemetry.log.rows import Followed, LogRow

_WINDOW: Final = 20_000
_STEP: Final = 2_000
ARRIVALS_WINDOW: Final = 1_000
"""Cursors that one step of `arrivals` looks at."""
_SEARCHED_FOR_A_GROUP: Final = 1_000


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
    if filters is None:
        rows = rows_where(log.session, "e.id > ? ORDER BY e.id LIMIT ?", (cursor, limit))
        return _events(log, cursor, rows, webhooks=webhooks)
    plan, place = Plan.of(log.session, filters), cursor
    found: list[LogRow] = []
    while len(found) < limit:
        rows = rows_where(
            log.session,
            f"e.id > ? AND {plan.row.sql} ORDER BY e.id LIMIT ?",
            (place, *plan.row.params, _STEP),
        )
        found += [row for row in rows if filters.matches(row.event)]
        if len(rows) < _STEP:
            break
        place = rows[-1].cursor
    return _events(log, cursor, found[:limit], webhooks=webhooks)


def follow(
    log: ReadTransaction, cursor: int, limit: int = 1000, *, pipeline: str, webhooks: bool = False
) -> Followed:
    """Rows of one pipeline's producers after a cursor, and how far was looked."""
    end = min(cursor + max(_WINDOW, limit), max_cursor(log))
    rows = rows_where(
        log.session,
        "e.id > ? AND e.id <= ? AND left(replace(e.event_id::text, '-', ''), 16) IN"
        " (SELECT producer FROM realm_producers WHERE pipeline = ?) ORDER BY e.id LIMIT ?",
        (cursor, end, pipeline, limit),
    )
    reached = rows[-1].cursor if len(rows) == limit else max(end, cursor)
    return Followed(_events(log, cursor, rows, webhooks=webhooks), reached)


def arrivals_between(log: ReadTransaction, filters: Filters, cursor: int, end: int) -> list[LogRow]:
    """The rows after a cursor and up to another that match."""
    plan = Plan.of(log.session, filters)
    rows = rows_where(
        log.session,
        f"e.id > ? AND e.id <= ? AND {plan.row.sql} ORDER BY e.id",
        (cursor, end, *plan.row.params),
    )
    return [row for row in rows if filters.matches(row.event)]


def cursor_before(log: ReadTransaction, since_unix_nano: int) -> int:
    """A cursor behind which lie all rows that happened since a time."""
    row = log.session.execute(
        "SELECT min(id) FROM events WHERE time_unix_nano >= ?", (since_unix_nano,)
    ).fetchone()
    return max_cursor(log) if row[0] is None else int(row[0]) - 1


def latest(log: ReadTransaction, per_group: int = 50) -> list[LogRow]:
    """The newest rows of each channel and severity that did not come late, by arrival.

    Behind an import of older events a kind may have fewer: only its newest 1,000 are looked at.
    """
    rows = log.session.execute(
        "SELECT g.channel, g.severity, w.id FROM realm_groups AS g, LATERAL (SELECT id FROM"
        " (SELECT id, time_unix_nano, coalesce(origin_observed_unix_nano, observed_unix_nano)"
        " AS arrival FROM events WHERE group_id = g.id ORDER BY time_unix_nano DESC, id DESC"
        f" LIMIT {_SEARCHED_FOR_A_GROUP}) AS newest WHERE arrival - time_unix_nano::numeric <= ?"
        " LIMIT ?) AS w WHERE g.happened > g.gone",
        (LATE_AFTER_NS, per_group),
    )
    found: dict[tuple[str, str], list[int]] = {}
    for channel, severity, cursor in rows.fetchall():
        found.setdefault((channel, severity), []).append(cursor)
    newest = [cursor for ids in found.values() for cursor in sorted(ids)[-per_group:]]
    return read_rows(log.session, sorted(newest))


def max_cursor(log: ReadTransaction) -> int:
    """The cursor of the last row, even if that is gone; 0 in a new log."""
    (cursor,) = log.session.execute("SELECT cursor FROM realm_head").fetchone()
    return int(cursor)


def min_cursor(log: ReadTransaction) -> int:
    """The lowest cursor that can still be resumed from: every row after it is there."""
    row = log.session.execute("SELECT min(id) FROM events").fetchone()
    return max_cursor(log) if row[0] is None else int(row[0]) - 1


def first_webhook_cursor(log: ReadTransaction) -> int | None:
    """The cursor of the first event there that names addresses; None if none does."""
    row = log.session.execute("SELECT min(cursor) FROM webhook_requests").fetchone()
    return None if row[0] is None else int(row[0])


def _events(
    log: ReadTransaction, after: int, found: list[LogRow], *, webhooks: bool
) -> list[LogRow]:
    """Rows after a cursor, with the steps of the clock, and with the addresses if asked for."""
    if not found:
        return found
    jumps = log.session.execute(
        "SELECT cursor, arrival_unix_nano FROM realm_clock_jumps WHERE cursor > ? AND cursor <= ?",
        (after, found[-1].cursor),
    ).fetchall()
    found = with_jumps(found, jumps)
    if not webhooks:
        return found
    asked = log.session.execute(
        "SELECT cursor, urls FROM webhook_requests WHERE cursor BETWEEN ? AND ?",
        (found[0].cursor, found[-1].cursor),
    ).fetchall()
    return with_webhooks(found, asked, log.addresses.find)
