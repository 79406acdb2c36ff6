"""A real receiver of traces on loopback, a log, and exporters between the two."""

import gzip
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from realm_telemetry.event import Event
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.plugins import ExporterContext, load_exporter

PIPELINE = "p1"


class Arrived(NamedTuple):
    """A span and its resource."""

    span: Span
    resource: dict[str, Any]

    @property
    def attributes(self) -> dict[str, Any]:
        return plain(self.span.attributes)


def plain(pairs: Any) -> dict[str, Any]:
    """Attributes without any depth, as a dict."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Receiver:
    """OTLP/HTTP: answers with the statuses of `script` first.

    refused_names: of spans; a request with one of them gets 400.

    rejected: how many spans a partial success says were rejected.
    """

    def __init__(self) -> None:
        self.script: deque[int] = deque()
        self.refused_names: set[str] = set()
        self.rejected = 0
        self.words = ""
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.paths.append(self.path)
                status = receiver.take(ExportTraceServiceRequest.FromString(body))
                answer = receiver.answer() if status == 200 else b"no"
                self.send_response(status)
                kind = "application/x-protobuf" if status == 200 else "text/plain"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def take(self, request: ExportTraceServiceRequest) -> int:
        status = self.script.popleft() if self.script else 200
        if {each.span.name for each in spans_in(request)} & self.refused_names:
            status = 400
        if status == 200:
            self.requests.append(request)
        return status

    def answer(self) -> bytes:
        response = ExportTraceServiceResponse()
        if self.rejected or self.words:
            response.partial_success.rejected_spans = self.rejected
            response.partial_success.error_message = self.words
        return response.SerializeToString()

    @property
    def arrived(self) -> list[Arrived]:
        """All spans, as often as they came."""
        return [each for request in list(self.requests) for each in spans_in(request)]

    def named(self) -> dict[str, Arrived]:
        """Spans by name, each of which came once."""
        found = {each.span.name: each for each in self.arrived}
        assert len(found) == len(self.arrived), [each.span.name for each in self.arrived]
        return found

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def spans_in(request: ExportTraceServiceRequest) -> list[Arrived]:
    return [
        Arrived(span, plain(group.resource.attributes))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own; no setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith(("REALM_", "OTEL_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("REALM_HOME", str(home))
    return home


class Clock:
    """The log's: events arrive when it says."""

    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class Log:
    """A real log, into which events are put when they arrive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._clock = Clock()
        self.writer = LogWriter(path, clock_ns=self._clock)

    def store(
        self, events: Sequence[Event], pipeline: str = PIPELINE, *, replayed: bool = False
    ) -> list[Event]:
        """Store events, each at the arrival that it has."""
        for event in events:
            self._clock.now_ns = event.observed_unix_nano or event.time_unix_nano
            self.writer.append([event], pipeline=pipeline, keep_arrival=replayed)
        return list(events)


@pytest.fixture
def log(home: Path) -> Iterator[Log]:
    running = Log(home / "vault" / "jobs.db")
    yield running
    running.writer.close()


Make = Callable[..., Any]


@pytest.fixture
def make(home: Path, receiver: Receiver) -> Iterator[Make]:
    """Build exporters to the receiver, as a shipper does; options are the exporter's."""
    made: list[Any] = []

    def build(inside_shipper: bool = True, pipeline: str = PIPELINE, **options: Any) -> Any:
        context = ExporterContext(
            home=home,
            log_path=home / "vault" / "jobs.db",
            pipeline=pipeline,
            inside_shipper=inside_shipper,
            options={"endpoint": receiver.endpoint, "timeout_s": 5.0} | options,
            environment={},
        )
        made.append(load_exporter("otlp_traces", context))
        return made[-1]

    yield build
    for each in made:
        each.shutdown()
