"""A real HTTP server that takes OTLP, event batches and webhooks, with faults by event.

Every event carries its number as `#00042#` in its message, which stands in every encoding as it
is; so a fault is planned for an event, and it strikes whatever batch the event comes in.
"""

import contextlib
import gzip
import re
import socket
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from .internals import CONTENT_TYPE, BatchAnswer, encode_answer

LOG_ID: Final = "ab" * 16
_NUMBER: Final = re.compile(rb"#(\d{5})#")


class Message(NamedTuple):
    """A webhook message that was taken."""

    id: str
    numbers: tuple[int, ...]


class Plan(NamedTuple):
    """What goes wrong for which event.

    faults: by event, one for each request that it comes in, until none is left: `503`, `429 3`
        (come again in three seconds), `reset`, `hang`, or `kill`, which takes what is no
        poison and kills the sender unanswered.
    poison: events that get 400, always. refused: counted in OTLP's partial success.
    poison_paths: where every request gets 400.
    """

    faults: Mapping[int, Sequence[str]] = {}
    poison: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    poison_paths: frozenset[str] = frozenset()


NO_FAULTS: Final = Plan()


def mark(number: int) -> str:
    """The text by which a receiver knows an event."""
    return f"#{number:05d}#"


class Receiver:
    """Listens on loopback.

    taken: how often each event was taken, by path. kill: called for the fault `kill`.
    closed: whether every request is asked to come again in three seconds.
    """

    def __init__(self, plan: Plan = NO_FAULTS, kill: Callable[[], None] = lambda: None) -> None:
        self.taken: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.refused_records = 0
        self.answers: list[str] = []
        self.kill = kill
        self.closed = False
        self._plan = plan
        self._left = {number: list(faults) for number, faults in plan.faults.items()}
        self._messages: list[Message] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        owner = self

        class Handler(_Handler):
            receiver = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop, and let go of requests that hang."""
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    def messages(self) -> list[Message]:
        """The webhook messages that were taken, each once by its id."""
        with self._lock:
            return list({message.id: message for message in self._messages}.values())

    def webhook_options(self) -> dict[str, Any]:
        """Options of the webhook exporter that send one message here for each note."""
        return {
            "allow_hosts": ["127.0.0.1"],
            "timeout": "1s",
            "targets": {"lab": {"url": f"{self.url}/hook"}},
            "rules": [{"name": "notes", "to": ["lab"], "kind": ["note"]}],
        }

    def webhook_settings(self) -> str:
        """The same as text of a `realm.toml`."""
        return (
            '[options.webhook]\nallow_hosts = ["127.0.0.1"]\ntimeout = "1s"\n'
            f'[options.webhook.targets.lab]\nurl = "{self.url}/hook"\n'
            '[[options.webhook.rules]]\nname = "notes"\nto = ["lab"]\nkind = ["note"]\n'
        )

    def hang(self) -> None:
        """Wait as long as a request may hang."""
        self._ending.wait(30)

    def decide(self, path: str, headers: Mapping[str, str], body: bytes) -> str:
        """What to answer, after noting what is taken by it."""
        numbers = [int(found) for found in dict.fromkeys(_NUMBER.findall(body))]
        with self._lock:
            answer = "400" if path in self._plan.poison_paths else self._answer(numbers)
            self.answers.append(answer)
            if answer in ("ok", "kill"):
                self.taken[path].update(n for n in numbers if n not in self._plan.poison)
                if "webhook-id" in headers:
                    self._messages.append(Message(headers["webhook-id"], tuple(numbers)))
        return answer

    def _answer(self, numbers: Sequence[int]) -> str:
        if self.closed:
            return "429 3"
        for number in numbers:
            if self._left.get(number):
                return self._left[number].pop(0)
        return "400" if self._plan.poison.intersection(numbers) else "ok"

    def body(self, path: str, body: bytes) -> tuple[bytes, str]:
        """The body of a good answer, and its type."""
        numbers = {int(found) for found in _NUMBER.findall(body)}
        if path == "/api/v1/events":
            answer = encode_answer(BatchAnswer(len(numbers), 0, [], LOG_ID))
            return answer, CONTENT_TYPE
        if path == "/v1/logs":
            refused = len(self._plan.refused & numbers)
            with self._lock:
                self.refused_records += refused
            response = ExportLogsServiceResponse()
            if refused:
                response.partial_success.rejected_log_records = refused
                response.partial_success.error_message = "refused by plan"
            return response.SerializeToString(), "application/x-protobuf"
        return b"{}", "application/json"


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        health = f'{{"status": "ok", "service": "realm", "log_id": "{LOG_ID}"}}'
        self._send(200, health.encode(), "application/json")

    def do_POST(self) -> None:
        body = _plain(self.rfile.read(int(self.headers["content-length"])), self.headers)
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.receiver.decide(self.path, headers, body)
        if answer == "ok":
            self._send(200, *self.receiver.body(self.path, body))
        elif answer[0].isdigit():
            status, _, wait_s = answer.partition(" ")
            self._send(int(status), b'{"error": "planned"}', "application/json", wait_s)
        else:
            self._fail(answer)

    def _fail(self, how: str) -> None:
        self.close_connection = True
        if how == "kill":
            self.receiver.kill()
        elif how == "hang":
            self.receiver.hang()
        elif how == "reset":
            # Linger of zero seconds: closing sends RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _send(self, status: int, body: bytes, content_type: str, wait_s: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if wait_s:
            self.send_header("Retry-After", wait_s)
        self.end_headers()
        self.wfile.write(body)


def _plain(body: bytes, headers: Any) -> bytes:
    encoding = headers.get("content-encoding", "identity")
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return body
