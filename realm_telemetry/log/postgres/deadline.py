"""Ends what waits for a server that does not answer any more.

A network that is cut without a word, or a server that hangs, leaves a connection that looks alive:
libpq has no limit for an answer, and its request to cancel goes the same way. Here the socket is
shut down, and whoever waits gets an error.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_LOOK_S: Final = 0.2


class _Watchdog:
    """A thread that looks for what is overdue, while there is anything to wait for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waits: dict[object, tuple[float, int]] = {}
        self._pid = 0

    def add(self, key: object, until_s: float, descriptor: int) -> None:
        with self._condition:
            self._waits[key] = until_s, descriptor
            if self._pid != os.getpid():
                # A process that was forked has no threads.
                self._pid = os.getpid()
                threading.Thread(
                    target=self._look, name="realm-telemetry-deadlines", daemon=True
                ).start()
            self._condition.notify()

    def remove(self, key: object) -> None:
        with self._condition:
            self._waits.pop(key, None)

    def _look(self) -> None:
        while True:
            with self._condition:
                while not self._waits:
                    self._condition.wait()
                now_s = time.monotonic()
                for key, (until_s, descriptor) in list(self._waits.items()):
                    if now_s >= until_s:
                        # The lock is held: the descriptor is still that of the connection.
                        shut_down(descriptor)
                        del self._waits[key]
            time.sleep(_LOOK_S)


_watchdog: Final = _Watchdog()


@contextmanager
def answers_within(seconds: float, descriptor: int) -> Iterator[None]:
    """Shut a socket down if what is done here takes longer; then it raises psycopg's error."""
    key = object()
    _watchdog.add(key, time.monotonic() + seconds, descriptor)
    try:
        yield
    finally:
        _watchdog.remove(key)


def shut_down(descriptor: int) -> None:
    """End a connection, whoever waits for it; its owner closes it."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as other:
        other.shutdown(socket.SHUT_RDWR)
