"""`realm serve`: the application on its three addresses, until a signal ends it."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette

from realm_telemetry.config import Settings
from realm_telemetry.service.addresses import Address, BusyPort, bind_all
from realm_telemetry.service.app import realm_app
from realm_telemetry.service.core import Service
from realm_telemetry.service.protocol import RealmProtocol
from realm_telemetry.service.settings import ServiceSettings
from realm_telemetry.service.static import HOW_TO_BUILD, pages_built

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_logger = logging.getLogger(__name__)


class RealmServer:
    """The service on its addresses.

    addresses: those that are bound, once made. busy: those that somebody else has.
    Raises ConfigError if none is free or a token is missing.
    """

    def __init__(self, settings: ServiceSettings | Settings) -> None:
        self.settings = ServiceSettings.of(settings)
        self.app: Starlette = realm_app(self.settings)
        self.addresses: list[Address]
        self.busy: list[BusyPort]
        self.addresses, self.busy = bind_all(self.settings)
        self.started = threading.Event()
        self._server = _Uvicorn(self._config(), self._end_streams)

    @property
    def ports(self) -> list[int]:
        """The bound ports, RealmService's first."""
        return [address.port for address in self.addresses]

    @property
    def url(self) -> str:
        """The first address."""
        return self.addresses[0].url

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.app,
            loop="uvloop",
            http=RealmProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            # The rest of shutdown_s is the writer's, for what is queued.
            timeout_graceful_shutdown=max(1, int(self.settings.shutdown_s / 2)),
        )

    def run(self, on_start: Callable[["RealmServer"], None] | None = None) -> None:
        """Serve until SIGINT, SIGTERM or `stop`; returns after a graceful shutdown.

        on_start: called once the addresses answer.
        Raises LogError if the log cannot be used.
        """
        factory = self._server.config.get_loop_factory()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self.serve(on_start))

    async def serve(self, on_start: Callable[["RealmServer"], None] | None = None) -> None:
        """As `run`, on the running event loop."""
        try:
            async with self.app.router.lifespan_context(self.app):
                with self._signals():
                    await self._server.serve_with(self._started(on_start), self.addresses)
        finally:
            for address in self.addresses:
                address.socket.close()

    def _started(self, on_start: Callable[["RealmServer"], None] | None) -> Callable[[], None]:
        def announce() -> None:
            self.started.set()
            if on_start is not None:
                on_start(self)

        return announce

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._server.should_exit = True

    def _end_streams(self) -> None:
        service = getattr(self.app.state, "service", None)
        if isinstance(service, Service):
            service.end_streams()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the service; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self._server.should_exit:
            self._server.force_exit = True
        self._server.should_exit = True


class _Uvicorn(uvicorn.Server):
    """uvicorn that leaves signals to us and ends streams before it waits for connections."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams
        self._announce: Callable[[], None] | None = None

    async def serve_with(self, announce: Callable[[], None], addresses: list[Address]) -> None:
        """Serve on bound sockets until `should_exit`."""
        self._announce = announce
        await self._serve([address.socket for address in addresses])

    async def main_loop(self) -> None:
        """Announce, then wait for the end."""
        if self._announce is not None:
            self._announce()
        await super().main_loop()

    async def shutdown(self, sockets: object = None) -> None:
        """End the streams first: a graceful server waits for open connections."""
        self._end_streams()
        await super().shutdown(sockets)  # type: ignore[arg-type]


def serve(
    settings: ServiceSettings | Settings, *, echo: Callable[[str], None] | None = None
) -> None:
    """Serve until a signal; for the command line.

    echo: takes the lines of the start-up banner.
    Raises ConfigError, LogError.
    """
    server = RealmServer(settings)
    say = echo or _logger.info

    def announce(started: RealmServer) -> None:
        for line in banner(started):
            say(line)

    server.run(announce)


def banner(server: RealmServer) -> list[str]:
    """What runs where, in a few lines."""
    lines = ["RealmService is up."]
    lines += [f"  {address.name:<13} {address.url}" for address in server.addresses]
    lines += [
        f"  {one.name:<13} port {one.port} is busy: {one.holder}; the other addresses serve it"
        for one in server.busy
    ]
    if not pages_built():
        lines.append(f"  {HOW_TO_BUILD}")
    lines.append(f"  log           {server.settings.log_path}")
    if server.settings.token is not None:
        lines.append("  A token is asked for; browsers log in at /login.")
    return lines
