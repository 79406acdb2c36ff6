"""Ends what waits for a server that does not answer any more.

A network that is cut without a word, or a server that hangs, leaves a connection that looks alive:
libpq has no limit for an answer, and its request to cancel goes the same way. Here the socket is
shut down, and whoever waits gets an error.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

_LOOK_S: Final = 0.2


class _Watchdog:
    """A thread that looks for what is overdue, while there is anything to wait for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waits: dict[object, tuple[float, int, str]] = {}
        self._pid = 0

    def add(self, key: object, until_s: float, descriptor: int, place: str) -> None:
        with self._condition:
            self._waits[key] = until_s, descriptor, place
            if self._pid != os.getpid():
                # A process that was forked has no threads.
                self._pid = os.getpid()
                threading.Thread(
                    target=self._look, name="realm-telemetry-deadlines", daemon=True
                ).start()
            self._condition.notify()

    def remove(self, key: object) -> bool:
        """Wait for it no longer; whether it was not overdue."""
        with self._condition:
            return self._waits.pop(key, None) is not None

    def _look(self) -> None:
        while True:
            with self._condition:
                while not self._waits:
                    self._condition.wait()
                self._shut_down(lambda until_s, _: time.monotonic() >= until_s)
            time.sleep(_LOOK_S)

    def give_up(self, place: str) -> None:
        with self._condition:
            self._shut_down(lambda _, its_place: its_place == place)

    def _shut_down(self, is_meant: Callable[[float, str], bool]) -> None:
        for key, (until_s, descriptor, place) in list(self._waits.items()):
            if is_meant(until_s, place):
                # The lock is held: the descriptor is still that of the connection.
                shut_down(descriptor)
                del self._waits[key]


_watchdog: Final = _Watchdog()


class OverdueError(Exception):
    """There was no answer in time, and the connection is closed."""


@contextmanager
def answers_within(seconds: float, descriptor: int, place: str) -> Iterator[None]:
    """Shut a socket down if what is done here takes longer. Raises OverdueError then.

    place: of the log, for `give_up`.
    """
    key, until_s = object(), time.monotonic() + seconds
    _watchdog.add(key, until_s, descriptor, place)
    try:
        yield
    except Exception as error:
        if _watchdog.remove(key):
            raise
        is_late = time.monotonic() >= until_s
        waited = f"no answer within {seconds:g} s" if is_late else "it was waited for no longer"
        raise OverdueError(waited) from error
    finally:
        _watchdog.remove(key)


def give_up(place: str) -> None:
    """Let nobody of this process wait any longer for the server of a log."""
    _watchdog.give_up(place)


def shut_down(descriptor: int) -> None:
    """End a connection, whoever waits for it; its owner closes it."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as other:
        other.shutdown(socket.SHUT_RDWR)


def has_ended(connection: Any) -> bool:
    """Whether a server has ended a connection at rest: it has said something that nobody asked."""
    if connection.info.transaction_status:
        return False
    looked = select.poll()
    looked.register(connection.fileno(), select.POLLIN)
    return bool(looked.poll(0))
