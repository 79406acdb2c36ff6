"""The running service: its parts, started and stopped in order, and what it counts for /metrics."""

import asyncio
import gc
import logging
import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from starlette.datastructures import State
from starlette.types import Scope

from realm_telemetry.delivery.sources import RecentOfLog
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.event import Event
from realm_telemetry.folds.metrics import Metrics, metrics_runner, read_definition
from realm_telemetry.folds.runs import RunsRunner
from realm_telemetry.folds.runtime import FoldRunner
from realm_telemetry.folds.state import RealmState, state_runner
from realm_telemetry.log.engine import Log, Writer, open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.kind_watch import KindWatch
from realm_telemetry.log.maintenance import Retention
from realm_telemetry.log.records import limits_of
from realm_telemetry.service.alert_jobs import AlertJobs
from realm_telemetry.service.curves import CurvesKeeper
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.exporters import Exporting
from realm_telemetry.service.folds import SF, FoldKeeper, RunsKeeper
from realm_telemetry.service.host_watch import LEASE as HOSTS_LEASE
from realm_telemetry.service.host_watch import HostWatch, SharedHosts
from realm_telemetry.service.hosts import Hosts
from realm_telemetry.service.hosts_file import NAME as HOSTS_FILE
from realm_telemetry.service.hosts_file import HostsFile
from realm_telemetry.service.ingest.body import BodyBudget
from realm_telemetry.service.ingest.writer import STUCK_S, WriterThread
from realm_telemetry.service.live.frames import stream_name
from realm_telemetry.service.live.hub import Hub
from realm_telemetry.service.live.latest import LiveView, last_rows
from realm_telemetry.service.live.streams import StreamPlaces
from realm_telemetry.service.live.tail import Tail
from realm_telemetry.service.ping import Ping
from realm_telemetry.service.reader_pool import ReaderPool
from realm_telemetry.service.settings import ServiceSettings
from realm_telemetry.shipper.orphans import Adoption
from realm_telemetry.shipper.watch import WatchSettings, watch_settings
from realm_telemetry.spool.keeper import Keeper
from realm_telemetry.spool.place import spool_roots
from realm_telemetry.values.clock import monotonic

_OPEN_AGAIN_S: Final = 1.0
_FOLDED_WITHIN_S: Final = 1.0
"""So long a start waits for the folds; a longer log is served while it is folded."""

_UPKEEP_OF_ANOTHER_S: Final = 10.0
_LOOK_FOR_ORPHANS_S: Final = 4.0
"""So often that the end of a program and its shipper, killed together, is known in ten seconds."""
_logger = logging.getLogger(__name__)


class ServiceUpkeep:
    """The log's upkeep, before any shipper's; belongs to the writer's thread, but for `covered`."""

    def __init__(self, log: Log, settings: ServiceSettings) -> None:
        self._claim = log.upkeep_claim("service", first=True)
        self._is_shared = settings.log_url is not None
        self._upkeep = log.upkeep(
            limits_of(
                settings.retention_days, settings.retention_bytes, settings.retention_thin_hours
            ),
            self._retain,
            interval_s=settings.upkeep_interval_s,
        )
        self._covered: dict[str, int] = {}

    def covered(self, fold: str, cursor: int) -> None:
        """Note up to where the log is covered by a snapshot; retention stays below all of them."""
        self._covered[fold] = cursor

    def step(self, writer: Writer) -> float:
        """Do one step of the next job; returns seconds until the next."""
        if not self._claim.hold(writer) and self._is_shared:
            return _UPKEEP_OF_ANOTHER_S
        return self._upkeep.step(writer)

    def _retain(self, retention: Retention) -> bool:
        return retention.step(min(self._covered.values(), default=0) + 1).more


class IngestTally:
    """Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self.batches = 0
        self.accepted = 0
        self.duplicates = 0
        self.rejected = 0
        self.bytes = 0

    def stored(self, accepted: int, duplicates: int, rejected: int, size: int) -> None:
        """Count an answered batch."""
        self.batches += 1
        self.accepted += accepted
        self.duplicates += duplicates
        self.rejected += rejected
        self.bytes += size


def _after_move(settings: ServiceSettings) -> ServiceSettings:
    """Return the settings with the place that the log of the home was moved to, if it was.

    Raises LogUnavailableError where that log is out of reach: nobody would look here for events.
    """
    log = open_log(settings.log_place, home=settings.home)
    if settings.log_url is not None or not log.exists():
        return settings
    moved = log.describe().moved
    if moved is None:
        return settings
    problem = f"the log {log.place} was moved to {moved.place}"
    fix = f"Start the service with the moved log: REALM_LOG_URL={moved.place}"
    try:
        # Its password may be where libpq looks for it.
        with open_log(moved.place).reader() as reader:
            is_there = reader.now.log_id == moved.log_id
    except LogError as error:
        raise LogUnavailableError(f"{problem}, which cannot be read ({error})", fix) from error
    if not is_there:
        raise LogUnavailableError(f"{problem}, where another log is now", fix)
    _logger.warning("The log of this home is at %s now. %s", moved.place, fix)
    return settings.moved_to(moved.place)


class Service:
    """Everything that runs behind the routes; `await Service.start(settings)` makes one.

    producer: the producer id of events that come without one.
    definition: of the metrics that are made of events.
    failovers: as `Snapshot.failovers` has them.
    """

    settings: ServiceSettings
    log_id: str
    readers: ReaderPool
    writer: WriterThread
    live: LiveView
    hub: Hub
    places: StreamPlaces
    tail: Tail
    folding: FoldKeeper[RealmState]
    metrics: FoldKeeper[Metrics]
    runs: RunsKeeper
    curves: CurvesKeeper
    host_watch: HostWatch
    exporting: Exporting

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.failovers: list[int] = []
        self.definition = read_definition(settings.options.get("otlp_metrics", {}))
        self.tally = IngestTally()
        self.live = LiveView()
        self.producer = secrets.token_hex(8)
        self._number_lock = threading.Lock()
        self._numbered = 0
        self.bodies = BodyBudget(settings.ingest_queue_bytes)
        self.alert_jobs = AlertJobs()
        self.started_s = time.time()
        self.replaced = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = ExitStack()

    @classmethod
    async def start(cls, settings: ServiceSettings) -> "Service":
        """Open the log and start all parts.

        Raises LogError, ConfigError.
        """
        settings.check_access()
        service = cls(await asyncio.to_thread(_after_move, settings))
        await service._open_log()
        try:
            await service._start_reading()
        except BaseException:
            # Nothing is queued yet.
            await service.writer.stop(1.0)
            service._close_readers()
            raise
        return service

    async def _open_log(self) -> None:
        settings = self.settings
        self.log = open_log(
            settings.log_place,
            home=settings.home,
            search_path=settings.search_path,
            state_path=settings.state_path,
            redact=settings.redact,
        )
        self.upkeep = ServiceUpkeep(self.log, settings)
        self._recent = RecentOfLog()
        self.writer = WriterThread(
            self.log,
            max_events=settings.ingest_queue_events,
            committed=self._on_commit,
            replaced=self.replaced.set,
            stored=self._recent.add,
            step=self.upkeep.step,
        )
        self.readers = ReaderPool(self.log, settings.query_threads, settings.query_timeout_s)
        self.log_id = await self.writer.start()

    async def _start_reading(self) -> None:
        settings = self.settings
        # In threads: a service that begins anew answers questions meanwhile.
        reader = await asyncio.to_thread(self.readers.open)
        self._tail_reader = self._opened.enter_context(reader)
        kinds = KindWatch(self._tail_reader.now)
        await asyncio.to_thread(kinds.look)
        cursor = await asyncio.to_thread(self._tail_reader.now.max_cursor)
        for row in await self.readers.run_long(lambda log: last_rows(log, cursor)):
            self.live.add(row)
        self.hub = Hub(settings, self.log_id, cursor)
        await asyncio.to_thread(self._look_for_failovers)
        self.places = StreamPlaces(settings)
        self.folding = self._keeper("RealmState", state_runner(self.log_id, self.log))
        counted = metrics_runner(self.log_id, self.log, "service", self.definition)
        self.metrics = self._keeper("Metrics", counted)
        self.runs = RunsKeeper(self.readers, RunsRunner(self.log), self._covers("Runs"))
        self.curves = CurvesKeeper(self.log, self.log_id, self.readers, self._covers("Curves"))
        silent_s = _watch_settings(settings).host_silent_s
        self.host_watch = HostWatch(
            Hosts(silent_s),
            self.readers,
            self.runs,
            self._store_own,
            self.producer,
            self.number,
            self._hosts_keeper(),
        )
        self.exporting = await asyncio.to_thread(Exporting, settings, self._recent)
        takers = (
            self.live.take,
            self.folding.take,
            self.metrics.take,
            self.runs.take,
            self.curves.take,
            self.hub.publish,
        )
        self.tail = Tail(
            self._tail_reader,
            self._recent,
            await asyncio.to_thread(self.log.watch),
            cursor,
            takers,
            settings.tail_poll_s,
            self.replaced.set,
            self._on_write,
            self._look_for_failovers,
            # Before the takers, which ask the catalog which kinds are routine.
            kinds,
        )
        self.tail.start()
        self.exporting.start()
        keepers = (self.folding, self.metrics, self.runs, self.curves)
        folding = [self._run(keeper.fold(cursor)) for keeper in keepers]
        for keeper in keepers:
            self._run(keeper.save_every(settings.snapshot_interval_s))
        self._run(self.curves.fill())
        self._run(self.host_watch.watch())
        self._adopting = _adopting(settings)
        self._adopting.start()
        self._ping = _ping(settings, self._is_well)
        if self._ping is not None:
            self._ping.start()
        # Most logs are folded at once: then nobody is told to ask again.
        await asyncio.wait(folding, timeout=_FOLDED_WITHIN_S)

    def _run(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(job)
        self._tasks.append(task)
        return task

    async def _store_own(self, event: Event) -> None:
        """Store an event that this service makes itself."""
        await self.writer.store([event])

    def _on_commit(self) -> None:
        self.tail.poke()

    def _on_write(self) -> None:
        self.exporting.notify()
        self.writer.notice()

    def _keeper(self, name: str, runner: FoldRunner[SF]) -> FoldKeeper[SF]:
        return FoldKeeper(name, self.readers, runner, self._covers(name))

    def _hosts_keeper(self) -> HostsFile | SharedHosts:
        table = self.log.hosts()
        if table is not None:
            return SharedHosts(table, self.log.lease(HOSTS_LEASE))
        return HostsFile(self.settings.state_path.with_name(HOSTS_FILE), self.log_id)

    def _covers(self, name: str) -> Callable[[int], None]:
        covers = partial(self.upkeep.covered, name)
        covers(0)
        return covers

    @property
    def problem(self) -> str | None:
        """Why the log cannot be read or written now; None while all is well."""
        if self.tail.error is not None:
            return f"The log cannot be read: {self.tail.error}"
        problem = self.writer.problem
        return None if problem is None else f"The log cannot be written: {problem}"

    @property
    def ping_problem(self) -> str:
        """Why the last ping was not taken; empty while all is well."""
        return "" if self._ping is None else self._ping.problem

    def _is_well(self) -> bool:
        """Whether the log can be read and written, learned by writing; for another thread."""
        return self.writer.takes_writes(STUCK_S) and self.problem is None

    def number(self) -> int:
        """The number of the next event that comes without an id."""
        # Batches are read in several threads.
        with self._number_lock:
            self._numbered += 1
            return self._numbered

    def is_ahead(self, event: Event) -> bool:
        """Whether an event has a number of this service's own that was not given yet.

        Who takes it would have the next event without an id refused.
        """
        return event.producer == self.producer and event.number > self._numbered

    def _look_for_failovers(self) -> None:
        """Know where standbys have taken over; ids of streams say which of them they came after."""
        self.failovers = self._tail_reader.now.failovers()
        self.hub.name = stream_name(self.log_id, len(self.failovers))

    def is_lost(self, cursor: int, failovers: int) -> bool:
        """Whether a failover has lost the row of a cursor that a reader had after so many."""
        return any(head < cursor for head in self.failovers[failovers:])

    def end_streams(self) -> None:
        """Let streams end, so that a server that waits for its connections can stop."""
        self.places.close()

    async def stop(self) -> None:
        """Stop all parts; what is queued is stored, RealmState is saved."""
        self.end_streams()
        if self._ping is not None:
            self._ping.stop()
        self._adopting.stop(0.0)
        self.alert_jobs.close()
        await self.writer.stop(self.settings.shutdown_s / 2)
        self.tail.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.hub.close()
        self.curves.close()
        await self._save()
        self._close_readers()

    def _close_readers(self) -> None:
        # Threads that still wait for a server would hold up the end of the process.
        self.log.abandon()
        self.readers.close()
        self._opened.close()

    async def _save(self) -> None:
        """Save what parts know, all at once: each may wait for a server that does not answer."""
        jobs = [
            asyncio.to_thread(self.host_watch.close),
            asyncio.to_thread(self.exporting.stop),
            asyncio.to_thread(self.tail.close),
            *(keeper.save() for keeper in (self.folding, self.metrics, self.runs, self.curves)),
        ]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        _, late = await asyncio.wait(tasks, timeout=self.settings.shutdown_s)
        if late:
            _logger.warning(
                "Not all could be saved within shutdown_s (%g s); the next start reads it again"
                " from the log.",
                self.settings.shutdown_s,
            )
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _watch_settings(settings: ServiceSettings) -> WatchSettings:
    try:
        return watch_settings(str(settings.home))
    except ConfigError as error:
        _logger.warning("%s The usual settings are used.", error)
        return WatchSettings()


def _ping(settings: ServiceSettings, is_well: Callable[[], bool]) -> Ping | None:
    if settings.ping_url is None:
        return None
    return Ping(settings.ping_url, settings.ping_interval_s, is_well)


def _adopting(settings: ServiceSettings) -> Keeper:
    """What starts shippers for programs that were killed together with theirs."""
    roots = spool_roots(settings.home, settings.spool)
    adoption = Adoption(roots, settings.log_path, _logger.warning, monotonic)
    return Keeper(
        [adoption.look],
        hurried=lambda: False,
        on_error=lambda error: _logger.warning("Spools that nobody ships: %r", error),
        interval_s=_LOOK_FOR_ORPHANS_S,
    )


def service_of(scope: Scope) -> Service:
    """The service behind an application.

    Raises ApiError not_started if the application's lifespan was not entered, log_unavailable
    while the log is opened again.
    """
    state = scope["app"].state
    service = getattr(state, "service", None)
    if isinstance(service, Service):
        return service
    outage: str | None = getattr(state, "outage", None)
    if outage is not None:
        raise ApiError("log_unavailable", outage)
    raise ApiError("not_started")


class ServiceKeeper:
    """Keeps a service behind an application; another in its place when the log is another.

    Then all that has read the old log begins anew, as in a new process: live view, streams, folds,
    exporters. state: of the application; `service` is the one that runs, `outage` why none does.
    """

    def __init__(self, state: State, settings: ServiceSettings) -> None:
        self._state = state
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the service. Raises LogError, ConfigError."""
        self._state.service = await Service.start(self._settings)
        self._task = asyncio.ensure_future(self._keep())

    async def stop(self) -> None:
        """Stop the service, if one runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        service: Service | None = getattr(self._state, "service", None)
        self._state.service = self._state.outage = None
        if service is not None:
            await service.stop()

    async def _keep(self) -> None:
        while True:
            service: Service = self._state.service
            await service.replaced.wait()
            self._state.outage = f"{service.problem}"
            self._state.service = None
            _logger.warning("The service begins anew. %s", self._state.outage)
            await service.stop()
            while self._state.service is None:
                await self._try()

    async def _try(self) -> None:
        # An error's traceback holds cursors, and they keep files of the log open that are gone:
        # SQLite takes those for the ones of the log that is there now.
        gc.collect()
        try:
            self._state.service = await Service.start(self._settings)
        except (LogError, OSError) as error:
            self._state.outage = f"The log cannot be opened: {error}"
            await asyncio.sleep(_OPEN_AGAIN_S)
        else:
            self._state.outage = None
            _logger.warning("The service runs again, on the log %s", self._state.service.log.place)
