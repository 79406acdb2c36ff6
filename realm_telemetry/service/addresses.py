"""The addresses of the service: which are free, and who has those that are not."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from realm_telemetry.errors import ConfigError
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
    """Who listens on a TCP port: `pid 123 (command)`; None if nobody can be seen."""
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
