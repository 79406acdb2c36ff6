"""Names looked up within a deadline: the system's resolver has none, and may hang for minutes."""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

Resolver = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host and port. Raises OSError."""

MAX_HANGING: Final = 32
"""Look-ups at once; each is a thread for as long as the system's resolver takes."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a name.

    Raises OSError, UnicodeError.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def look_up(host: str, port: int, timeout_s: float, resolver: Resolver = resolve) -> Sequence[str]:
    """Return the addresses of a name, asked for in a thread: one for all who ask for the same.

    Raises TimeoutError, OSError, or what else the resolver raises.
    """
    if _is_address(host):
        return [host]
    lookup = _started((host, port, resolver))
    if not lookup.done.wait(max(timeout_s, 0.0)):
        raise TimeoutError(f"{host} was not resolved within {timeout_s:.3g} s")
    if lookup.error is not None:
        raise lookup.error
    return lookup.addresses


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class _Lookup:
    def __init__(self, host: str, port: int, resolver: Resolver) -> None:
        self.done = threading.Event()
        self.addresses: Sequence[str] = ()
        self.error: Exception | None = None
        self._asked = (host, port, resolver)

    def run(self) -> None:
        host, port, resolver = self._asked
        try:
            self.addresses = resolver(host, port)
        except Exception as error:  # noqa: BLE001 - raised again in each thread that waits
            self.error = error
        finally:
            with _lock:
                _running.pop(self._asked, None)
            self.done.set()


_running: Final[dict[tuple[str, int, Resolver], _Lookup]] = {}
_lock = threading.Lock()


def _started(asked: tuple[str, int, Resolver]) -> _Lookup:
    with _lock:
        found = _running.get(asked)
        if found is not None:
            return found
        if len(_running) >= MAX_HANGING:
            raise OSError(f"{MAX_HANGING} names are being resolved already")
        lookup = _running[asked] = _Lookup(*asked)
    # A daemon: the end of the process waits for no name server.
    threading.Thread(target=lookup.run, name="realm-telemetry-lookup", daemon=True).start()
    return lookup


def _forget() -> None:
    """In a forked child the threads are gone, and a lock may be held by one of them."""
    global _lock
    _lock = threading.Lock()
    _running.clear()


os.register_at_fork(after_in_child=_forget)
