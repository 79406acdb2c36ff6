"""Reading the log: pages of history, the tail, counts, receipts."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from realm_telemetry.event import LATE_AFTER_NS, Event, split_event_id
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.records import DeadLetter, ProducerInfo, Receipt, ReceiptTotals, Refusal
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite import history, tail
from realm_telemetry.log.sqlite.addresses import Addresses, addresses_path
from realm_telemetry.log.sqlite.connection import explained, open_reader, snapshot
from realm_telemetry.log.sqlite.counts import happened
from realm_telemetry.log.sqlite.cursors import (
    known_exporters,
    load_cursors,
    read_dead_letters,
    read_refusals,
)
from realm_telemetry.log.sqlite.histogram import Histogram, histogram, oldest_time
from realm_telemetry.log.sqlite.history import Page, export_rows, read_page
from realm_telemetry.log.sqlite.inserts import last_cursor
from realm_telemetry.log.sqlite.kinds import occurring_kinds, read_kinds
from realm_telemetry.log.sqlite.older import are_unfilled
from realm_telemetry.log.sqlite.producers import (
    read_producers,
    read_receipts,
    receipt_totals,
    stored_among,
)
from realm_telemetry.log.sqlite.schema import SCHEMA_VERSION, read_log_id, read_version
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.sqlite.series import Series, series
from realm_telemetry.log.sqlite.summary import summary

Counted = TypeVar("Counted", Page, Histogram)


class LogReader:
    """Reads one log, from any thread: each gets a connection of its own.

    Every method is one short read transaction, so that no reader holds up the writer's
    checkpoints. Raises LogUnavailableError if there is no log or it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        search_path: Path | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = Path(path)
        self._search = SearchIndex(self.path, search_path or self.path.with_name("search.db"))
        self._addresses = Addresses(addresses_path(self.path))
        self._clock_ns = clock_ns
        self._threads = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            self.log_id = self._read_log_id()
        except BaseException:
            self.close()
            raise

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

    def page(self, filters: Filters, as_of: int | None = None, *, count: bool = True) -> Page:
        """One page of history. count=False leaves the total out where it would take work."""
        with self._snapshot() as connection:
            page = read_page(connection, filters, as_of, self._search, self.log_id, count=count)
            return _with_more(page) if are_unfilled(connection) else page

    def is_filled(self) -> bool:
        """Whether every row of an older log can be found; upkeep fills them in, newest first."""
        with self._snapshot() as connection:
            return not are_unfilled(connection)

    def export(self, filters: Filters, as_of: int | None = None) -> Iterator[LogRow]:
        """All rows that the filters want, newest first, in short transactions."""
        # A connection of its own: the caller may go on from another thread at every row.
        with explained(self.path), closing(open_reader(self.path)) as connection:
            for rows in export_rows(connection, filters, as_of, self._search, self.log_id):
                yield from rows

    def arrivals(self, filters: Filters, as_of: int | None = None) -> Iterator[tail.Followed]:
        """All rows that the filters want in order of arrival, in short transactions.

        Each step says how far was looked; one may have no rows. as_of: the last cursor to look at.
        """
        with explained(self.path), closing(open_reader(self.path)) as connection:
            with snapshot(connection):
                cursor = tail.before_since(connection, filters.since_unix_nano)
                end = last_cursor(connection)
            end = end if as_of is None else min(as_of, end)
            while cursor < end:
                upper = min(cursor + tail.ARRIVALS_WINDOW, end)
                with snapshot(connection):
                    rows = tail.between(connection, cursor, upper, filters, self.log_id)
                yield tail.Followed(rows, upper)
                cursor = upper

    def cursor_before(self, since_unix_nano: int) -> int:
        """A cursor behind which lie all rows that happened since a time."""
        with self._snapshot() as connection:
            return tail.before_since(connection, since_unix_nano)

    def stored_among(self, events: Sequence[Event]) -> int:
        """How many of these events the log has taken already, whatever retention removed since."""
        with self._snapshot() as connection:
            return stored_among(connection, events)

    def histogram(self, filters: Filters, buckets: int = 60, as_of: int | None = None) -> Histogram:
        """Counts over time by severity; see log.histogram."""
        with self._snapshot() as connection:
            highest = last_cursor(connection)
            as_of = highest if as_of is None else min(as_of, highest)
            bars = histogram(connection, filters, buckets, as_of, self._clock_ns(), self._search)
            return _with_more(bars) if are_unfilled(connection) else bars

    def channels(self, since_ns: int | None = None) -> dict[str, dict[str, int]]:
        """What happened since a time, by channel and severity."""
        counts: dict[str, dict[str, int]] = {}
        for row in self.summary(("channel", "severity"), since_ns):
            counts.setdefault(row["channel"], {})[row["severity"]] = row["count"]
        return counts

    def happened(self) -> dict[tuple[str, str, str], int]:
        """Events ever stored, by channel, kind and severity."""
        with self._snapshot() as connection:
            return happened(connection)

    def summary(
        self,
        by: Sequence[str] = ("channel", "day"),
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> list[dict[str, Any]]:
        """What happened, counted by channel, severity, kind, run, day or hour; see log.summary."""
        with self._snapshot() as connection:
            return summary(connection, by, since_ns, until_ns)

    def series(self, filters: Filters, fields: Sequence[str], points: int = 1000) -> Series:
        """Numbers among the details over time, for a graph; see log.series."""
        with self._snapshot() as connection:
            return series(connection, filters, fields, points)

    def oldest_time(self) -> int | None:
        """The earliest time of a row that is still there; None in an empty log."""
        with self._snapshot() as connection:
            return oldest_time(connection)

    def after(
        self,
        cursor: int,
        limit: int = 1000,
        filters: Filters | None = None,
        *,
        webhooks: bool = False,
    ) -> list[LogRow]:
        """Rows that arrived after a cursor, in order of arrival.

        webhooks: whether events carry the addresses asked for at emit.
        """
        with self._snapshot() as connection:
            addresses = self._addresses if webhooks else None
            return tail.after(connection, cursor, limit, filters, self.log_id, addresses)

    def follow(
        self, cursor: int, limit: int = 1000, *, pipeline: str, webhooks: bool = False
    ) -> tail.Followed:
        """Rows of one pipeline's producers after a cursor, and how far was looked."""
        with self._snapshot() as connection:
            addresses = self._addresses if webhooks else None
            return tail.follow(connection, cursor, limit, pipeline, self.log_id, addresses)

    def latest(self, per_group: int = 50) -> list[LogRow]:
        """The newest rows of each channel and severity that did not come late, by arrival."""
        with self._snapshot() as connection:
            return tail.latest(connection, per_group, LATE_AFTER_NS, self.log_id)

    def get(self, event: str | int) -> LogRow | None:
        """One row by event id (32 hex digits) or by cursor; None if it is not there.

        Raises InvalidEventError for a text that is neither.
        """
        with self._snapshot() as connection:
            if isinstance(event, int) or (len(event) < 20 and event.isdigit()):
                return history.by_cursor(connection, int(event), self.log_id)
            producer, number = split_event_id(event)
            return history.by_event_id(connection, producer, number, self.log_id)

    def context(self, event: str | int, before: int = 20, after: int = 20) -> list[LogRow]:
        """What happened around an event, by time, oldest first, with the event itself.

        Empty if the event is not in the log.
        """
        row = self.get(event)
        if row is None:
            return []
        with self._snapshot() as connection:
            return history.around(connection, row, before, after, self.log_id)

    def receipts(self) -> list[Receipt]:
        """What became of each registered producer's events."""
        with self._snapshot() as connection:
            return read_receipts(connection)

    def receipt_totals(self) -> ReceiptTotals:
        """What the receipts add up to, and the newest producers that are alive."""
        with self._snapshot() as connection:
            return receipt_totals(connection)

    def producers(self) -> list[ProducerInfo]:
        """All registered producers."""
        with self._snapshot() as connection:
            return read_producers(connection)

    def occurring_kinds(self) -> list[str]:
        """The kinds that the log has rows of."""
        with self._snapshot() as connection:
            return occurring_kinds(connection)

    def kinds(self) -> list[KindSpec]:
        """The kinds that producers registered beside the built-in ones."""
        with self._snapshot() as connection:
            return read_kinds(connection)

    def cursors(self, pipeline: str) -> dict[str, int]:
        """The last cursor that each exporter of a pipeline has acknowledged."""
        with self._snapshot() as connection:
            return load_cursors(connection, pipeline)

    def known_exporters(self) -> dict[str, list[str]]:
        """The exporters that have a cursor in this log, by name, and the pipelines of each."""
        with self._snapshot() as connection:
            return known_exporters(connection)

    def dead_letters(self, pipeline: str | None = None) -> list[DeadLetter]:
        """Events that an exporter will never take, oldest first."""
        with self._snapshot() as connection:
            return read_dead_letters(connection, pipeline)

    def refusals(self, pipeline: str) -> list[Refusal]:
        """How many events each exporter lost without being told which."""
        with self._snapshot() as connection:
            return read_refusals(connection, pipeline)

    def max_cursor(self) -> int:
        """The cursor of the last row, gone or not; 0 in a new log."""
        with self._snapshot() as connection:
            return last_cursor(connection)

    def min_cursor(self) -> int:
        """The lowest cursor that can still be resumed from: every row after it is there."""
        with self._snapshot() as connection:
            return tail.min_cursor(connection)

    def first_webhook_cursor(self) -> int | None:
        """The cursor of the first event there that names addresses; None if none does."""
        with self._snapshot() as connection:
            row = connection.execute("SELECT min(cursor) FROM webhook_requests").fetchone()
            return None if row[0] is None else int(row[0])

    def _read_log_id(self) -> str:
        with self._snapshot() as connection:
            version = read_version(connection)
            if version < SCHEMA_VERSION:
                raise LogUnavailableError(
                    f"the log {self.path} has not been brought up to date (schema {version} of"
                    f" {SCHEMA_VERSION}). Start a process that writes to it, or: realm doctor"
                )
            return read_log_id(connection)

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        with explained(self.path), snapshot(self._connection()) as connection:
            yield connection

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = open_reader(self.path)
            self._threads.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection


def _with_more(counted: Counted) -> Counted:
    """The same, but said to be incomplete."""
    return msgspec.structs.replace(counted, relation="gte")
