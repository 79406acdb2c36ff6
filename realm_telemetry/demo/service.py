"""The RealmService of the demo: one that runs already, or a process of our own."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from realm_telemetry.client import RealmClient, ServiceError
from realm_telemetry.config import Settings
from realm_telemetry.demo.children import Child, environment
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.home import LOGS
from realm_telemetry.log.engine import open_log

HOST: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.05


class Ports(NamedTuple):
    """Where RealmService, battle log and pages are."""

    realm: int
    battle_log: int
    pages: int


class DemoService:
    """A service that answers for the demo's home.

    child: its process if it is ours, None if it ran before. notes: what a person should know.
    """

    def __init__(
        self, settings: Settings, ports: Ports, child: Child | None, notes: list[str]
    ) -> None:
        self.settings = settings
        self.ports = ports
        self.child = child
        self.notes = notes

    @property
    def url(self) -> str:
        """The address of the RealmService."""
        return f"http://{HOST}:{self.ports.realm}"

    def client(self) -> RealmClient:
        """Return a client of it, impatient enough for Ctrl-C."""
        return RealmClient(self.url, self.settings.token, timeout_s=2.0)

    def end_by(self, deadline_s: float) -> None:
        """End it if it is ours."""
        if self.child is not None:
            self.child.terminate()
            self.child.end_by(deadline_s)


def find_or_start(settings: Settings, wanted: Ports, stopping: Callable[[], bool]) -> DemoService:
    """Return a service of the home in settings: the one on the wanted port, else a new one.

    A port that somebody else has is replaced by a free one.
    Raises ConfigError if the service does not start.
    """
    if _serves(settings, wanted.realm):
        others = (port if _serves(settings, port) else wanted.realm for port in wanted[1:])
        ports = Ports(wanted.realm, *others)
        note = f"A RealmService of this home runs at port {wanted.realm} already; it is used."
        return DemoService(settings, ports, None, [note])
    ports = Ports(*_free(wanted))
    notes = [
        f"Port {asked} is busy with another program; the demo uses {given}."
        for asked, given in zip(wanted, ports, strict=True)
        if asked not in (0, given)
    ]
    child = _start(settings, ports)
    service = DemoService(settings, ports, child, notes)
    _await(service, child, stopping)
    return service


def _serves(settings: Settings, port: int) -> bool:
    """Whether a RealmService of this very home answers at a port."""
    if not port or not settings.log_path.exists():
        return False
    try:
        with RealmClient(f"http://{HOST}:{port}", settings.token, timeout_s=1.0) as client:
            return bool(client.health().get("log_id") == _log_id(settings.log_path))
    except (ServiceError, LogError):
        return False


def _log_id(log_path: Path) -> str:
    reader = open_log(log_path).reader()
    try:
        return reader.log_id
    finally:
        reader.close()


def _free(wanted: Ports) -> list[int]:
    """Return the wanted ports, each that is busy or 0 replaced by a free one."""
    with ExitStack() as held:  # all are held until the last is found, or one would come twice
        return [held.enter_context(_bound(port)).getsockname()[1] for port in wanted]


def _bound(port: int) -> socket.socket:
    """Return a listener on a port, or on any free one if it is busy."""
    listener = socket.socket()
    try:
        # As the service does it: connections that linger do not make a port busy.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(1)
    except OSError:
        listener.close()
        if not port:
            raise
        return _bound(0)
    return listener


def _start(settings: Settings, ports: Ports) -> Child:
    options = ("--port", "--battle-log-port", "--ui-port")
    arguments = [text for pair in zip(options, map(str, ports), strict=True) for text in pair]
    return Child(
        "The RealmService",
        "realm_telemetry",
        ["serve", *arguments],
        environment=environment(settings.home, f"http://{HOST}:{ports.realm}"),
        log_file=settings.home / LOGS / "demo-service.log",
    )


def _await(service: DemoService, child: Child, stopping: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while child.running and not stopping() and time.monotonic() < deadline_s:
        if _serves(service.settings, service.ports.realm):
            return
        time.sleep(_POLL_S)
    if stopping():
        return
    problem = child.problem or f"it does not answer at {service.url}; see {child.log_file}"
    child.terminate()
    child.end_by(time.monotonic() + 2.0)
    raise ConfigError("realm serve", problem, "Run `realm doctor`, or choose another --home.")
