"""Reports hosts that fall silent: an event when one is lost, another when it is heard again.

The status of a run is made of the log alone, so that history and live view agree about it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from realm_telemetry.delivery.heartbeats import Heartbeat
from realm_telemetry.event import Event
from realm_telemetry.folds.runs import Reading, still_open
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.filters import Filters
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.folds import RunsKeeper
from realm_telemetry.service.hosts import FullError, Host, Hosts
from realm_telemetry.service.hosts_file import SAVE_S, HostsFile
from realm_telemetry.service.live.tail import next_second
from realm_telemetry.service.reader_pool import ReaderPool

_LOST, _HEARD_AGAIN = "host_lost", "host_heard_again"
_MAX_RESTORED: Final = 1_000
_logger = logging.getLogger(__name__)


class HostWatch:
    """Hears hosts, and looks every second whether one is silent. For the event loop's thread.

    store: stores an event. producer: of these events; number: gives each its number.
    file: what is heard is kept there, for the next service.
    """

    def __init__(
        self,
        hosts: Hosts,
        readers: ReaderPool,
        runs: RunsKeeper,
        store: Callable[[Event], Awaitable[object]],
        producer: str,
        number: Callable[[], int],
        file: HostsFile,
    ) -> None:
        self.hosts = hosts
        self._readers, self._runs = readers, runs
        self._store = store
        self._producer, self._number = producer, number
        self._restored = False
        self._file = file
        self._save_at_s = 0.0
        self._running: object = None

    def hear(self, beat: Heartbeat) -> None:
        """Take in a heartbeat. Raises ApiError ingest_full."""
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
            except ApiError as error:  # the log is away or busy, or runs are still being folded
                _logger.debug("Silent hosts are looked for again: %s", error)
            if self._restored:
                await self._save(loop.time())

    async def _save(self, now_s: float) -> None:
        """Keep what is heard: at once where other processes run, else now and then."""
        running = {(host.name, host.boot_id): host.by_run() for host in self.hosts}
        if running == self._running and now_s < self._save_at_s:
            return
        self._running, self._save_at_s = running, now_s + SAVE_S
        heard = self.hosts.heard()
        await asyncio.to_thread(self._file.save, heard)

    def close(self) -> None:
        """Keep what was heard last, and before."""
        if not self._restored:
            self.hosts.remember(self._file.read())
        self._file.save(self.hosts.heard())

    async def _look(self) -> None:
        if not self._restored:
            await self._restore()
        for host in self.hosts.silent():
            await self._lose(host)
        for host in self.hosts.returned():
            await self._report(host, _HEARD_AGAIN, self.hosts.welcome)

    async def _restore(self) -> None:
        """Take over which hosts an earlier service has heard, and which it has reported."""
        wanted = Filters(kinds=(_LOST, _HEARD_AGAIN), limit=_MAX_RESTORED)
        page = await self._readers.run(lambda log: log.page(wanted, count=False))
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
        else:
            self.hosts.clear(host)

    async def _report(self, host: Host, kind: str, note: Callable[[Host], dict[str, Any]]) -> None:
        """Note the change of a host and store its event; both or neither."""
        before = host.lost, host.lost_at_s, host.back_at_s
        try:
            await self._store(self._event(kind, note(host)))
        except ApiError:
            host.lost, host.lost_at_s, host.back_at_s = before
            raise

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
