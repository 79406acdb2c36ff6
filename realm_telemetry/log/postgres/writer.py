"""The one way into the log."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgspec

from realm_telemetry.errors import warn_once
from realm_telemetry.event import FIRST_CONTENT_NUMBER, Event
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log import exporter_cursors as cursors
from realm_telemetry.log.engine import Writer
from realm_telemetry.log.errors import LogRefusedError, LogReplacedError, LogUnavailableError
from realm_telemetry.log.event_rows import Row, mended, to_rows
from realm_telemetry.log.postgres import producers, statements, tables
from realm_telemetry.log.postgres.addresses import Addresses
from realm_telemetry.log.postgres.columns import ARRAYS, Columns, group_of, to_columns
from realm_telemetry.log.postgres.connection import ANSWER_S, GRACE_S, Place, Session, explained
from realm_telemetry.log.postgres.deadline import has_ended
from realm_telemetry.log.postgres.failovers import note_failover
from realm_telemetry.log.postgres.groups import Groups
from realm_telemetry.log.postgres.schema import check_readable, migrate
from realm_telemetry.log.postgres.standing import check_room
from realm_telemetry.log.postgres.texts import to_name
from realm_telemetry.log.ranges import Ranges
from realm_telemetry.log.records import (
    AppendResult,
    ProducerInfo,
    Refusal,
    RefusedEvent,
    Skipped,
)
from realm_telemetry.log.runs import RunsMark, StoredRun
from realm_telemetry.redaction import redactor

T = TypeVar("T")

RETRY_EVERY_S: Final = 0.1
_LONGEST_S: Final = 120.0
"""For what is done under one turn, retention above all, before the server is given up."""

_READ_ONLY: Final = "25006"
_FINAL_STATES: Final = ("28", "3D", "42", "0A")
"""Classes of SQLSTATE that a further try does not change: user, database, rights, version."""
_UNFIT: Final = (TypeError, ValueError, OverflowError, LogRefusedError)


def channel_of(log_id: str) -> str:
    """Return the channel of the notices that something was appended."""
    return f"realm_{log_id}"


class LogWriter:
    """Writes to one log, from any thread; other processes may do the same.

    Makes the tables or brings them up to date when opened. Every method is one transaction and
    raises LogUnavailableError if the server cannot be used now, LogRefusedError for what it can
    never hold.

    redact: the setting; the built-in rules of redaction hold without it.
    """

    def __init__(
        self,
        place: Place,
        *,
        redact: Sequence[str] = (),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._place = place
        self._clock_ns = clock_ns
        self._redact = redactor(tuple(redact))
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._addresses = Addresses(place)
        self._groups = Groups()
        self._registered: set[str] = set()
        self._epoch = ""
        self._closed = False
        self.log_id = ""
        with self._used():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. What was committed is safe already."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        """Close the connection; what was learned over it may not hold on the next server."""
        session, self._session = self._session, None
        self._groups.forget()
        self._registered.clear()
        if session is not None:
            session.close()

    @contextmanager
    def _used(self) -> Iterator[Session]:
        """The connection, opened if there is none, for one thread at a time."""
        with self._lock:
            if self._closed:
                raise LogUnavailableError(f"the log {self._place.shown} was closed")
            session = self._session
            if session is not None and (session.broken or has_ended(session.raw)):
                self._let_go()
            if self._session is None:
                self._open()
            session = self._session
            assert session is not None
            try:
                with explained(self._place), session.within(_LONGEST_S):
                    yield session
            except BaseException:
                self._forget(session)
                raise

    def _forget(self, session: Session) -> None:
        """After an error: roll back, and forget what may have been rolled back."""
        try:
            if not session.broken and session.raw.info.transaction_status:
                session.script("ROLLBACK")
        finally:
            if session is self._session:
                self._registered.clear()
                self._groups.forget()

    def _open(self) -> None:
        session = Session(self._place)
        try:
            with explained(self._place):
                with session.within(_LONGEST_S):
                    migrate(session)
                    log_id = check_readable(session)
                    note_failover(session)
                for kind, oid in ARRAYS:
                    session.takes_binary(kind, oid)
                session.script(statements.PLANNING)
                (epoch,) = session.execute("SELECT epoch FROM realm_head").fetchone()
            if self.log_id not in ("", log_id):
                raise LogReplacedError(
                    f"the log at {self._place.shown} is another one", "It is opened again."
                )
        except BaseException:
            session.close()
            raise
        self._session, self.log_id, self._epoch = session, log_id, epoch

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Session]:
        """One write transaction with the head locked, rolled back on any exception.

        durable: False leaves the sync to the next durable one; for what may be done again.
        """
        with self._used() as session, session.transaction():
            if not durable:
                session.execute("SET LOCAL synchronous_commit TO off")
            session.execute(statements.LOCK)
            yield session

    @contextmanager
    def quick(self) -> Iterator[Session]:
        """A transaction that may be done again, beside appends."""
        with self._used() as session, session.transaction():
            session.execute("SET LOCAL synchronous_commit TO off")
            yield session

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

        A server that is away is waited for, and the same ids are sent again; see
        log.engine.Writer.append and log.sqlite for the arguments.
        Raises InvalidEventError for an event without a proper id; then none is stored.
        """
        skip = {name: list(ranges) for name, ranges in (skipped or {}).items()}
        about = _About(pipeline, skip, keep_arrival, source, untimed)
        try:
            clean = self._redact.batch(events)
            return self._retried(lambda: self._append(clean, about))
        except _UNFIT:
            # Rare: a lone surrogate, an integer beyond 64 bits, a time beyond the year 2262, a
            # field of the wrong type.
            clean = self._redact.batch([mended(event) for event in events])
            return self._retried(lambda: self._append(clean, about))

    def _retried(self, action: Callable[[], T]) -> T:
        """Do what may be done twice until the server takes it, for `log_retry_s`."""
        deadline = time.monotonic() + self._place.retry_s
        while True:
            try:
                return action()
            except LogReplacedError:
                raise
            except LogUnavailableError as error:
                state = getattr(error.__cause__, "sqlstate", None) or ""
                if state == _READ_ONLY:
                    # Once it is promoted it is another server, which `_open` has to look at.
                    with self._lock:
                        self._let_go()
                if state.startswith(_FINAL_STATES) or time.monotonic() > deadline or self._closed:
                    raise
            time.sleep(RETRY_EVERY_S)

    def _append(self, events: Sequence[Event], about: "_About") -> AppendResult:
        with self._used() as session:
            arrival, events = self._clock_ns(), list(events)
            rows = to_rows(events, arrival, keep_arrival=about.keep_arrival)
            kept = self._keep_addresses(events)
            self._groups.learn(session, {group_of(row) for row in rows})
            columns = (
                to_columns(events, rows, self._groups.numbers)
                if rows
                else Columns(statements.empty(), True)
            )
            names: list[str] = columns.values["producers"]
            given = columns.values | {
                "arrival": arrival,
                "sender": about.source,
                "is_foreign": about.source is not None,
            }
            is_repeated = len({row[0] for row in rows}) < len(rows)
            answer = self._send(session, given, about, _requests(events, kept), is_repeated)
            if about.pipeline:
                self._registered.update(names)
        stored = statements.read_answer(answer)
        result = self._result(events, rows, arrival, stored, about)
        return result if columns.whole else msgspec.structs.replace(result, events=())

    def _send(
        self,
        session: Session,
        given: Mapping[str, Any],
        about: "_About",
        requests: tuple[list[str], list[str]],
        is_repeated: bool,
    ) -> list[Any]:
        """Send the statements of an append together, and wait for all answers."""
        raw = session.raw
        session.notices.clear()
        with session.within(max(self._place.retry_s, ANSWER_S) + GRACE_S), raw.pipeline():
            raw.execute("BEGIN")
            raw.execute(statements.LOCK)
            new = [name for name in given["producers"] if name not in self._registered]
            if about.pipeline and new:
                raw.execute(statements.REGISTER, {"pipeline": about.pipeline, "producers": new})
            query = statements.STORE_REPEATED if is_repeated else statements.STORE
            stored = raw.execute(query, given, prepare=True)
            for skip in statements.skipped_ranges(about.skipped):
                raw.execute(statements.SKIP, skip)
            if requests[0]:
                raw.execute(statements.WEBHOOKS, requests)
            raw.execute(statements.NOTIFY, (channel_of(self.log_id),))
            raw.execute("COMMIT")
        session.check_confirmed()
        rows: list[Any] = stored.fetchall()
        return rows

    def _result(
        self,
        events: Sequence[Event],
        rows: Sequence[Row],
        arrival: int,
        stored: statements.Stored,
        about: "_About",
    ) -> AppendResult:
        refused = []
        for other in stored.others:
            event = events[other.position]
            reason = ""
            if other.is_foreign:
                reason = _whose(other.owner)
            elif other.time is not None and event.number < FIRST_CONTENT_NUMBER:
                row, kind = rows[other.position], self._groups.kind(other.group)
                mine = to_name(group_of(row)[0])
                if kind != mine or (other.time != row[1] and event.id not in about.untimed):
                    reason = (
                        f"its id is that of another event, of the kind {kind}, which is in the log"
                    )
            if reason:
                refused.append(RefusedEvent(other.position, event.id, reason))
        duplicates = len(events) - stored.total - len(refused)
        first = stored.before + 1 if stored.total else 0
        last = stored.before + stored.total if stored.total else 0
        only_rows_tell = stored.set_back or about.keep_arrival or stored.total < len(events)
        return AppendResult(
            first,
            last,
            stored.total,
            duplicates,
            arrival,
            tuple(refused),
            () if only_rows_tell else events,
        )

    def stored_numbers(self, producer: str) -> Ranges:
        """The numbers of a registered producer that are in the log, or were and are refused."""
        with self._used() as session:
            return producers.stored_numbers(session, producer)

    def register_producer(self, info: ProducerInfo) -> bool:
        """Make a producer known: only then are its receipts kept and late duplicates refused.

        False for one with an `origin` whose events come from elsewhere; then nothing changes.
        """
        clean = msgspec.structs.replace(info, resource=self._redact.resource(info.resource))

        def register() -> bool:
            with self.transaction() as session:
                return producers.register(session, clean)

        return self._retried(register)

    def note_resource(self, producer: str, pipeline: str, resource: Mapping[str, Any]) -> None:
        """Keep the resource of a producer whose events come from another log or a file."""
        with self.quick() as session:
            producers.note_resource(session, producer, pipeline, self._redact.resource(resource))

    def introduce(
        self,
        pipeline: str,
        counted: Mapping[str, Mapping[str, Any]],
        others: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Keep the resources of producers that a third party reports, unless they are known."""
        self._retried(lambda: self._introduce(pipeline, counted, others))

    def _introduce(
        self,
        pipeline: str,
        counted: Mapping[str, Mapping[str, Any]],
        others: Mapping[str, Mapping[str, Any]],
    ) -> None:
        with self.transaction(durable=False) as session:
            for producer, resource in counted.items():
                info = ProducerInfo(producer, pipeline, self._redact.resource(resource))
                producers.register(session, info, anew=False)
            for producer, resource in others.items():
                clean = self._redact.resource(resource)
                producers.note_resource(session, producer, pipeline, clean)

    def record_receipt(
        self,
        producer: str,
        *,
        emitted: int | None = None,
        dropped: int | None = None,
        ended: bool | None = None,
    ) -> None:
        """Keep what a producer reports of itself; see Receipt."""
        with self.transaction() as session:
            producers.register(session, ProducerInfo(producer), anew=False)
            producers.record_receipt(
                session, producer, emitted=emitted, dropped=dropped, ended=ended
            )

    def register_kind(self, kind: KindSpec) -> None:
        """Keep a producer's own kind for all readers."""

        def save() -> None:
            with self.quick() as session:
                tables.save_kind(session, kind)

        self._retried(save)

    def load_cursors(self, pipeline: str) -> dict[str, int]:
        """The last cursor that each exporter of a pipeline has acknowledged."""
        with self._used() as session:
            return cursors.load_cursors(session, pipeline)

    def save_cursor(self, pipeline: str, exporter: str, cursor: int) -> None:
        """Move an exporter's cursor. Not synced: after a crash some events go out again.

        That of a service stays where it is while another process holds the lease of exporters.
        """
        with self.quick() as session:
            if pipeline or tables.may_export(session):
                cursors.save_cursor(session, pipeline, exporter, cursor)

    def set_back(self, exporter: str, cursor: int) -> dict[str, int]:
        """Let an exporter deliver again what comes after a cursor; return where it stood."""
        with self.transaction() as session:
            return cursors.set_back(session, exporter, cursor)

    def asked_back(self, pipeline: str) -> dict[str, int]:
        """The exporters of a pipeline that are to go back, and to which cursor."""
        with self._used() as session:
            return cursors.asked_back(session, pipeline)

    def go_back(self, pipeline: str, exporter: str, cursor: int) -> None:
        """Move a cursor back because it was asked for."""
        with self.transaction() as session:
            cursors.go_back(session, pipeline, exporter, cursor)

    def drop_cursor(self, pipeline: str, exporter: str) -> None:
        """Forget an exporter that is no longer set up."""
        with self.quick() as session:
            cursors.drop_cursor(session, pipeline, exporter)

    def add_dead_letter(self, pipeline: str, exporter: str, cursor: int, reason: str) -> None:
        """Keep an event that an exporter rejected for good."""
        with self.transaction() as session:
            tables.add_dead_letter(session, pipeline, exporter, cursor, reason, self._clock_ns())

    def add_refusal(self, pipeline: str, refusal: Refusal) -> None:
        """Add to the count of events that a receiver rejected without naming them."""
        with self.transaction() as session:
            cursors.add_refusal(session, pipeline, refusal)

    def save_runs(self, found: Sequence[StoredRun], mark: RunsMark, *, after: int) -> int:
        """Save runs with the cursor that they are true at; return the cursor that counts then."""
        with self.transaction(durable=False) as session:
            return tables.save_runs(session, found, mark, after)

    def probe(self) -> None:
        """Write a row and remove it, and some more, to learn whether the server takes writes."""
        with self.quick() as session:
            check_room(session)
            session.execute(
                "INSERT INTO realm_meta VALUES ('probe', '') ON CONFLICT (key) DO UPDATE"
                " SET value = excluded.value"
            )
            session.execute("DELETE FROM realm_meta WHERE key = 'probe'")

    def backfill_step(self, max_rows: int = 200) -> int:
        """Return 0: there are no rows of an older table here."""
        return 0

    def forget_addresses(self) -> None:
        """Remove the addresses of webhooks that no event in the log has asked for."""
        with self._used() as session:
            row = session.execute(
                "SELECT observed_unix_nano FROM events"
                " WHERE id = (SELECT min(cursor) FROM webhook_requests)"
            ).fetchone()
        self._addresses.forget_unused(row[0] if row else self._clock_ns())

    def _keep_addresses(self, events: Sequence[Event]) -> dict[str, str]:
        """Save addresses before the rows that name them: a crash between loses no request."""
        urls = {url for event in events for url in event.webhooks}
        if not urls:
            return {}
        try:
            return self._addresses.keep(sorted(urls), self._clock_ns())
        except LogRefusedError as error:
            # A request for a webhook is worth less than the event.
            text = f"webhooks that events name are not sent: {error}"
            warn_once(f"addresses {self._place.shown}", text)
            return {}


class _About(NamedTuple):
    """What `append` is told of its events."""

    pipeline: str
    skipped: Mapping[str, Sequence[tuple[int, int]]]
    keep_arrival: bool
    source: str | None
    untimed: Collection[str]


def _requests(events: Sequence[Event], kept: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Ids of events that name addresses, and what the log is to hold of these."""
    asking = [event for event in events if event.webhooks] if kept else []
    urls = [[kept[url] for url in event.webhooks if url in kept] for event in asking]
    return [event.id for event in asking], [msgspec.json.encode(each).decode() for each in urls]


def _whose(owner: str | None) -> str:
    if owner is None:
        return "its producer writes to this log itself; others cannot add to its events"
    return (
        f"its producer's events come from the log {owner}, and this sender reads another one."
        " If that log was replaced, send them with `realm replay --to`"
    )


def own_writer(writer: Writer) -> LogWriter:
    """The engine's own writer, with the transactions that the interface does not offer."""
    assert isinstance(writer, LogWriter), "a log is maintained through a writer of its own"
    return writer
