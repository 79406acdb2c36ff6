"""Reading the log: one snapshot for one or several queries."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self, cast

from realm_telemetry.home import SEARCH_INDEX
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.exporter_cursors import known_exporters, load_cursors, read_refusals
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import Followed, LogRow
from realm_telemetry.log.sqlite.addresses import Addresses, addresses_path
from realm_telemetry.log.sqlite.connection import explained, open_reader, snapshot
from realm_telemetry.log.sqlite.counts import happened
from realm_telemetry.log.sqlite.dead_letters import read_dead_letters
from realm_telemetry.log.sqlite.histogram import histogram, oldest_time
from realm_telemetry.log.sqlite.history import context, export_rows, get, is_filled, page
from realm_telemetry.log.sqlite.identity import OpenFiles
from realm_telemetry.log.sqlite.inserts import last_cursor
from realm_telemetry.log.sqlite.kinds import occurring_kinds, read_kinds
from realm_telemetry.log.sqlite.producers import (
    read_producers,
    read_receipts,
    receipt_totals,
    stored_among,
)
from realm_telemetry.log.sqlite.runs import count_runs, read_run, read_runs, runs_mark
from realm_telemetry.log.sqlite.schema import SCHEMA_VERSION, read_log_id, read_version
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.sqlite.series import series
from realm_telemetry.log.sqlite.summary import channels, summary
from realm_telemetry.log.sqlite.tail import (
    after,
    arrivals,
    cursor_before,
    first_webhook_cursor,
    follow,
    latest,
    min_cursor,
)
from realm_telemetry.log.sqlite.transaction import ReadTransaction, needs_connection


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
    happened = needs_connection(happened)

    after = after
    follow = follow
    latest = latest
    cursor_before = cursor_before
    min_cursor = min_cursor
    max_cursor = needs_connection(last_cursor)
    first_webhook_cursor = first_webhook_cursor

    producers = needs_connection(read_producers)
    receipts = needs_connection(read_receipts)
    receipt_totals = needs_connection(receipt_totals)
    stored_among = needs_connection(stored_among)
    kinds = needs_connection(read_kinds)
    occurring_kinds = needs_connection(occurring_kinds)
    cursors = needs_connection(load_cursors)
    known_exporters = needs_connection(known_exporters)
    dead_letters = needs_connection(read_dead_letters)
    refusals = needs_connection(read_refusals)
    run = needs_connection(read_run)
    runs = needs_connection(read_runs)
    run_counts = needs_connection(count_runs)
    runs_mark = needs_connection(runs_mark)

    def failovers(self) -> list[int]:
        """Return none: a file has no standby."""
        return []


class LogReader:
    """Reads one log, from any thread: each gets a connection of its own.

    now: a snapshot of its own for each single query, `reader.now.page(filters)`.
    Raises LogUnavailableError if there is no log or it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        search_path: Path | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = Path(path)
        search_path = search_path or self.path.with_name(Path(SEARCH_INDEX).name)
        self._search = SearchIndex(self.path, search_path)
        self._addresses = Addresses(addresses_path(self.path))
        self._clock_ns = clock_ns
        self._threads = threading.local()
        self._connections: list[sqlite3.Connection] = []
        # Those of generators, which close them themselves.
        self._walked: set[sqlite3.Connection] = set()
        self._lock = threading.Lock()
        try:
            self.log_id = self._read_log_id()
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
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._threads = threading.local()

    def interrupt(self) -> None:
        """End the queries that run now, in whatever threads, with LogInterruptedError.

        One that is between two statements goes on, so call it again until the query is over.
        """
        with self._lock:
            for connection in (*self._connections, *self._walked):
                connection.interrupt()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One read transaction: all queries inside see the same rows.

        Keep it short: it holds up the writer's checkpoints.
        """
        with explained(self.path), snapshot(self._connection()) as connection:
            yield self._at(connection)

    def export(self, filters: Filters, as_of: int | None = None) -> Iterator[LogRow]:
        """All rows that match, newest first, in short transactions."""
        for rows in self.export_steps(filters, as_of):
            yield from rows

    def export_steps(self, filters: Filters, as_of: int | None = None) -> Iterator[list[LogRow]]:
        """As `export`, by transaction; a step that found nothing in its time has no rows."""
        with self._own_connection() as log:
            yield from export_rows(log, filters, as_of)

    def arrivals(self, filters: Filters, as_of: int | None = None) -> Iterator[Followed]:
        """All rows that match in order of arrival, in short transactions.

        Each step says how far was looked; one may have no rows. as_of: the last cursor to look at.
        """
        with self._own_connection() as log:
            yield from arrivals(log, filters, as_of)

    def _read_log_id(self) -> str:
        with explained(self.path), snapshot(self._connection()) as connection:
            version = read_version(connection)
            if version < SCHEMA_VERSION:
                raise LogUnavailableError(
                    f"the log {self.path} has not been brought up to date (schema {version} of"
                    f" {SCHEMA_VERSION}). Start a process that writes to it, or: realm doctor"
                )
            return read_log_id(connection)

    @contextmanager
    def _own_connection(self) -> Iterator[Snapshot]:
        """For a generator: the caller may go on from another thread at every row."""
        with explained(self.path), closing(open_reader(self.path)) as connection:
            with self._lock:
                self._walked.add(connection)
            try:
                yield self._at(connection)
            finally:
                with self._lock:
                    self._walked.discard(connection)

    def _at(self, connection: sqlite3.Connection) -> Snapshot:
        return Snapshot(connection, self.log_id, self._search, self._addresses, self._clock_ns)

    def _connection(self) -> sqlite3.Connection:
        """The thread's connection. Raises LogReplacedError if its files are not the log's now."""
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = open_reader(self.path)
            with self._lock:
                self._connections.append(connection)
            with explained(self.path, files=True):
                connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
                self._threads.files = OpenFiles(self.path)
            self._threads.connection = connection
        else:
            self._threads.files.check(connection)
        return connection


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
