"""A TCP proxy between a sender and a service that does to connections what networks do."""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

KINDS = ("pass", "delay", "cut request", "cut answer", "garbage", "reset", "repeat")
_PIECE = 64 * 1024
_LINGER_ZERO = struct.pack("ii", 1, 0)


class FaultProxy:
    """Listens at a port of its own; each request meets one of KINDS, all of them in turn.

    seed: of the order, which is another in each round.

    seen: how often each kind was met.
    """

    def __init__(self, port: int, seed: int) -> None:
        self._target = ("127.0.0.1", port)
        self._random = random.Random(seed)
        self._round: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.faulty = True
        self.seen: Counter[str] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        for client in self._clients():
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _clients(self) -> Iterator[socket.socket]:
        while True:
            try:
                yield self._listener.accept()[0]
            except OSError:  # closed
                return

    def _serve(self, client: socket.socket) -> None:
        # A side that leaves is what networks do.
        with (
            client,
            suppress(OSError),
            socket.create_connection(self._target, timeout=20) as service,
        ):
            client.settimeout(20)
            while True:
                request = _read_message(client)
                kind = self._next_kind() if self.faulty else "pass"
                self.seen[kind] += 1
                self._exchange(client, service, request, kind)

    def _next_kind(self) -> str:
        if not self._round:
            self._round = self._random.sample(KINDS, len(KINDS))
        return self._round.pop()

    def _exchange(
        self, client: socket.socket, service: socket.socket, request: bytes, kind: str
    ) -> None:
        """One request and its answer; raises ConnectionError where the fault ends both sides."""
        if kind == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            raise ConnectionError("reset")
        if kind == "garbage":
            client.sendall(self._random.randbytes(300))
            raise ConnectionError("garbage")
        if kind == "cut request":
            service.sendall(request[: len(request) // 2])
            raise ConnectionError("cut")
        if kind == "delay":
            time.sleep(self._random.uniform(0.1, 1.5))
        # "repeat": the same request, as from a sender that saw no answer
        for _ in range(2 if kind == "repeat" else 1):
            service.sendall(request)
            answer = _read_message(service)
        if kind == "cut answer":
            client.sendall(answer[: len(answer) // 2])
            raise ConnectionError("cut")
        client.sendall(answer)


def _read_message(connection: socket.socket) -> bytes:
    """One HTTP message with a Content-Length, or without a body."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        piece = connection.recv(_PIECE)
        if not piece:
            raise ConnectionError("ended within the headers")
        data += piece
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    length = 0
    for header in head.split(b"\r\n")[1:]:
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        piece = connection.recv(_PIECE)
        if not piece:
            raise ConnectionError("ended within the body")
        body += piece
    return head + b"\r\n\r\n" + body
