"""The log in order of arrival: what the live view, exporters and the fold follow."""

import sqlite3

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import READ_COLUMNS, LogRow, Row, read_rows, to_log_row
from realm_telemetry.log.sqlite.addresses import Addresses
from realm_telemetry.log.sqlite.inserts import last_cursor
from realm_telemetry.log.sqlite.plan import TIME_PATH, Group, both, kind_path, residual, within
from realm_telemetry.log.text import contains_words

_WINDOW = 20_000
ARRIVALS_WINDOW = 1_000
"""Row ids that one step of `LogReader.arrivals` looks at."""
_SEARCHED_FOR_A_GROUP = 1_000


class Followed(msgspec.Struct, frozen=True):
    """Rows of a pipeline, and the cursor to go on from, which may be past the last of them."""

    rows: list[LogRow]
    cursor: int


def before_since(connection: sqlite3.Connection, since_unix_nano: int | None) -> int:
    """A cursor behind which lie all rows that happened since a time; reads index entries only."""
    if since_unix_nano is None:
        return min_cursor(connection)
    row = connection.execute(
        f"SELECT min(id) {TIME_PATH.source()} AND time_unix_nano >= ?", (since_unix_nano,)
    ).fetchone()
    return last_cursor(connection) if row[0] is None else int(row[0]) - 1


def between(
    connection: sqlite3.Connection, cursor: int, end: int, filters: Filters, log_id: str
) -> list[LogRow]:
    """The rows after a cursor and up to another that the filters want."""
    condition = both([residual(filters), within(filters.since_unix_nano, filters.until_unix_nano)])
    found = connection.execute(
        f"SELECT {READ_COLUMNS} FROM battle_log WHERE id > ? AND id <= ? AND {condition.sql}"
        " ORDER BY id",
        (cursor, end, *condition.params),
    )
    rows = [to_log_row(row, log_id) for row in found]
    return [row for row in rows if not filters.q or contains_words(row.event, filters.q)]


def after(
    connection: sqlite3.Connection,
    cursor: int,
    limit: int,
    filters: Filters | None,
    log_id: str,
    addresses: Addresses | None,
) -> list[LogRow]:
    """Up to `limit` rows after a cursor that the filters want."""
    filters = filters or Filters()
    condition = both([residual(filters), within(filters.since_unix_nano, filters.until_unix_nano)])
    query = f"SELECT {READ_COLUMNS} FROM battle_log WHERE id > ? AND {condition.sql} ORDER BY id"
    found = connection.execute(query, (cursor, *condition.params))
    if not filters.q:
        return _events(connection, found.fetchmany(limit), log_id, addresses)
    rows: list[Row] = []
    for row in found:
        if contains_words(to_log_row(row, log_id).event, filters.q):
            rows.append(row)
        if len(rows) == limit:
            break
    return _events(connection, rows, log_id, addresses)


def follow(
    connection: sqlite3.Connection,
    cursor: int,
    limit: int,
    pipeline: str,
    log_id: str,
    addresses: Addresses | None,
) -> Followed:
    """Up to `limit` rows of a pipeline's producers, from a window of row ids."""
    end = min(cursor + max(_WINDOW, limit), last_cursor(connection))
    rows = connection.execute(
        f"SELECT {READ_COLUMNS} FROM battle_log WHERE id > ? AND id <= ? AND +producer IN"
        " (SELECT producer FROM realm_producers WHERE pipeline = ?) ORDER BY id LIMIT ?",
        (cursor, end, pipeline, limit),
    ).fetchall()
    reached = rows[-1][0] if len(rows) == limit else max(end, cursor)
    return Followed(_events(connection, rows, log_id, addresses), reached)


def latest(
    connection: sqlite3.Connection, per_group: int, late_after_ns: int, log_id: str
) -> list[LogRow]:
    """The newest rows of each channel and severity that were not late, by arrival.

    Behind an import of older events a kind may have fewer: only its newest 1,000 are looked at.
    """
    path = kind_path(connection, Filters())
    query = (
        "SELECT id FROM (SELECT id, time_unix_nano,"
        f" coalesce(origin_observed_unix_nano, observed_unix_nano) AS arrival {path.source()}"
        f" ORDER BY time_unix_nano DESC, id DESC LIMIT {_SEARCHED_FOR_A_GROUP})"
        " WHERE arrival - time_unix_nano <= ? LIMIT ?"
    )
    found: dict[Group, list[int]] = {}
    for kind, channel, severity in path.groups:
        rows = connection.execute(query, (kind, channel, severity, late_after_ns, per_group))
        found.setdefault((channel, severity), []).extend(row[0] for row in rows)
    newest = [cursor for ids in found.values() for cursor in sorted(ids)[-per_group:]]
    return read_rows(connection, sorted(newest), log_id)


def min_cursor(connection: sqlite3.Connection) -> int:
    """The row id before the first row that is still there."""
    row = connection.execute("SELECT min(id) FROM battle_log").fetchone()
    return last_cursor(connection) if row[0] is None else int(row[0]) - 1


def _events(
    connection: sqlite3.Connection, rows: list[Row], log_id: str, addresses: Addresses | None
) -> list[LogRow]:
    """Rows as events, with what they ask for if there is somewhere to look it up."""
    found = [to_log_row(row, log_id) for row in rows]
    if addresses is None or not found:
        return found
    asked = connection.execute(
        "SELECT cursor, urls FROM webhook_requests WHERE cursor BETWEEN ? AND ?",
        (found[0].cursor, found[-1].cursor),
    ).fetchall()
    if not asked:
        return found
    urls = {cursor: addresses.find(msgspec.json.decode(kept)) for cursor, kept in asked}
    return [_with_webhooks(row, urls.get(row.cursor, ())) for row in found]


def _with_webhooks(row: LogRow, urls: tuple[str, ...]) -> LogRow:
    if not urls:
        return row
    event = msgspec.structs.replace(row.event, webhooks=urls)
    return msgspec.structs.replace(row, event=event)
