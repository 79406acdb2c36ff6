"""History, newest first: pages that neither repeat nor skip while rows arrive, and single rows."""

import time
from typing import Final

import msgspec

from realm_telemetry.event import split_event_id
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.postgres.counts import BUDGET_S, total
from realm_telemetry.log.postgres.plan import Bounds, Path, Plan, newest
from realm_telemetry.log.postgres.rows import READ, read_rows, to_log_row
from realm_telemetry.log.postgres.search import search
from realm_telemetry.log.postgres.transaction import ReadTransaction
from realm_telemetry.log.rows import LogRow, Page, Relation
from realm_telemetry.log.tokens import Position, decode_token, encode_token

SCAN_BUDGET_S: Final = 0.03
"""How long a page is looked for by names that no index finds; a step more may be begun."""

_FIRST_STEP: Final = 256
_LONGEST_STEP: Final = 4096


class _Found(msgspec.Struct, frozen=True):
    """The rows of a page, newest first.

    further: the place to go on from; None if there is nothing below.
    """

    positions: list[Position]
    further: Position | None


class _Walk:
    """Goes down one path and keeps the rows that are wanted."""

    def __init__(self, log: ReadTransaction, plan: Plan, path: Path, bounds: Bounds) -> None:
        self._log, self._plan, self._path, self._bounds = log, plan, path, bounds
        self.found: list[Position] = []
        self.place = bounds.before
        self.ended = False

    def step(self, count: int) -> None:
        bounds = msgspec.structs.replace(self._bounds, before=self.place)
        rows = newest(self._log.session, self._plan, self._path, bounds, count)
        self.found += [row.place for row in rows if row.fits]
        self.ended = len(rows) < count
        if rows:
            self.place = rows[-1].place

    def result(self, limit: int) -> _Found:
        if len(self.found) > limit:
            return _Found(self.found[:limit], self.found[limit - 1])
        return _Found(self.found, None if self.ended else self.place)


def _find(log: ReadTransaction, plan: Plan, bounds: Bounds, deadline: float) -> _Found:
    """The newest rows of a plan (words apart), with paths that could serve walked in turns."""
    limit = plan.filters.limit
    walks = [_Walk(log, plan, path, bounds) for path in plan.paths()]
    step = limit + 1
    while True:
        for walk in walks:
            walk.step(step)
            if walk.ended or len(walk.found) > limit:
                return walk.result(limit)
        if time.monotonic() > deadline:
            # The one that is furthest down has found all that the others have.
            return min(walks, key=lambda walk: walk.place).result(limit)
        step = min(max(step * 4, _FIRST_STEP), _LONGEST_STEP)


def page(
    log: ReadTransaction, filters: Filters, as_of: int | None = None, *, count: bool = True
) -> Page:
    """One page of history. count=False leaves the total out where it would take work.

    A page that is not found within 200 ms, or 30 ms where names are wanted that no index finds,
    has the rows found so far and a token to go on with.
    Raises InvalidFilterError for a page token that is none.
    """
    place, as_of = _start(log, filters.page_token, as_of)
    plan = Plan.of(log.session, filters)
    if filters.q:
        return _search_page(log, plan, place, as_of)
    budget_s = SCAN_BUDGET_S if plan.scans else BUDGET_S
    bounds = Bounds(plan.since, plan.end if place is None else min(place, plan.end), as_of)
    found = _find(log, plan, bounds, time.monotonic() + budget_s)
    rows = read_rows(log.session, [each.cursor for each in found.positions])
    if found.further is None and place is None:
        return Page(rows, None, as_of, len(rows), "eq")
    counted: tuple[int, Relation] = (len(rows), "gte")
    if count:
        counted = total(log, plan, as_of, time.monotonic() + BUDGET_S)
    next_token = None if found.further is None else encode_token(found.further, as_of)
    return Page(rows, next_token, as_of, max(counted[0], len(rows)), counted[1])


def is_filled(log: ReadTransaction) -> bool:
    """Return True: there are no rows of an older table here."""
    return True


def _start(
    log: ReadTransaction, token: str | None, as_of: int | None
) -> tuple[Position | None, int]:
    """The place the page before ended at, None for a first page; and the state of the log."""
    if token is not None:
        place, first_as_of = decode_token(token)
        return place, first_as_of if as_of is None else min(as_of, first_as_of)
    highest = log.session.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
    return None, highest if as_of is None else min(as_of, highest)


def _search_page(log: ReadTransaction, plan: Plan, place: Position | None, as_of: int) -> Page:
    below = as_of + 1 if place is None else min(place.cursor, as_of + 1)
    hits = search(log.session, plan, below=below, limit=plan.filters.limit)
    rows = read_rows(log.session, hits.ids)
    complete = hits.further is None and place is None
    token = None if hits.further is None else encode_token(Position(0, hits.further), as_of)
    return Page(rows, token, as_of, len(rows), "eq" if complete else "gte", as_of)


def get(log: ReadTransaction, event: str | int) -> LogRow | None:
    """One row by event id (32 hex digits) or by cursor; None if it is not there.

    Raises InvalidEventError for a text that is neither.
    """
    if isinstance(event, int) or (len(event) < 20 and event.isdigit()):
        cursor = int(event)
        rows = read_rows(log.session, [cursor]) if cursor < 2**63 else []
        return rows[0] if rows else None
    producer, number = split_event_id(event)
    query = f"{READ} WHERE e.event_id = ?::uuid"
    row = log.session.execute(query, (f"{producer}{number:016x}",)).fetchone()
    return to_log_row(row) if row else None


def context(
    log: ReadTransaction, event: str | int, before: int = 20, after: int = 20
) -> list[LogRow]:
    """What happened around an event, by time, oldest first, with the event itself.

    Empty if the event is not in the log.
    """
    row = get(log, event)
    if row is None:
        return []
    place = (row.event.time_unix_nano, row.cursor)
    earlier = log.session.execute(
        "SELECT id FROM events WHERE (time_unix_nano, id) < (?, ?)"
        " ORDER BY time_unix_nano DESC, id DESC LIMIT ?",
        (*place, before),
    ).fetchall()
    later = log.session.execute(
        "SELECT id FROM events WHERE (time_unix_nano, id) > (?, ?)"
        " ORDER BY time_unix_nano, id LIMIT ?",
        (*place, after),
    ).fetchall()
    ids = [found[0] for found in reversed(earlier)]
    return read_rows(log.session, [*ids, row.cursor, *(found[0] for found in later)])
