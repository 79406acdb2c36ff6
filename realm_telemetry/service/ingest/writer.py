"""The one thread that writes: batches are queued, committed together and answered afterwards.

Batches that wait at the same time share a transaction. When nothing waits, the thread does one
small step of upkeep (retention, search, backfill), so that no batch waits for more than one.
"""

import asyncio
import logging
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from realm_telemetry.errors import LogError
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log.engine import Log, Reader, Snapshot, Writer
from realm_telemetry.log.errors import LogRefusedError
from realm_telemetry.log.records import MAX_BATCH, AppendResult
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.ingest.registrar import Introduced, Registrar
from realm_telemetry.wire import BatchProducer, Rejected


def commit_one(
    writer: Writer,
    events: Sequence[Event],
    stored: Callable[[AppendResult], None],
    *,
    keep_arrival: bool = False,
    source: str | None = None,
    untimed: Collection[str] = (),
) -> "Stored":
    """Store a batch of any size.

    A batch over MAX_BATCH takes several transactions, so that other writers get their turn. If
    one fails, the sender sends all again and the stored ones count as duplicates.
    """
    duplicates, rejected = 0, list[Rejected]()
    for start in range(0, len(events), MAX_BATCH):
        result = writer.append(
            events[start : start + MAX_BATCH],
            keep_arrival=keep_arrival,
            source=source,
            untimed=untimed,
        )
        stored(result)
        duplicates += result.duplicates
        rejected += [Rejected(each.event_id, each.reason) for each in result.refused]
    return Stored(len(events) - duplicates - len(rejected), duplicates, rejected)


def commit_together(
    writer: Writer,
    reader: Reader,
    batches: Sequence[Sequence[Event]],
    stored: Callable[[AppendResult], None],
    *,
    keep_arrival: bool = False,
    source: str | None = None,
    untimed: Collection[str] = (),
) -> "list[Stored]":
    """Store several batches in one transaction; returns what became of each."""
    events = [event for batch in batches for event in batch]
    result = writer.append(events, keep_arrival=keep_arrival, source=source, untimed=untimed)
    stored(result)
    rejected = _refused_of_each(result, batches)
    doubles = [0] * len(batches)
    if result.duplicates:
        with reader.snapshot() as log:
            doubles = _duplicates_of_each(log, result, batches)
            doubles = [max(n - len(r), 0) for n, r in zip(doubles, rejected, strict=True)]
    return [
        Stored(len(batch) - double - len(refused), double, refused)
        for batch, double, refused in zip(batches, doubles, rejected, strict=True)
    ]


def _refused_of_each(
    result: AppendResult, batches: Sequence[Sequence[Event]]
) -> list[list[Rejected]]:
    ends = list(accumulate(len(batch) for batch in batches))
    rejected: list[list[Rejected]] = [[] for _ in batches]
    for each in result.refused:
        batch = bisect_right(ends, each.position)
        rejected[batch].append(Rejected(each.event_id, each.reason))
    return rejected


def _duplicates_of_each(
    log: Snapshot, result: AppendResult, batches: Sequence[Sequence[Event]]
) -> list[int]:
    """Rare, so by looking each event up: it is new if its row is of this transaction."""
    counts, seen = [], set[str]()
    for batch in batches:
        new = 0
        for event in batch:
            if event.id not in seen and _is_of(result, log.get(event.id)):
                new += 1
            seen.add(event.id)
        counts.append(len(batch) - new)
    return counts


def _is_of(result: AppendResult, row: object) -> bool:
    cursor = getattr(row, "cursor", 0)
    return bool(cursor) and result.first_cursor <= cursor <= result.last_cursor


STUCK_S: Final = 5.0
"""A write that takes longer is a problem that /health shows."""

REST_FROM_S: Final = 1.0
REST_S: Final = 20.0
"""Between steps of upkeep while nothing is written, when the last had nothing to do for so long."""

PROBE_S: Final = 1.0
"""How often a log that could not be written is tried while no batch comes."""

_ENDED: Final = "The thread that writes has ended. Restart the service."
_logger = logging.getLogger(__name__)


class Stored(msgspec.Struct, frozen=True):
    """What became of a batch; duplicates are as good as accepted.

    rejected: events whose ids are those of others, or whose producer writes elsewhere.
    """

    accepted: int
    duplicates: int
    rejected: list[Rejected] = []


class _Job(msgspec.Struct, frozen=True, eq=False):
    events: Sequence[Event]
    producers: Sequence[BatchProducer]
    kinds: Sequence[KindSpec]
    replay: bool
    introduced: Introduced | None
    source: str
    untimed: Collection[str]
    future: "asyncio.Future[Stored]"


class WriterThread:
    """Owns the writer of the log.

    The queue is bounded in events; when it is full, `store` raises ingest_full.
    committed: called on the event loop after each commit.
    stored: called in the writer's thread with what each transaction has stored.
    step: one step of upkeep in the writer's thread; answers seconds until the next.
    """

    def __init__(
        self,
        log: Log,
        *,
        max_events: int,
        committed: Callable[[], None],
        stored: Callable[[AppendResult], None],
        step: Callable[[Writer], float],
    ) -> None:
        self._log = log
        self._max_events = max_events
        self._committed = committed
        self._stored = stored
        self._step = step
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._committing: list[_Job] = []
        self._closing = False
        self._ended = False
        self._grown = True
        self._resting = False
        self._questions: list[threading.Event] = []
        self._registrar = Registrar()
        self._opened: asyncio.Future[str] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, name="realm-telemetry-writer", daemon=True
        )
        self._error: str | None = None
        self._busy_since_s: float | None = None
        self.queued_events = 0
        self.commits = 0

    @property
    def problem(self) -> str | None:
        """Why nothing can be written now; None while all is well."""
        if self._ended and not self._closing:
            return _ENDED
        since_s = self._busy_since_s
        if since_s is not None and (taken_s := time.monotonic() - since_s) > STUCK_S:
            return (
                f"The log has not taken a write for {taken_s:.0f} s: the disk hangs, or another"
                " program holds the log's lock."
            )
        return self._error

    async def start(self) -> str:
        """Open the log; returns its log_id.

        Raises LogError.
        """
        self._thread.start()
        return await self._opened

    async def store(
        self,
        events: Sequence[Event],
        producers: Sequence[BatchProducer] = (),
        kinds: Sequence[KindSpec] = (),
        *,
        replay: bool = False,
        introduced: Introduced | None = None,
        source: str = "",
        untimed: Collection[str] = (),
    ) -> Stored:
        """Store a batch; returns after its commit.

        replay: the batch comes from another log; its events keep their arrival there.
        introduced: what a third party reports of producers; what is known of them stays.
        source: the log_id of the sender's log, empty where it has none. untimed: ids of events that
            brought no time.

        Raises ApiError: ingest_full, log_unavailable, shutting_down.
        """
        future = self._loop.create_future()
        job = _Job(events, producers, kinds, replay, introduced, source, untimed, future)
        with self._condition:
            if self._closing:
                raise ApiError("shutting_down")
            if self._ended or not self._thread.is_alive():
                raise ApiError("log_unavailable", _ENDED)
            if self._is_full(job):
                raise ApiError("ingest_full")
            self._jobs.append(job)
            self.queued_events += len(events)
            self._condition.notify()
        return await job.future

    def notice(self) -> None:
        """Note that the log was written to, so that its upkeep waits no longer than usual."""
        with self._condition:
            self._grown = True
            if self._resting:
                self._condition.notify()

    def takes_writes(self, timeout_s: float) -> bool:
        """Whether the log takes a write now; blocks, so it is for other threads than the loop's."""
        answered = threading.Event()
        with self._condition:
            self._questions.append(answered)
            self._condition.notify()
        return answered.wait(timeout_s) and self.problem is None

    def _answer(self, questions: Sequence[threading.Event]) -> None:
        """Answer those that were asked before the last write; `problem` has what came of it."""
        with self._condition:
            del self._questions[: len(questions)]
        for each in questions:
            each.set()

    def _is_full(self, job: _Job) -> bool:
        # A batch over the queue's bound is taken alone rather than never.
        return bool(self._jobs) and self.queued_events + len(job.events) > self._max_events

    async def stop(self, timeout_s: float) -> None:
        """Store what is queued, then close the log; gives up after timeout_s."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, timeout_s)

    def _run(self) -> None:
        try:
            writer = self._log.writer()
        except (LogError, OSError) as error:
            self._on_loop(_fail, [self._opened], error)
            return
        self._reader = self._log.reader()
        self._on_loop(_succeed, [(self._opened, writer.log_id)])
        try:
            self._work(writer)
            self._registrar.settle(writer)
        except LogError as error:
            _logger.warning("What was left could not be written: %s", error)
        finally:
            self._refuse_what_is_left()
            self._reader.close()
            writer.close()

    def _refuse_what_is_left(self) -> None:
        """Answer what waits for a thread that ends; nothing does after an orderly end."""
        with self._condition:
            self._ended = True
            left = [job.future for job in (*self._committing, *self._jobs)]
            self._jobs.clear()
        self._on_loop(_fail, left, ApiError("log_unavailable", _ENDED))

    def _work(self, writer: Writer) -> None:
        pause_s = 0.0
        while (jobs := self._next_jobs(pause_s)) is not None:
            self._busy_since_s = time.monotonic()
            self._committing = jobs
            questions = list(self._questions)
            if jobs:
                self._commit(writer, jobs)
            else:
                pause_s = self._upkeep(writer)
            self._answer(questions)
            self._busy_since_s = None
            if self._error is not None:
                pause_s = PROBE_S

    def _upkeep(self, writer: Writer) -> float:
        if (self._error is not None or self._questions) and not self._probe(writer):
            return PROBE_S
        try:
            self._registrar.settle(writer)
            return self._step(writer)
        except Exception as error:  # noqa: BLE001 - batches must go on being stored
            _logger.warning("Upkeep of the log failed, next try in 30 s: %r", error)
            # It uses other files as well: only the log decides whether batches can be stored.
            self._probe(writer)
            return 30.0

    def _probe(self, writer: Writer) -> bool:
        """Learn whether the log can be written."""
        try:
            writer.probe()
        except (LogError, OSError) as error:
            self._error = str(error)
            return False
        self._error = None
        return True

    def _next_jobs(self, pause_s: float) -> list[_Job] | None:
        """Wait for jobs: those of one commit; none after pause_s; None at the end."""
        with self._condition:
            if not (self._jobs or self._closing or self._questions):
                self._resting = pause_s >= REST_FROM_S and not (self._grown or self._error)
                self._grown = False
                self._condition.wait(max(pause_s, REST_S) if self._resting else pause_s)
                self._resting = False
            if not self._jobs:
                return None if self._closing else []
            jobs = [self._jobs.popleft()]
            rows = len(jobs[0].events)
            while self._jobs and self._go_together(jobs[0], self._jobs[0], rows):
                jobs.append(self._jobs.popleft())
                rows += len(jobs[-1].events)
            return jobs

    def _go_together(self, first: _Job, other: _Job, rows: int) -> bool:
        alike = (first.replay, first.source) == (other.replay, other.source)
        return alike and rows + len(other.events) <= MAX_BATCH

    def _commit(self, writer: Writer, jobs: list[_Job]) -> None:
        futures = [job.future for job in jobs]
        try:
            for job in jobs:
                if job.replay:
                    self._registrar.note_replayed(writer, job.producers)
                else:
                    self._registrar.note(writer, job.producers, job.source)
                if job.introduced is not None:
                    self._registrar.introduce(writer, job.introduced)
                for kind in job.kinds:
                    writer.register_kind(kind)
            counts = self._append(writer, jobs)
            self._registrar.settle(writer, ended_only=True)
        except Exception as error:  # noqa: BLE001 - all other batches need this thread
            if str(error) != self._error:  # a full disk says the same of each batch
                _logger.error("A batch could not be stored: %r", error)
            message = f"The batch could not be stored: {error}"
            if _blame(error) == "log_unavailable" and not isinstance(error, LogRefusedError):
                self._error = str(error)
            self._on_loop(_fail, futures, ApiError(_blame(error), message))
        else:
            self._error = None
            self.commits += 1
            # In this order, so that who has the answer finds the events in the live view.
            self._on_loop(self._committed)
            self._on_loop(_succeed, list(zip(futures, counts, strict=True)))
        with self._condition:
            self.queued_events -= sum(len(job.events) for job in jobs)

    def _append(self, writer: Writer, jobs: list[_Job]) -> list[Stored]:
        first = jobs[0]
        # A replay posts the ids of other logs' producers on purpose.
        source = None if first.replay else first.source
        if len(jobs) == 1:
            return [
                commit_one(
                    writer,
                    first.events,
                    self._stored,
                    keep_arrival=first.replay,
                    source=source,
                    untimed=first.untimed,
                )
            ]
        return commit_together(
            writer,
            self._reader,
            [job.events for job in jobs],
            self._stored,
            keep_arrival=first.replay,
            source=source,
            untimed={event_id for job in jobs for event_id in job.untimed},
        )

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            _logger.debug("The event loop was closed before an answer could be given.")


def _blame(error: Exception) -> str:
    """The entry of the error catalogue: the log's trouble, or a mistake of ours."""
    of_the_log = isinstance(error, LogError | OSError)
    return "log_unavailable" if of_the_log else "internal_error"


def _succeed(answers: list[tuple["asyncio.Future[object]", object]]) -> None:
    for future, answer in answers:
        if not future.done():
            future.set_result(answer)


def _fail(futures: list["asyncio.Future[object]"], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
