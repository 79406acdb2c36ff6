"""Reading the log: one snapshot for one or several queries."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, cast

import msgspec

from realm_telemetry.log.exporter_cursors import known_exporters, load_cursors, read_refusals
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.postgres.addresses import Addresses
from realm_telemetry.log.postgres.connection import Place, Sessions
from realm_telemetry.log.postgres.counts import happened, histogram, oldest_time
from realm_telemetry.log.postgres.failovers import failovers
from realm_telemetry.log.postgres.graphs import channels, series, summary
from realm_telemetry.log.postgres.history import context, get, is_filled, page
from realm_telemetry.log.postgres.producers import (
    read_producers,
    read_receipts,
    receipt_totals,
    stored_among,
)
from realm_telemetry.log.postgres.schema import check_readable
from realm_telemetry.log.postgres.tables import (
    count_runs,
    occurring_kinds,
    read_dead_letters,
    read_kinds,
    read_run,
    read_runs,
    runs_mark,
)
from realm_telemetry.log.postgres.tail import (
    ARRIVALS_WINDOW,
    after,
    arrivals_between,
    cursor_before,
    first_webhook_cursor,
    follow,
    latest,
    max_cursor,
    min_cursor,
)
from realm_telemetry.log.postgres.transaction import ReadTransaction, needs_session
from realm_telemetry.log.rows import Followed, LogRow


class Snapshot(ReadTransaction, frozen=True):
    """The log as it was at one moment, and all that can be asked of it.

    Each query is documented where it is defined.
    """

    page = page
    get = get
    context = context
    is_filled = is_filled
    histogram = histogram
    oldest_time = oldest_time
    series = series
    summary = summary
    channels = channels
    happened = happened

    after = after
    follow = follow
    latest = latest
    cursor_before = cursor_before
    min_cursor = min_cursor
    failovers = needs_session(failovers)
    max_cursor = max_cursor
    first_webhook_cursor = first_webhook_cursor

    producers = needs_session(read_producers)
    receipts = needs_session(read_receipts)
    receipt_totals = needs_session(receipt_totals)
    stored_among = needs_session(stored_among)
    kinds = needs_session(read_kinds)
    occurring_kinds = needs_session(occurring_kinds)
    cursors = needs_session(load_cursors)
    known_exporters = needs_session(known_exporters)
    dead_letters = needs_session(read_dead_letters)
    refusals = needs_session(read_refusals)
    run = needs_session(read_run)
    runs = needs_session(read_runs)
    run_counts = needs_session(count_runs)
    runs_mark = needs_session(runs_mark)


class LogReader:
    """Reads one log, from any thread: each query has a connection of its own while it runs.

    now: a snapshot of its own for each single query, `reader.now.page(filters)`.
    Raises LogUnavailableError if there is no log or it cannot be read.
    """

    def __init__(self, place: Place, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._sessions = Sessions(place)
        self._addresses = Addresses(place)
        self._clock_ns = clock_ns
        try:
            with self._sessions.one() as session:
                self.log_id = check_readable(session)
        except BaseException:
            self.close()
            raise
        # It has the queries of a Snapshot and its log_id; for typing it is one.
        self.now = cast("Snapshot", _EachInItsOwn(self))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._sessions.close()

    def interrupt(self) -> None:
        """End the queries that run now, in whatever threads, with LogInterruptedError."""
        self._sessions.interrupt()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One read transaction: all queries inside see the same rows. Keep it short."""
        with self._sessions.one() as session:
            session.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield Snapshot(session, self.log_id, self._addresses, self._clock_ns)
            finally:
                if not session.broken:
                    session.script("ROLLBACK")

    def export(self, filters: Filters, as_of: int | None = None) -> Iterator[LogRow]:
        """All rows that match, newest first, in short transactions."""
        for rows in self.export_steps(filters, as_of):
            yield from rows

    def export_steps(self, filters: Filters, as_of: int | None = None) -> Iterator[list[LogRow]]:
        """As `export`, by transaction; a step that found nothing in its time has no rows."""
        filters = msgspec.structs.replace(filters, limit=1000)
        while True:
            found = self.now.page(filters, as_of, count=False)
            yield found.rows
            if found.next_token is None:
                return
            filters = msgspec.structs.replace(filters, page_token=found.next_token)

    def arrivals(self, filters: Filters, as_of: int | None = None) -> Iterator[Followed]:
        """All rows that match in order of arrival, in short transactions.

        Each step says how far was looked; one may have no rows. as_of: the last cursor to look at.
        """
        with self.snapshot() as log:
            since, end = filters.since_unix_nano, log.max_cursor()
            cursor = log.min_cursor() if since is None else log.cursor_before(since)
        end = end if as_of is None else min(as_of, end)
        while cursor < end:
            upper = min(cursor + ARRIVALS_WINDOW, end)
            with self.snapshot() as log:
                rows = arrivals_between(log, filters, cursor, upper)
            yield Followed(rows, upper)
            cursor = upper


class _EachInItsOwn:
    """Has every query of a snapshot, and takes a new snapshot for each."""

    def __init__(self, reader: LogReader) -> None:
        self._snapshot = reader.snapshot
        self.log_id = reader.log_id

    def __getattr__(self, name: str) -> Callable[..., Any]:
        query = getattr(Snapshot, name)

        def asked(*args: Any, **kwargs: Any) -> Any:
            with self._snapshot() as log:
                return query(log, *args, **kwargs)

        return asked
