"""A real receiver on loopback, which answers as the test sets, and exporters that send to it."""

import contextlib
import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import click.testing
import pytest
from realm_exporter_webhook import WebhookExporter

from realm_telemetry.cli.group import realm
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.plugins import ExporterContext

TLS = Path(__file__).parent / "tls"
"""A self-signed certificate for hook.test, valid for a hundred years."""


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b"ok"
    delay_s: float = 0.0


class Receiver:
    """Answers 200, but first what stands in `answers`."""

    def __init__(self, *, tls: bool = False) -> None:
        self.received: list[Received] = []
        self.answers: list[Answer] = []
        self.always: Answer | None = None
        self._ending = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(self.path, headers, body))
                answer = receiver.next_answer()
                if receiver._ending.wait(answer.delay_s):
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / "hook.pem", TLS / "hook.key")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def next_answer(self) -> Answer:
        if self.always is not None:
            return self.always
        return self.answers.pop(0) if self.answers else Answer()

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.port}{path}"

    def wait_for(self, count: int, timeout_s: float = 60.0) -> list[Received]:
        deadline_s = time.monotonic() + timeout_s
        while len(self.received) < count:
            assert time.monotonic() < deadline_s, f"{len(self.received)} of {count} came"
            time.sleep(0.01)
        return self.received

    def close(self) -> None:
        self._ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def other() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def tls_receiver() -> Iterator[Receiver]:
    running = Receiver(tls=True)
    yield running
    running.close()


def event(number: int, kind: str = "job_failed", age_s: float = 0.0, **fields: Any) -> Event:
    """An event that happened `age_s` ago and arrived now."""
    details = fields.pop("details", {})
    channel, severity = resolve(kind, fields.pop("channel", None), fields.pop("severity", None))
    now_ns = fields.pop("now_ns", None) or time.time_ns()
    return Event(
        kind=kind,
        channel=channel,
        severity=severity,
        message=fields.pop("message", None) or render(kind, details),
        details=details,
        time_unix_nano=now_ns - int(age_s * 1e9),
        producer=fields.pop("producer", "d0" * 8),
        number=number,
        observed_unix_nano=fields.pop("observed_unix_nano", now_ns),
        **fields,
    )


def options(url: str, *rules: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Rules that send to one target, named lab; without rules, one that takes every event."""
    given = [{"to": "lab", "name": f"rule{number}"} | rule for number, rule in enumerate(rules, 1)]
    return {
        "allow_hosts": ["127.0.0.1"],
        "targets": {"lab": {"url": url}},
        "rules": given or [{"name": "all", "to": ["lab"]}],
    } | changes


Maker = Callable[..., WebhookExporter]
Invoke = Callable[..., click.testing.Result]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    """Makes exporters of one home, as a shipper or (long_lived) a service does."""
    made: list[WebhookExporter] = []

    def build(given: dict[str, Any], clock: Any = time, **context: Any) -> WebhookExporter:
        log_path = tmp_path / "vault" / "jobs.db"
        place: dict[str, Any] = {"home": tmp_path, "log_path": log_path, "options": given}
        made.append(WebhookExporter(context=ExporterContext(**(place | context)), clock=clock))
        return made[-1]

    yield build
    for each in made:
        each.shutdown()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("REALM_", "OTEL_")) or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log")
    monkeypatch.setenv("REALM_SERVICE_URL", "http://127.0.0.1:9")
    return tmp_path


@pytest.fixture
def invoke() -> Invoke:
    def run(*arguments: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(realm, ["webhooks", *arguments])

    return run
