"""A real HTTP server on loopback that answers batches well, badly, or not at all."""

import gzip
import json
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self

from realm_telemetry.event import Event
from realm_telemetry.wire import CONTENT_TYPE, BatchAnswer, Rejected, encode_answer, read_batch


class Received(NamedTuple):
    """A request as it came; header names are in lower case, the body is as sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class BrokenServer:
    """Takes EventBatches as a RealmService does, until it is set to behave differently.

    mode: how POSTs are answered, one of `MODES` or an HTTP status as text; `script` goes first,
        one mode for each POST. health_mode: the same for GET /health.
    log_id: of the log it claims to have.
    retry_after: the header of 429 and 503.
    max_body_bytes: longer bodies (as sent) get 413.
    reject: events it rejects, id to reason.
    requests, events: what came; each event once, in order.
    connections: how many were opened.
    """

    def __init__(self, mode: str = "ok", *, log_id: str = "ab" * 16) -> None:
        self.mode = mode
        self.health_mode = "ok"
        self.script: deque[str] = deque()
        self.log_id = log_id
        self.retry_after: str | None = None
        self.max_body_bytes: int | None = None
        self.reject: dict[str, str] = {}
        self.requests: list[Received] = []
        self.connections = 0
        self._events: dict[str, Event] = {}
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address; the same after `stop` and `start`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def events(self) -> list[Event]:
        """The events it has taken, each once, in order of arrival."""
        return list(self._events.values())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on a free port, or on the same one as before."""
        self._stopped.clear()
        owner = self

        class Handler(_Handler):
            broken_server = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name="broken-server", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop listening and let go of those who wait."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, request: Received) -> bytes:
        """Store a batch and return the BatchAnswer."""
        batch = read_batch(_decompress(request))
        with self._lock:
            rejected = [
                Rejected(event.id, self.reject[event.id])
                for event in batch.events
                if event.id in self.reject
            ]
            good = [event for event in batch.events if event.id not in self.reject]
            new = {event.id: event for event in good if event.id not in self._events}
            self._events |= new
        answer = BatchAnswer(len(new), len(good) - len(new), rejected, self.log_id)
        return encode_answer(answer)

    def wait(self, seconds: float) -> bool:
        """Wait, but not beyond `stop`; whether that came."""
        return self._stopped.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    broken_server: BrokenServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def setup(self) -> None:
        super().setup()
        self.broken_server.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer(self.broken_server.health_mode)

    def do_POST(self) -> None:
        server = self.broken_server
        self._answer(server.script.popleft() if server.script else server.mode)

    def _answer(self, mode: str) -> None:
        server = self.broken_server
        length = int(self.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(self.command, self.path, headers, self.rfile.read(length))
        server.requests.append(request)
        if server.wait(0):
            self.close_connection = True
        elif server.max_body_bytes is not None and length > server.max_body_bytes:
            self.send(413, b'{"error": "body_too_large"}')
        elif mode.isdigit():
            self.send(int(mode), b'{"error": "as_set", "message": "as set by the test"}')
        else:
            MODES[mode](self, request)

    def send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Send a whole answer."""
        self.head(status, len(body), content_type)
        self.wfile.write(body)

    def head(self, status: int, length: int, content_type: str) -> None:
        """Send status and headers."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        retry_after = self.broken_server.retry_after
        if retry_after is not None and status in (429, 503):
            self.send_header("Retry-After", retry_after)
        self.end_headers()


def _ok(handler: _Handler, request: Received) -> None:
    server = handler.broken_server
    if request.method == "GET":
        health = {"status": "ok", "service": "realm", "log_id": server.log_id}
        handler.send(200, json.dumps(health).encode())
    else:
        handler.send(200, server.take(request), CONTENT_TYPE)


def _taken_but_unanswered(handler: _Handler, request: Received) -> None:
    handler.broken_server.take(request)
    handler.close_connection = True


def _garbage(handler: _Handler, request: Received) -> None:
    handler.send(200, b"\xff\x00 no message \xff" * 9, CONTENT_TYPE)


def _html(handler: _Handler, request: Received) -> None:
    handler.send(200, b"<html>Welcome to the hotel network</html>", "text/html")


def _hang(handler: _Handler, request: Received) -> None:
    handler.broken_server.wait(60)
    handler.close_connection = True


def _close_mid_body(handler: _Handler, request: Received) -> None:
    handler.head(200, 1000, CONTENT_TYPE)
    handler.wfile.write(b"\x08\x01")
    handler.close_connection = True


def _drip(handler: _Handler, request: Received) -> None:
    """Send a byte now and then: each read is in time, the answer never is."""
    handler.head(200, 100_000, CONTENT_TYPE)
    while not handler.broken_server.wait(0.05):
        handler.wfile.write(b"\x00")
        handler.wfile.flush()


def _endless(handler: _Handler, request: Received) -> None:
    handler.head(200, 2**40, CONTENT_TYPE)
    while not handler.broken_server.wait(0):
        handler.wfile.write(bytes(65_536))


MODES: Final[dict[str, Callable[[_Handler, Received], None]]] = {
    "ok": _ok,
    "taken_but_unanswered": _taken_but_unanswered,
    "garbage": _garbage,
    "html": _html,
    "hang": _hang,
    "close_mid_body": _close_mid_body,
    "drip": _drip,
    "endless": _endless,
}


def _decompress(request: Received) -> bytes:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding == "gzip":
        return gzip.decompress(request.body)
    if encoding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(request.body)
    return request.body
