"""History, newest first: pages that neither repeat nor skip while rows arrive, and single rows."""

import sqlite3
import time
from collections.abc import Iterator

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import READ_COLUMNS, LogRow, event_id_bytes, read_rows, to_log_row
from realm_telemetry.log.sqlite.connection import snapshot
from realm_telemetry.log.sqlite.counts import BUDGET_S, Relation, total
from realm_telemetry.log.sqlite.older import older_producer
from realm_telemetry.log.sqlite.plan import (
    OLDEST,
    TIME_PATH,
    TRUE,
    Bounds,
    Condition,
    Path,
    matching,
    newest,
    paths_for,
    residual,
)
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.tokens import NEWEST, Position, decode_token, encode_token

_FIRST_STEP = 256
_LONGEST_STEP = 4096


class Found(msgspec.Struct, frozen=True):
    """The rows of a page, newest first.

    further: the place to go on from; None if there is nothing below.
    """

    positions: list[Position]
    further: Position | None


class _Walk:
    """Goes down one path and keeps the rows for which the rest of the filter is true."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, rest: Condition, bounds: Bounds
    ) -> None:
        self._connection = connection
        self._path = path
        self._rest = rest
        self._bounds = bounds
        self.found: list[Position] = []
        self.place = bounds.before
        self.ended = False

    @property
    def direct(self) -> bool:
        return self._rest == TRUE

    def step(self, count: int) -> None:
        bounds = msgspec.structs.replace(self._bounds, before=self.place)
        rows = newest(self._connection, self._path, bounds, count)
        self.found += rows if self.direct else matching(self._connection, rows, self._rest)
        self.ended = len(rows) < count
        if rows:
            self.place = rows[-1]

    def result(self, limit: int) -> Found:
        if len(self.found) > limit:
            return Found(self.found[:limit], self.found[limit - 1])
        return Found(self.found, None if self.ended else self.place)


def find(
    connection: sqlite3.Connection,
    filters: Filters,
    bounds: Bounds,
    limit: int,
    deadline: float,
) -> Found:
    """The newest `limit` rows that the filters want (`q` apart).

    Where several indexes could serve, such as hero and kind, they are walked in turns with steps
    that grow, so that the work is at most a few times that of the best of them. At the deadline
    (time.monotonic()) the page ends early, with the place to go on from.
    """
    walks = [
        _Walk(connection, path, residual(filters, path.answers), bounds)
        for path in paths_for(connection, filters)
    ]
    step = max(limit + 1, _FIRST_STEP)
    while True:
        for walk in walks:
            walk.step(limit + 1 if walk.direct else step)
            if walk.ended or len(walk.found) > limit:
                return walk.result(limit)
        if time.monotonic() > deadline:
            # The one that is furthest down has found all that the others have.
            return min(walks, key=lambda walk: walk.place).result(limit)
        step = min(step * 4, _LONGEST_STEP)


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


def by_cursor(connection: sqlite3.Connection, cursor: int, log_id: str) -> LogRow | None:
    """The row with a cursor."""
    rows = read_rows(connection, [cursor], log_id) if cursor < 2**63 else []
    return rows[0] if rows else None


def by_event_id(
    connection: sqlite3.Connection, producer: str, number: int, log_id: str
) -> LogRow | None:
    """The row of an event; an older row is found by its row id, filled in or not."""
    if producer == older_producer(log_id):
        return by_cursor(connection, number, log_id)
    row = connection.execute(
        f"SELECT {READ_COLUMNS} FROM battle_log WHERE event_id = ?",
        (event_id_bytes(producer, number),),
    ).fetchone()
    return to_log_row(row, log_id) if row else None


def around(
    connection: sqlite3.Connection, row: LogRow, before: int, after: int, log_id: str
) -> list[LogRow]:
    """The neighbours of a row by time, oldest first, with the row between them."""
    place = Position(row.event.time_unix_nano, row.cursor)
    earlier = newest(connection, TIME_PATH, Bounds(OLDEST, place, 2**63 - 1), before)
    later = connection.execute(
        f"SELECT id {TIME_PATH.source()} AND (time_unix_nano, id) > (?, ?)"
        " ORDER BY time_unix_nano, id LIMIT ?",
        (*place, after),
    ).fetchall()
    ids = [position.cursor for position in reversed(earlier)]
    return read_rows(connection, [*ids, row.cursor, *(found[0] for found in later)], log_id)
