"""`realm serve`: the application on its three addresses, until a signal ends it.

An address that is in use is reported with the process that has it.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import uvicorn
from starlette.applications import Starlette

from realm_telemetry.config import Settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.home import RunningService, ServiceAddress, network_namespace, running_service
from realm_telemetry.home.shared import (
    SharedService,
    addresses,
    read_service,
    remove_service,
    serves,
    shared_home_of,
    write_service,
)
from realm_telemetry.log.engine import open_log
from realm_telemetry.service.app import realm_app
from realm_telemetry.service.core import Service
from realm_telemetry.service.live.tail import next_second
from realm_telemetry.service.pages import HOW_TO_BUILD, pages_built
from realm_telemetry.service.protocol import protocol_for
from realm_telemetry.service.sessions import login_url
from realm_telemetry.service.settings import ServiceSettings

SEND_BUFFER_BYTES: Final = 256 * 1024

_LISTEN: Final = "0A"
"""The state of a listening socket in /proc/net/tcp (linux/include/net/tcp_states.h)."""


class Address(NamedTuple):
    """One bound address. name: what it is known as; url: where it is."""

    name: str
    url: str
    socket: socket.socket

    @property
    def port(self) -> int:
        """The bound port."""
        return int(self.socket.getsockname()[1])


class BusyPort(NamedTuple):
    """A port that somebody else has. holder: who, as far as it can be found."""

    name: str
    port: int
    holder: str


NAMES: Final = ("RealmService", "battle log", "pages")


def bind_all(settings: ServiceSettings) -> tuple[list[Address], list[BusyPort]]:
    """Bind the three addresses; the same port twice is bound once.

    Raises ConfigError if none is free, or the host is not one of this machine.
    """
    bound: list[Address] = []
    busy: list[BusyPort] = []
    seen: set[int] = set()
    ports = (settings.port, settings.battle_log_port, settings.ui_port)
    for name, port in zip(NAMES, ports, strict=True):
        if port and port in seen:
            continue
        seen.add(port)
        try:
            bound.append(_bind(name, settings.host, port))
        except OSError as error:
            _check_host(settings.host, error, bound)
            busy.append(BusyPort(name, port, holder_of(port) or error.strerror or "unknown"))
    if not bound:
        taken = "; ".join(f"{one.port} is held by {one.holder}" for one in busy)
        raise ConfigError(
            "--port",
            f"no port is free: {taken}",
            "Stop the other program, or choose others with --port, --battle-log-port, --ui-port.",
        )
    return bound, busy


def _bind(name: str, host: str, port: int) -> Address:
    family, kind, protocol, _, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # After a restart the port is free though old connections linger; a listener is refused.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it: what the kernel keeps for a client that does not read.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.bind(where)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    shown = f"[{host}]" if ":" in host else host
    return Address(name, f"http://{shown}:{listener.getsockname()[1]}", listener)


def _check_host(host: str, error: OSError, bound: list[Address]) -> None:
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        return
    for address in bound:
        address.socket.close()
    raise ConfigError("--host", f"{host} cannot be bound ({error.strerror})", "Use 127.0.0.1.")


def holder_of(port: int) -> str | None:
    """Who listens on a TCP port: `pid 123 (command)`; None if it cannot be seen."""
    inodes = set(_listening_inodes(port))
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        if inodes & set(_socket_inodes(process)):
            return f"pid {process.name} ({_command(process)})"
    return "a process of another user"


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _socket_inodes(process: Path) -> Iterator[str]:
    try:
        for entry in (process / "fd").iterdir():
            target = str(entry.readlink())
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:
        return


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "unknown command"
    return b" ".join(words).decode("utf-8", "replace").strip()[:120]


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
            http=protocol_for(self.settings),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=self.settings.idle_timeout_s,  # type: ignore[arg-type]  # a delay
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
                with self._signals(), self._said_in_home():
                    await self._server.serve_with(self._started(on_start), self.addresses)
        finally:
            for address in self.addresses:
                address.socket.close()

    @contextmanager
    def _said_in_home(self) -> Iterator[None]:
        """Let programs, commands and shippers of this home find the service on any port."""
        address = None
        try:
            address = ServiceAddress.claim(self.settings.home)
            if address is not None:
                address.say(self._facts())
        except OSError as error:  # a full disk, or something else in the place of the file
            _logger.warning(
                "The address of this service cannot be written into %s: %s. Others find it by"
                " REALM_SERVICE_URL.",
                self.settings.home,
                error,
            )
        if address is None:
            self._warn_of_another()
            yield
            return
        try:
            with self._said_to_other_hosts():
                yield
        finally:
            address.close()

    def _warn_of_another(self) -> None:
        """Say that programs find another service of this home, if one runs."""
        another = running_service(self.settings.home)
        if another is not None:
            _logger.warning(
                "Another service of %s runs at %s (pid %s): programs and commands find that one."
                " This one is reached where REALM_SERVICE_URL names it.",
                self.settings.home,
                another.url,
                another.pid,
            )

    def _facts(self) -> RunningService:
        service = getattr(self.app.state, "service", None)
        return RunningService(
            url=_from_here(self.addresses[0].url),
            pages=_from_here(self.addresses[-1].url),
            pid=os.getpid(),
            pid_namespace=Path("/proc/self/ns/pid").stat().st_ino,
            log_id=service.log_id if isinstance(service, Service) else "",
            network=network_namespace(),
        )

    @contextmanager
    def _said_to_other_hosts(self) -> Iterator[None]:
        """Write the address into the shared home for which this home stands, if it does.

        A service on another host that answers is the one of the shared home, and stays it.
        """
        shared = shared_home_of(self.settings.home)
        service = getattr(self.app.state, "service", None)
        if shared is None or not isinstance(service, Service):
            yield
            return
        said = SharedService(
            urls=addresses(self.addresses[0].url),
            pages=addresses(self.addresses[-1].url)[0],
            host=os.uname().nodename,
            log_id=service.log_id,
            token=self.settings.token,
        )
        other = _other_service(shared, said)
        if other is not None:
            _logger.warning("%s", other)
            yield
            return
        try:
            write_service(shared, said)
        except OSError as error:
            _logger.warning(
                "The address of this service cannot be written into %s: %s. Other hosts find it by"
                " REALM_SERVICE_URL.",
                shared,
                error,
            )
        try:
            yield
        finally:
            remove_service(shared, said)

    def _started(self, on_start: Callable[["RealmServer"], None] | None) -> Callable[[], None]:
        def announce() -> None:
            self.started.set()
            if on_start is not None:
                on_start(self)

        return announce

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._server.end()

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
        # A parent may have blocked them, as `realm run` does, which starts a service.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self._server.should_exit:
            self._server.force_exit = True
        self._server.end()


class _Uvicorn(uvicorn.Server):
    """uvicorn that leaves signals to us and ends streams before it waits for connections."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams
        self._announce: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    def end(self) -> None:
        """End `serve_with`; from any thread, and from a signal handler."""
        self.should_exit = True
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._ending.set)

    async def serve_with(self, announce: Callable[[], None], addresses: list[Address]) -> None:
        """Serve on bound sockets until `should_exit`."""
        self._announce = announce
        await self._serve([address.socket for address in addresses])

    async def main_loop(self) -> None:
        """Announce, then wait for the end; uvicorn itself would look ten times a second.

        The tick of a second is for the date in answers.
        """
        self._loop = loop = asyncio.get_running_loop()
        if self._announce is not None:
            self._announce()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), next_second(loop.time()))

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


def _other_service(shared: Path, own: SharedService) -> str | None:
    """Say which other service a shared home has that answers; None if there is none."""
    try:
        found = read_service(shared)
    except ConfigError:  # broken: this service writes it anew
        return None
    if found is None or found.log_id == own.log_id:
        return None
    answering = next((url for url in found.urls if serves(url, found.log_id)), None)
    if answering is None:
        return None
    return (
        f"The service of {shared} runs on {found.host}, at {answering}: other hosts send their"
        " events there, and not to this one. End one of the two, or set REALM_SERVICE_URL."
    )


def _from_here(url: str) -> str:
    """Return an address as it is reached from this host: one that listens to all is on loopback."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _log_shown(settings: ServiceSettings) -> str:
    """The log's path, or its URL without secrets."""
    return open_log(settings.log_place, home=settings.home).place


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
    lines.append(f"  log           {_log_shown(server.settings)}")
    if server.settings.token is not None:
        lines.append("  A token is asked for. Log a browser in, within ten minutes:")
        lines.append(f"  {login_url(server.url, server.settings.token)}")
        lines.append("  `realm login` prints another link.")
    return lines
