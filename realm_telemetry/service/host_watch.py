"""Reports hosts that fall silent: an event when one is lost, another when it is heard again.

The status of a run is made of the log alone, so that history and live view agree about it. Services
that share a log tell each other what they hear, and one of them reports: see docs/decisions/0151.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from realm_telemetry.delivery.heartbeats import Heartbeat, encode_heartbeat, read_heartbeat
from realm_telemetry.errors import LogError
from realm_telemetry.event import Event
from realm_telemetry.folds.runs import Reading, still_open
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.hosts import HostTable, SharedBeat
from realm_telemetry.log.maintenance import Lease
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.folds import RunsKeeper
from realm_telemetry.service.hosts import LATE_S, FullError, Host, Hosts
from realm_telemetry.service.hosts_file import SAVE_S, HeardHost, HostsFile
from realm_telemetry.service.live.tail import next_second
from realm_telemetry.service.reader_pool import ReaderPool
from realm_telemetry.values.clock import monotonic

_LOST, _HEARD_AGAIN = "host_lost", "host_heard_again"
_MAX_RESTORED: Final = 1_000
LEASE: Final = "hosts"
MAX_APART_S: Final = 10.0
"""A service that could not share for so long takes no heartbeats: another one may."""

_logger = logging.getLogger(__name__)


class SharedHosts:
    """What this service hears, for the others of its log, and what they hear. Within a thread.

    Raises LogError.
    """

    def __init__(self, table: HostTable, lease: Lease) -> None:
        self._table = table
        self.lease = lease
        self._is_known = False

    def exchange(
        self, fresh: Sequence[tuple[Heartbeat, float]]
    ) -> tuple[bool, list[tuple[Heartbeat, float]]]:
        """Return heartbeats that came to others, with their age; first whether these are all."""
        mine = [
            SharedBeat(beat.host, beat.boot_id, beat.pipeline, encode_heartbeat(beat), age_s)
            for beat, age_s in fresh
        ]
        found = []
        for each in self._table.exchange(mine):
            with suppress(ValueError):  # of a version that says more
                found.append((read_heartbeat(each.content), each.age_s))
        is_first, self._is_known = not self._is_known, True
        return is_first, found

    def forget(self, host: Host) -> None:
        """Remove a host that is reported as lost."""
        self._table.forget(host.name, host.boot_id)

    def close(self) -> None:
        """Close the connection."""
        self._table.close()


class HostWatch:
    """Hears hosts, and looks every second whether one is silent. For the event loop's thread.

    store: stores an event. producer: of these events; number: gives each its number.
    keeper: where what is heard is kept: a file for the next service, or a table for all services.
    """

    def __init__(
        self,
        hosts: Hosts,
        readers: ReaderPool,
        runs: RunsKeeper,
        store: Callable[[Event], Awaitable[object]],
        producer: str,
        number: Callable[[], int],
        keeper: HostsFile | SharedHosts,
    ) -> None:
        self.hosts = hosts
        self._readers, self._runs = readers, runs
        self._store = store
        self._producer, self._number = producer, number
        self._restored = False
        self._file = keeper if isinstance(keeper, HostsFile) else None
        self._shared = keeper if isinstance(keeper, SharedHosts) else None
        self._shared_at_s = monotonic()
        self._save_at_s = 0.0
        self._running: object = None

    def hear(self, beat: Heartbeat) -> None:
        """Take in a heartbeat. Raises ApiError ingest_full, log_unavailable."""
        if self._shared is not None and monotonic() - self._shared_at_s > MAX_APART_S:
            # The other services would take it for silent.
            problem = "What hosts say cannot be shared with the other services of the log."
            raise ApiError("log_unavailable", problem, "Send it to another service.")
        try:
            self.hosts.hear(beat)
        except FullError:
            problem = "More processes are reported than this service keeps."
            raise ApiError("ingest_full", problem) from None

    async def watch(self) -> None:
        """Look for as long as the service runs."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = next_second(loop.time())
            await asyncio.sleep(due_s)
            self.hosts.look(due_s)
            try:
                await self._look()
            # The log is away or busy, or runs are still being folded.
            except (ApiError, LogError) as error:
                _logger.debug("Silent hosts are looked for again: %s", error)
            if self._restored:
                await self._save(loop.time())

    async def _save(self, now_s: float) -> None:
        """Keep what is heard: at once where other processes run, else now and then."""
        if self._file is None:
            return
        running = {(host.name, host.boot_id): host.by_run() for host in self.hosts}
        if running == self._running and now_s < self._save_at_s:
            return
        self._running, self._save_at_s = running, now_s + SAVE_S
        heard = self.hosts.heard()
        await asyncio.to_thread(self._file.save, heard)

    def close(self) -> None:
        """Keep what was heard last, and before."""
        if self._shared is not None:
            with suppress(LogError):
                self._shared.exchange(self.hosts.fresh())
            self._shared.close()
        if self._file is not None:
            if not self._restored:
                self.hosts.remember(self._file.read())
            self._file.save(self.hosts.heard())

    async def _look(self) -> None:
        if self._shared is not None:
            await self._share(self._shared)
        if not self._restored:
            await self._restore()
        if self._shared is None:
            await self._report_all()
        elif self.hosts.silent() or self.hosts.returned():
            await self._report_for_all(self._shared)

    async def _share(self, shared: SharedHosts) -> None:
        """Say what was heard, and hear what others say. Raises LogError."""
        fresh = self.hosts.fresh()
        try:
            is_first, found = await asyncio.to_thread(shared.exchange, fresh)
        except BaseException:
            self.hosts.not_shared(beat for beat, _ in fresh)
            raise
        now_s = monotonic()
        apart_s, self._shared_at_s = now_s - self._shared_at_s, now_s
        if apart_s > LATE_S:  # nor have the others said what they heard
            self.hosts.excuse(apart_s)
        if is_first:
            now_ns = time.time_ns()
            self.hosts.remember(
                HeardHost(beat, now_ns - int(age_s * 1e9))
                for beat, age_s in found
                if beat.processes
            )
            return
        for beat, age_s in found:
            with suppress(FullError):
                self.hosts.hear_of(beat, age_s)

    async def _report_for_all(self, shared: SharedHosts) -> None:
        """Report what no other service has reported yet; one does it at a time."""
        if not await asyncio.to_thread(shared.lease.take):
            return
        try:
            await self._restore()
            await self._report_all()
        finally:
            await asyncio.to_thread(shared.lease.release)

    async def _report_all(self) -> None:
        for host in self.hosts.silent():
            await self._lose(host)
        for host in self.hosts.returned():
            await self._report(host, _HEARD_AGAIN, self.hosts.welcome)

    async def _restore(self) -> None:
        """Take over which hosts another service has heard, and which it has reported."""
        wanted = Filters(kinds=(_LOST, _HEARD_AGAIN), limit=_MAX_RESTORED)
        page = await self._readers.run(lambda log: log.page(wanted, count=False))
        if self._file is not None:
            self.hosts.remember(await asyncio.to_thread(self._file.read))
        self.hosts.restore(row.event for row in page.rows)
        self._restored = True

    async def _lose(self, host: Host) -> None:
        """Report a silent host, unless all of its processes have ended."""
        wanted, layers = host.by_run(), self._runs.current.layers()

        def ask(log: Snapshot) -> dict[str, list[str]]:
            reading = Reading(log, layers)
            found = {
                run_id: still_open(record, producers)
                for run_id, producers in wanted.items()
                if (record := reading.record(run_id)) is not None
            }
            return {run_id: producers for run_id, producers in found.items() if producers}

        left = await self._readers.run(ask)
        if not self.hosts.is_silent(host):  # it was heard meanwhile
            return
        if left:
            await self._report(host, _LOST, lambda host: self.hosts.lose(host, left))
            if self._shared is not None:
                await asyncio.to_thread(self._shared.forget, host)
        else:
            self.hosts.clear(host)

    async def _report(self, host: Host, kind: str, note: Callable[[Host], dict[str, Any]]) -> None:
        """Note the change of a host and store its event; both or neither."""
        before = host.lost, host.lost_at_s, host.back_at_s
        event = self._event(kind, note(host))
        try:
            await self._store(event)
        except ApiError:
            host.lost, host.lost_at_s, host.back_at_s = before
            raise
        host.reported = event.id

    def _event(self, kind: str, details: dict[str, Any]) -> Event:
        channel, severity = resolve(kind)
        runs = details["runs"]
        return Event(
            kind,
            channel,
            severity,
            render(kind, details),
            details,
            time.time_ns(),
            self._producer,
            self._number(),
            run_id=runs[0]["run_id"] if len(runs) == 1 else None,
        )
