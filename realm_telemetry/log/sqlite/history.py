"""History, newest first: pages that neither repeat nor skip while rows arrive, and single rows."""

import sqlite3
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from realm_telemetry.event import split_event_id
from realm_telemetry.log.event_rows import event_id_bytes
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import LogRow, Page, Relation
from realm_telemetry.log.sqlite.connection import snapshot
from realm_telemetry.log.sqlite.counts import BUDGET_S, total
from realm_telemetry.log.sqlite.older import are_unfilled, older_producer
from realm_telemetry.log.sqlite.plan import (
    OLDEST,
    TIME_PATH,
    TRUE,
    AccessPath,
    Bounds,
    Plan,
    matching,
    newest,
)
from realm_telemetry.log.sqlite.rows import READ_COLUMNS, read_rows, to_log_row
from realm_telemetry.log.sqlite.transaction import ReadTransaction
from realm_telemetry.log.tokens import Position, decode_token, encode_token

SCAN_BUDGET_S: Final = 0.03
"""How long a page is looked for by names that no index finds; a step more may be begun."""

_FIRST_STEP = 256
_LONGEST_STEP = 1024


class _Found(msgspec.Struct, frozen=True):
    """The rows of a page, newest first.

    further: the place to go on from; None if there is nothing below.
    """

    positions: list[Position]
    further: Position | None


class _Walk:
    """Goes down one path and keeps the rows for which the rest of the filter is true."""

    def __init__(self, connection: sqlite3.Connection, path: AccessPath, bounds: Bounds) -> None:
        self._connection = connection
        self._path = path
        self._bounds = bounds
        self.direct = path.rest == TRUE
        self.found: list[Position] = []
        self.place = bounds.before
        self.ended = False

    def step(self, count: int) -> None:
        bounds = msgspec.structs.replace(self._bounds, before=self.place)
        rows = newest(self._connection, self._path, bounds, count)
        self.found += rows if self.direct else matching(self._connection, rows, self._path.rest)
        self.ended = len(rows) < count
        if rows:
            self.place = rows[-1]

    def result(self, limit: int) -> _Found:
        if len(self.found) > limit:
            return _Found(self.found[:limit], self.found[limit - 1])
        return _Found(self.found, None if self.ended else self.place)


def _find(
    connection: sqlite3.Connection,
    paths: list[AccessPath],
    bounds: Bounds,
    limit: int,
    deadline: float,
) -> _Found:
    """The newest `limit` rows of a plan (words apart).

    Where several indexes could serve, such as hero and kind, they are walked in turns with steps
    that grow, so that the work is at most a few times that of the best of them. At the deadline
    (time.monotonic()) the page ends early, with the place to go on from.
    """
    walks = [_Walk(connection, path, bounds) for path in paths]
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


def page(
    log: ReadTransaction, filters: Filters, as_of: int | None = None, *, count: bool = True
) -> Page:
    """One page of history. count=False leaves the total out where it would take work.

    A page that is not found within 200 ms, or 50 ms where names are wanted that no index finds,
    has the rows found so far and a token to go on with.
    Raises InvalidFilterError for a page token that is none.
    """
    plan = Plan.of(filters)
    budget_s = SCAN_BUDGET_S if plan.scans else BUDGET_S
    found = _page(log, plan, filters.page_token, as_of, budget_s, count=count)
    return msgspec.structs.replace(found, relation="gte") if are_unfilled(log.connection) else found


def is_filled(log: ReadTransaction) -> bool:
    """Whether every row of an older log can be found; upkeep fills them in, newest first."""
    return not are_unfilled(log.connection)


def export_rows(
    log: ReadTransaction, filters: Filters, as_of: int | None
) -> Iterator[list[LogRow]]:
    """All rows that match, page by page; each page is its own short transaction."""
    plan = Plan.of(msgspec.structs.replace(filters, limit=1000))
    token = filters.page_token
    while True:
        with snapshot(log.connection):
            found = _page(log, plan, token, as_of, BUDGET_S, count=False)
        yield found.rows
        if found.next_token is None:
            return
        token = found.next_token


def _page(
    log: ReadTransaction,
    plan: Plan,
    token: str | None,
    as_of: int | None,
    budget_s: float,
    *,
    count: bool,
) -> Page:
    place, as_of = _start(log.connection, token, as_of)
    if plan.filters.q:
        return _search_page(log, plan, place, as_of)
    paths, limit = plan.paths(log.connection), plan.filters.limit
    bounds = Bounds(plan.since, plan.end if place is None else min(place, plan.end), as_of)
    found = _find(log.connection, paths, bounds, limit, time.monotonic() + budget_s)
    rows = read_rows(log.connection, [each.cursor for each in found.positions], log.log_id)
    if found.further is None and place is None:
        return Page(rows, None, as_of, len(rows), "eq")
    counted: tuple[int, Relation] = (len(rows), "gte")
    if count:
        counted = total(log.connection, plan, paths[0], as_of, time.monotonic() + BUDGET_S)
    next_token = None if found.further is None else encode_token(found.further, as_of)
    # A count that ran out of time may have seen fewer than the page has.
    return Page(rows, next_token, as_of, max(counted[0], len(rows)), counted[1])


def _start(
    connection: sqlite3.Connection, token: str | None, as_of: int | None
) -> tuple[Position | None, int]:
    """The place the page before ended at, None for a first page; and the state of the log."""
    if token is not None:
        place, first_as_of = decode_token(token)
        return place, first_as_of if as_of is None else min(as_of, first_as_of)
    highest = connection.execute("SELECT coalesce(max(id), 0) FROM battle_log").fetchone()[0]
    return None, highest if as_of is None else min(as_of, highest)


def _search_page(log: ReadTransaction, plan: Plan, place: Position | None, as_of: int) -> Page:
    below = as_of + 1 if place is None else min(place.cursor, as_of + 1)
    hits = log.search.query(log.connection, plan, below=below, limit=plan.filters.limit)
    rows = read_rows(log.connection, hits.ids, log.log_id)
    complete = hits.further is None and place is None
    token = None if hits.further is None else encode_token(Position(0, hits.further), as_of)
    relation: Relation = "eq" if complete else "gte"
    return Page(rows, token, as_of, len(rows), relation, hits.indexed_through)


def get(log: ReadTransaction, event: str | int) -> LogRow | None:
    """One row by event id (32 hex digits) or by cursor; None if it is not there.

    Raises InvalidEventError for a text that is neither.
    """
    if isinstance(event, int) or (len(event) < 20 and event.isdigit()):
        return _by_cursor(log, int(event))
    producer, number = split_event_id(event)
    if producer == older_producer(log.log_id):
        # An older row is found by its row id, filled in or not.
        return _by_cursor(log, number)
    row = log.connection.execute(
        f"SELECT {READ_COLUMNS} FROM battle_log WHERE event_id = ?",
        (event_id_bytes(producer, number),),
    ).fetchone()
    return to_log_row(row, log.log_id) if row else None


def _by_cursor(log: ReadTransaction, cursor: int) -> LogRow | None:
    rows = read_rows(log.connection, [cursor], log.log_id) if cursor < 2**63 else []
    return rows[0] if rows else None


def context(
    log: ReadTransaction, event: str | int, before: int = 20, after: int = 20
) -> list[LogRow]:
    """What happened around an event, by time, oldest first, with the event itself.

    Empty if the event is not in the log.
    """
    row = get(log, event)
    if row is None:
        return []
    place = Position(row.event.time_unix_nano, row.cursor)
    earlier = newest(log.connection, TIME_PATH, Bounds(OLDEST, place, 2**63 - 1), before)
    later = log.connection.execute(
        f"SELECT id {TIME_PATH.source()} AND (time_unix_nano, id) > (?, ?)"
        " ORDER BY time_unix_nano, id LIMIT ?",
        (*place, after),
    ).fetchall()
    ids = [position.cursor for position in reversed(earlier)]
    return read_rows(log.connection, [*ids, row.cursor, *(found[0] for found in later)], log.log_id)
