"""A TCP proxy between a program and its server that does what networks do: cut, slow, half-open."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Mode = Literal["pass", "cut", "slow", "half-open"]


class TcpProxy:
    """Listens at a port of its own and hands bytes on, as `mode` says.

    cut: connections end, and new ones are refused an answer. slow: each piece waits for 50 ms.
    half-open: bytes are taken and go nowhere, in both directions.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.mode: Mode = "pass"
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def set(self, mode: Mode) -> None:
        """Change what happens from now on. Connections that were held are lost then."""
        before, self.mode = self.mode, mode
        if mode == "cut" or before == "half-open":
            with self._lock:
                for each in self._open:
                    with suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for a connection
        self._listener.close()
        self.set("cut")
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:  # closed
                return
            if self.mode == "cut":
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, timeout=20)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for one, other in ((client, server), (server, client)):
                self._run(self._hand_on, one, other)

    def _run(self, action: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=action, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _hand_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if self.mode == "slow":
                    time.sleep(0.05)
                if self.mode != "half-open":
                    other.sendall(data)
        # Whoever ends first ends the other direction, which then closes both.
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            is_last = one not in self._open
            self._open -= {one, other}
        if is_last:
            one.close()
            other.close()
