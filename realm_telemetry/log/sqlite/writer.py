"""The one way into the log."""

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from realm_telemetry.errors import warn_once
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log import exporter_cursors as cursors
from realm_telemetry.log.engine import Writer
from realm_telemetry.log.errors import LogRefusedError, LogReplacedError, LogUnavailableError
from realm_telemetry.log.event_rows import Row, mended, to_rows
from realm_telemetry.log.ranges import Ranges, Run, runs_of
from realm_telemetry.log.records import (
    AppendResult,
    ProducerInfo,
    Refusal,
    RefusedEvent,
    Skipped,
)
from realm_telemetry.log.runs import RunsMark, StoredRun
from realm_telemetry.log.sqlite import dead_letters, producers, runs
from realm_telemetry.log.sqlite.addresses import Addresses, addresses_path
from realm_telemetry.log.sqlite.backfill import backfill_step
from realm_telemetry.log.sqlite.connection import explained, open_writer
from realm_telemetry.log.sqlite.identity import OpenFiles, is_set_back, mark_of, renew_if_set_back
from realm_telemetry.log.sqlite.inserts import (
    add_counts,
    add_webhooks,
    insert_rows,
    note_clock,
)
from realm_telemetry.log.sqlite.kinds import has_kind, save_kind
from realm_telemetry.log.sqlite.lock import WriterLock
from realm_telemetry.log.sqlite.refusals import differing_events, foreign_events
from realm_telemetry.log.sqlite.schema import (
    check_writer,
    has_foreign_tables,
    migrate,
    read_log_id,
)
from realm_telemetry.redaction import redactor

_PROBE_BYTES: Final = 64 * 1024
_WAITED_NS: Final = 1_000_000_000
"""A longer wait for the file makes the arrivals that rows were made with wrong."""

_UNFIT: Final = (
    TypeError,
    ValueError,
    OverflowError,
    LogRefusedError,
)


class LogWriter:
    """Writes to one log, from any thread; other processes may do the same.

    Makes the file or brings it up to date when opened. Every method is one transaction under the
    shared writer lock and raises LogUnavailableError if the file cannot be written now,
    LogRefusedError for what it can never hold.

    redact: the setting; the built-in rules of redaction hold without it.
    """

    def __init__(
        self,
        path: Path,
        *,
        redact: Sequence[str] = (),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = Path(path)
        self._clock_ns = clock_ns
        self._redact = redactor(tuple(redact))
        self._connection = open_writer(self.path)
        self._lock = WriterLock(self.path)
        self._addresses = Addresses(addresses_path(self.path))
        self._known = producers.KnownProducers(self._connection)
        self._schema_version = -1
        self._files: OpenFiles | None = None
        self.log_id = ""
        self._data_version = -1
        try:
            left = 1
            while left:
                with self.transaction() as connection:
                    left = migrate(connection)
                    if not left:
                        renew_if_set_back(connection, self._lock.mark())
                        log_id = read_log_id(connection)
            with explained(self.path, files=True):
                self._files = OpenFiles(self.path)
            self.log_id = log_id
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. What was committed is safe already."""
        with explained(self.path, files=True):
            self._connection.close()
            self._lock.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One write transaction under the writer lock, rolled back on any exception.

        durable: False leaves the sync to the next durable one; for what may be done again.
        """
        with explained(self.path, files=True), self._lock:
            connection = self._connection
            self._check_files()
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._look_at_schema()
                self._check_content(connection)
                yield connection
                mark = None if self._files is None else mark_of(connection)
                connection.execute("COMMIT")
            except BaseException:
                self._known.forget()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            # What was moved away during the commit is not where a reader will look for it.
            self._check_files()
            if mark is not None:
                self._lock.set_mark(mark)

    def append(
        self,
        events: Sequence[Event],
        *,
        pipeline: str = "",
        skipped: Skipped | None = None,
        keep_arrival: bool = False,
        source: str | None = None,
        untimed: Collection[str] = (),
    ) -> AppendResult:
        """Store events without their secrets in one transaction, each once; their arrival is now.

        events: at most MAX_BATCH, in the order they are to have.
        pipeline: where given, producers not registered yet become producers of it.
        skipped: number ranges by producer that need no row, for the receipt.
        keep_arrival: the events come from another log: when they arrived there says how live they
            were. Retention goes by their arrival here all the same.
        source: of events that another host or program sends, the log_id of its log, empty where it
            has none: new numbers of producers that write elsewhere are refused.
        untimed: ids of events whose time was given to them at their arrival.
        Raises InvalidEventError for an event without a proper id; then none is stored.
        """
        about = _About(pipeline, skipped or {}, keep_arrival, source, untimed)
        try:
            return self._append(events, about)
        except _UNFIT:
            # Rare: a lone surrogate, an integer beyond 64 bits, a time beyond the year 2262, a
            # field of the wrong type.
            events = [mended(event) for event in events]
            return self._append(events, about)

    def _append(self, events: Sequence[Event], about: "_About") -> AppendResult:
        events = self._redact.batch(events)
        batch = self._made(events, about)
        with self.transaction() as connection:
            # While this one waited for its turn, others may have stored what arrived later.
            if abs(self._clock_ns() - batch.arrival) > _WAITED_NS:
                batch = self._made(events, about)
            return self._store(connection, batch, about)

    def _made(self, events: Sequence[Event], about: "_About") -> "_Batch":
        """Make the rows of events that arrive now."""
        arrival, events = self._clock_ns(), list(events)
        rows = to_rows(events, arrival, keep_arrival=about.keep_arrival)
        return _Batch(events, rows, runs_of(events), arrival, self._keep_addresses(events))

    def _store(
        self, connection: sqlite3.Connection, batch: "_Batch", about: "_About"
    ) -> AppendResult:
        """Store a batch, as part of a transaction."""
        self._known.refresh()
        if about.pipeline:
            self._register_new(batch.runs, about.pipeline)
        refused = self._foreign(connection, batch, about.source)
        wanted = _without(refused, batch) if refused else batch
        fresh = self._without_known(wanted)
        stored = insert_rows(connection, fresh.rows)
        count = len(stored.rows)
        is_set_back = bool(count) and note_clock(
            connection, stored.arrival_before, batch.arrival, stored.first
        )
        if count < len(wanted.rows):
            refused |= differing_events(connection, batch.events, batch.rows, about.untimed)
        self._known.add(fresh.runs, fresh.events, about.skipped)
        add_counts(connection, stored.rows)
        add_webhooks(connection, fresh.events, batch.addresses, stored.before)
        duplicates = len(batch.rows) - count - len(refused)
        span = stored.first, stored.last
        only_rows_tell = is_set_back or about.keep_arrival or count < len(batch.rows)
        return AppendResult(
            *span,
            count,
            duplicates,
            batch.arrival,
            tuple(refused.values()),
            () if only_rows_tell else batch.events,
        )

    def _foreign(
        self, connection: sqlite3.Connection, batch: "_Batch", source: str | None
    ) -> dict[int, RefusedEvent]:
        if source is None:
            return {}
        return foreign_events(connection, self._known, batch.events, batch.rows, source)

    def stored_numbers(self, producer: str) -> Ranges:
        """The numbers of a registered producer that are in the log, or were and are refused."""
        with explained(self.path, files=True), self._lock:
            return producers.stored_numbers(self._connection, producer)

    def register_producer(self, info: ProducerInfo) -> bool:
        """Make a producer known: only then are its receipts kept and late duplicates refused.

        False for one with an `origin` whose events come from elsewhere; then nothing changes.
        """
        resource = self._redact.resource(info.resource)
        with self.transaction():
            return self._known.register(msgspec.structs.replace(info, resource=resource))

    def note_resource(self, producer: str, pipeline: str, resource: Mapping[str, Any]) -> None:
        """Keep the resource of a producer whose events come from another log or a file.

        What is known of it here stays. Not synced: the append that follows does that.
        """
        with self.transaction(durable=False):
            self._known.note_resource(producer, pipeline, self._redact.resource(resource))

    def introduce(
        self,
        pipeline: str,
        counted: Mapping[str, Mapping[str, Any]],
        others: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Keep the resources of producers that a third party reports, unless they are known.

        counted, others: resources by producer, of those that have a receipt and of those that
        have none. Not synced: the append that follows does that.
        """
        with self.transaction(durable=False):
            self._known.refresh()
            for producer, resource in counted.items():
                if self._known.done(producer) is None:
                    info = ProducerInfo(producer, pipeline, self._redact.resource(resource))
                    self._known.register(info)
            for producer, resource in others.items():
                self._known.note_resource(producer, pipeline, self._redact.resource(resource))

    def record_receipt(
        self,
        producer: str,
        *,
        emitted: int | None = None,
        dropped: int | None = None,
        ended: bool | None = None,
    ) -> None:
        """Keep what a producer reports of itself; see Receipt."""
        with self.transaction() as connection:
            self._known.refresh()
            if self._known.done(producer) is None:
                self._known.register(ProducerInfo(producer))
            producers.record_receipt(
                connection, producer, emitted=emitted, dropped=dropped, ended=ended
            )

    def register_kind(self, kind: KindSpec) -> None:
        """Keep a producer's own kind for all readers. Not synced: the next append does that."""
        with explained(self.path, files=True), self._lock:
            known = has_kind(self._connection, kind)
        # Every start of a producer registers it again.
        if not known:
            with self.transaction(durable=False) as connection:
                save_kind(connection, kind)

    def load_cursors(self, pipeline: str) -> dict[str, int]:
        """The last cursor that each exporter of a pipeline has acknowledged."""
        with explained(self.path, files=True), self._lock:
            return cursors.load_cursors(self._connection, pipeline)

    def save_cursor(self, pipeline: str, exporter: str, cursor: int) -> None:
        """Move an exporter's cursor. Not synced: after power loss some events go out again."""
        with self.transaction(durable=False) as connection:
            cursors.save_cursor(connection, pipeline, exporter, cursor)

    def set_back(self, exporter: str, cursor: int) -> dict[str, int]:
        """Let an exporter deliver again what comes after a cursor; return where it stood.

        By pipeline; empty if the exporter has no cursor. Whoever delivers notices within a second.
        """
        with self.transaction() as connection:
            return cursors.set_back(connection, exporter, cursor)

    def asked_back(self, pipeline: str) -> dict[str, int]:
        """The exporters of a pipeline that are to go back, and to which cursor."""
        with explained(self.path, files=True), self._lock:
            return cursors.asked_back(self._connection, pipeline)

    def go_back(self, pipeline: str, exporter: str, cursor: int) -> None:
        """Move a cursor back because it was asked for."""
        with self.transaction() as connection:
            cursors.go_back(connection, pipeline, exporter, cursor)

    def drop_cursor(self, pipeline: str, exporter: str) -> None:
        """Forget an exporter that is no longer set up."""
        with self.transaction(durable=False) as connection:
            cursors.drop_cursor(connection, pipeline, exporter)

    def add_dead_letter(self, pipeline: str, exporter: str, cursor: int, reason: str) -> None:
        """Keep an event that an exporter rejected for good."""
        with self.transaction() as connection:
            dead_letters.add_dead_letter(
                connection, pipeline, exporter, cursor, reason, self._clock_ns()
            )

    def add_refusal(self, pipeline: str, refusal: Refusal) -> None:
        """Add to the count of events that a receiver rejected without naming them."""
        with self.transaction() as connection:
            cursors.add_refusal(connection, pipeline, refusal)

    def save_runs(self, found: Sequence[StoredRun], mark: RunsMark, *, after: int) -> int:
        """Save runs with the cursor that they are true at; return the cursor that counts then.

        after: the cursor they were made from; if it has moved since, nothing is saved. Not synced:
        what a power loss takes is folded again, for retention's commits come later.
        """
        with self.transaction(durable=False) as connection:
            return runs.save_runs(connection, found, mark, after)

    def probe(self) -> None:
        """Write a row of 64 KiB and remove it, to learn whether the log can grow. Not synced."""
        for statement in (
            f"INSERT OR REPLACE INTO realm_meta VALUES ('probe', zeroblob({_PROBE_BYTES}))",
            "DELETE FROM realm_meta WHERE key = 'probe'",
        ):
            with self.transaction(durable=False) as connection:
                connection.execute(statement)

    def backfill_step(self, max_rows: int = 200) -> int:
        """Fill in older rows, newest first; returns about how many are left."""
        with self.transaction(durable=False) as connection:
            return backfill_step(connection, max_rows)

    def forget_addresses(self) -> None:
        """Remove the addresses of webhooks that no event in the log has asked for."""
        with explained(self.path, files=True), self._lock:
            row = self._connection.execute(
                "SELECT observed_unix_nano FROM battle_log"
                " WHERE id = (SELECT min(cursor) FROM webhook_requests)"
            ).fetchone()
        self._addresses.forget_unused(row[0] if row else self._clock_ns())

    def _keep_addresses(self, events: Sequence[Event]) -> dict[str, str]:
        """Save addresses before the rows that name them: a crash between loses no request."""
        urls = {url for event in events for url in event.webhooks}
        if not urls:
            return {}
        try:
            return self._addresses.keep(urls, self._clock_ns())
        except LogUnavailableError as error:
            # A request for a webhook is worth less than the event.
            text = f"webhooks that events name are not sent: {error}"
            warn_once(f"addresses {self.path}", text)
            return {}

    def _register_new(self, runs: Sequence[Run], pipeline: str) -> None:
        for producer in {run.producer for run in runs}:
            if self._known.done(producer) is None:
                self._known.register(ProducerInfo(producer, pipeline))

    def _without_known(self, batch: "_Batch") -> "_Batch":
        """Leave out events whose numbers are stored, even if retention has removed the rows."""
        known = {run.producer: self._known.done(run.producer) for run in batch.runs}
        if not any(
            done.overlaps(run.first, run.last)
            for run in batch.runs
            if (done := known[run.producer]) is not None
        ):
            return batch
        return batch.only(
            [
                position
                for position, event in enumerate(batch.events)
                if (done := known[event.producer]) is None or event.number not in done
            ]
        )

    def _check_files(self) -> None:
        if self._files is not None:
            self._files.check(self._connection)

    def _check_content(self, connection: sqlite3.Connection) -> None:
        """Notice other content that came through SQLite itself, as by its `.restore`."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if not self.log_id or version == self._data_version:
            return
        now, mark = mark_of(connection), self._lock.mark()
        if now.log_id != self.log_id or is_set_back(now, mark):
            raise LogReplacedError(
                f"the content of the log {self.path} was replaced by an older or another one",
                "It is opened again; what is derived from it is made again.",
            )
        self._data_version = version

    def _look_at_schema(self) -> None:
        """Notice tables of another program, and a newer version that this one may not write beside.

        Both change SQLite's own number of the schema.
        """
        version = self._connection.execute("PRAGMA schema_version").fetchone()[0]
        if version != self._schema_version:
            check_writer(self._connection)
            self._lock.polite = has_foreign_tables(self._connection)
            self._schema_version = version


class _About(NamedTuple):
    """What `append` is told of its events."""

    pipeline: str
    skipped: Skipped
    keep_arrival: bool
    source: str | None
    untimed: Collection[str]


class _Batch(NamedTuple):
    """Events, the row of each, and the runs of their numbers.

    arrival: when they got here. addresses: what the log is to hold of each that they name.
    """

    events: Sequence[Event]
    rows: list[Row]
    runs: Sequence[Run]
    arrival: int
    addresses: Mapping[str, str]

    def only(self, positions: Sequence[int]) -> "_Batch":
        """Return a batch of some of the events."""
        events = [self.events[position] for position in positions]
        rows = [self.rows[position] for position in positions]
        return self._replace(events=events, rows=rows, runs=runs_of(events))


def _without(refused: Collection[int], batch: _Batch) -> _Batch:
    return batch.only([at for at in range(len(batch.events)) if at not in refused])


def own_writer(writer: Writer) -> LogWriter:
    """The engine's own writer, with the transactions that the interface does not offer."""
    assert isinstance(writer, LogWriter), "a log is maintained through a writer of its own"
    return writer
