"""Pages of history, newest first, that neither repeat nor skip while rows arrive."""

import sqlite3
import time
from collections.abc import Iterator

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import LogRow, read_rows
from realm_telemetry.log.sqlite.connection import snapshot
from realm_telemetry.log.sqlite.counts import BUDGET_S, Relation, total
from realm_telemetry.log.sqlite.paths import OLDEST, Bounds
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.sqlite.walks import find
from realm_telemetry.log.tokens import NEWEST, Position, decode_token, encode_token


class Page(msgspec.Struct, frozen=True):
    """Rows newest first: by time, for a search by arrival.

    next_cursor: leads to the rows below; None after the last. A page can be short and still have
        one: looking for rare rows ends after 200 ms.
    as_of: rows that arrived later than this one are left out, on all further pages too.
    total: how many rows the filters want in all; relation "gte" if there may be more.
    indexed_through: for a search, the last row that came from the index.
    """

    rows: list[LogRow]
    next_cursor: str | None
    as_of: int
    total: int
    relation: Relation
    indexed_through: int | None = None


def read_page(
    connection: sqlite3.Connection,
    filters: Filters,
    as_of: int | None,
    search: SearchIndex,
    log_id: str,
    *,
    count: bool = True,
) -> Page:
    """Read one page inside a snapshot. Raises InvalidFilterError for a bad page cursor."""
    place, as_of = _start(connection, filters, as_of)
    if filters.q:
        return _search_page(connection, filters, place, as_of, search, log_id)
    since = OLDEST if filters.since_unix_nano is None else filters.since_unix_nano
    bounds = Bounds(since, _below(filters, place), as_of)
    started = time.monotonic()
    found = find(connection, filters, bounds, filters.limit, started + BUDGET_S)
    rows = read_rows(connection, [position.cursor for position in found.positions], log_id)
    if found.further is None and place is None:
        return Page(rows, None, as_of, len(rows), "eq")
    counted: tuple[int, Relation] = (len(rows), "gte")
    if count:
        counted = total(connection, filters, as_of, time.monotonic() + BUDGET_S)
    token = None if found.further is None else encode_token(found.further, as_of)
    # A count that ran out of time may have seen fewer than the page has.
    return Page(rows, token, as_of, max(counted[0], len(rows)), counted[1])


def export_rows(
    connection: sqlite3.Connection,
    filters: Filters,
    as_of: int | None,
    search: SearchIndex,
    log_id: str,
) -> Iterator[list[LogRow]]:
    """All rows that the filters want, page by page; each page is its own short transaction."""
    filters = msgspec.structs.replace(filters, limit=1000)
    while True:
        with snapshot(connection):
            page = read_page(connection, filters, as_of, search, log_id, count=False)
        yield page.rows
        if page.next_cursor is None:
            return
        filters = msgspec.structs.replace(filters, cursor=page.next_cursor)


def _start(
    connection: sqlite3.Connection, filters: Filters, as_of: int | None
) -> tuple[Position | None, int]:
    """The place the page before ended at, None for a first page; and the state of the log."""
    if filters.cursor is not None:
        place, first_as_of = decode_token(filters.cursor)
        return place, first_as_of if as_of is None else min(as_of, first_as_of)
    highest = connection.execute("SELECT coalesce(max(id), 0) FROM battle_log").fetchone()[0]
    return None, highest if as_of is None else min(as_of, highest)


def _below(filters: Filters, place: Position | None) -> Position:
    until = filters.until_unix_nano
    end = NEWEST if until is None else Position(until, OLDEST)
    return end if place is None else min(place, end)


def _search_page(
    connection: sqlite3.Connection,
    filters: Filters,
    place: Position | None,
    as_of: int,
    search: SearchIndex,
    log_id: str,
) -> Page:
    below = as_of + 1 if place is None else min(place.cursor, as_of + 1)
    hits = search.query(connection, filters, below=below, limit=filters.limit)
    rows = read_rows(connection, hits.ids, log_id)
    complete = hits.further is None and place is None
    token = None if hits.further is None else encode_token(Position(0, hits.further), as_of)
    relation: Relation = "eq" if complete else "gte"
    return Page(rows, token, as_of, len(rows), relation, hits.indexed_through)
