"""A request over HTTP has one deadline, however the receiver spends it."""

import gc
import re
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from realm_telemetry.errors import ExportError
from realm_telemetry.testing import sample_events
from tests.waiting import SOON_S, wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
HEADERS = b"HTTP/1.1 200 OK\r\nX-Long: "
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\nX-Long: "
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"


def read_request(connection: socket.socket) -> bytes:
    """A whole request, which may come in pieces; empty at the end of the connection."""
    data = b""
    while not is_whole(data):
        piece = connection.recv(1 << 20)
        if not piece:
            return b""
        data += piece
    return data


def is_whole(data: bytes) -> bool:
    """Whether headers and body of a request are there; one of a proxy has no body."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


class DrippingServer:
    """Answers with a beginning, and then a byte every 50 ms for ever; after `good` good answers."""

    def __init__(self) -> None:
        self.beginning = b""
        self.good = 0
        self.connections = 0
        self._ended = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while read_request(connection) and self.good:
                    self.good -= 1
                    connection.sendall(OK)
                connection.sendall(self.beginning)
                while not self._ended.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                return


@pytest.fixture
def server() -> Iterator[DrippingServer]:
    running = DrippingServer()
    yield running
    running.close()


def fails_for(exporter: Any, reason: str) -> None:
    """Try until it says this: on a busy machine the time may be over sooner."""
    said: list[str] = []

    def has_reason() -> bool:
        said.append(failure_in_time(exporter))
        return reason in said[-1]

    wait_until(has_reason, explain=lambda: said[-1])


def failure_in_time(exporter: Any) -> str:
    started_s = time.monotonic()
    with pytest.raises(ExportError) as caught:
        exporter.export_events(sample_events(1))
    assert time.monotonic() - started_s < SOON_S
    assert caught.value.retryable
    return str(caught.value)


@pytest.mark.parametrize(
    ("beginning", "reason"),
    [
        (HEADERS, "no answer within 0.4 s: the answer's headers took longer"),
        (CONTINUE, "no answer within 0.4 s: the answer's headers took longer"),
        (BODY, "no answer within 0.4 s: the answer's body took longer"),
    ],
    ids=["headers", "interim", "body"],
)
def test_an_answer_that_drips_ends_at_the_deadline_with_the_reason(
    server: DrippingServer, make: Any, beginning: bytes, reason: str
) -> None:
    server.beginning = beginning
    exporter = make(endpoint=server.url, timeout_s=0.4)
    fails_for(exporter, reason)


def test_a_handshake_that_hangs_ends_at_the_deadline(make: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        exporter = make(endpoint=f"https://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.4)
        failure_in_time(exporter)


def test_a_name_server_that_hangs_ends_at_the_deadline(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hanging.wait(60) and [])
    exporter = make(endpoint="http://slow.example", timeout_s=0.4)
    fails_for(exporter, "was not resolved")
    hanging.set()


def test_a_connection_from_the_request_before_is_under_the_deadline(
    server: DrippingServer, make: Any
) -> None:
    server.beginning, server.good = HEADERS, 1
    exporter = make(endpoint=server.url, timeout_s=1.0)
    exporter.export_events(sample_events(1))
    assert "no answer within 1 s" in failure_in_time(exporter)
    assert server.connections == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_under_the_deadline(
    server: DrippingServer, make: Any, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", server.url)
    server.beginning = HEADERS
    exporter = make(endpoint=f"{scheme}://unknown.invalid", timeout_s=0.4)
    with warnings.catch_warnings():
        # `ssl` does not close a socket that was shut down just before its handshake.
        warnings.simplefilter("ignore", ResourceWarning)
        assert "no answer within 0.4 s" in failure_in_time(exporter)
        gc.collect()
