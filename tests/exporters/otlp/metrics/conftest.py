"""A receiver of metrics that is real HTTP and real protobuf, and logs to make metrics of."""

import gzip
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from realm_exporter_otlp.metrics import OtlpMetricsExporter

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import resolve
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.plugins import ExporterContext
from realm_telemetry.shipper.manifest import Manifest, write_manifest
from realm_telemetry.shipper.shipper import Shipper

PRODUCER = "00000000000000aa"
EXPORTER = "otlp_metrics"

Attributes = tuple[tuple[str, Any], ...]


class Collector:
    """An OTLP/HTTP receiver of metrics.

    status: what it answers. answering: False takes a request and hangs up.
    """

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.arrivals_s: list[float] = []
        self.status = 200
        self.answering = True
        self.response = ExportMetricsServiceResponse()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if collector.status == 200 and self.path == "/v1/metrics":
                    collector.requests.append(ExportMetricsServiceRequest.FromString(body))
                    collector.arrivals_s.append(time.monotonic())
                if not collector.answering:
                    self.close_connection = True
                    return
                answer = collector.response.SerializeToString()
                self.send_response(collector.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def points(self) -> dict[str, dict[Attributes, Any]]:
        """What a store has after all requests: the newest point of each series, by its time."""
        newest: dict[str, dict[Attributes, Any]] = {}
        for request in self.requests:
            for name, points in points_of(request).items():
                for attributes, point in points.items():
                    known = newest.setdefault(name, {}).get(attributes)
                    if known is None or known.time_unix_nano <= point.time_unix_nano:
                        newest[name][attributes] = point
        return newest

    def resources(self) -> list[dict[str, str]]:
        """The resource of each request."""
        return [
            {each.key: each.value.string_value for each in metrics.resource.attributes}
            for request in self.requests
            for metrics in request.resource_metrics
        ]


def points_of(request: ExportMetricsServiceRequest) -> dict[str, dict[Attributes, Any]]:
    """The points of a request by metric and attributes."""
    return {
        metric.name: {attributes_of(point): point for point in data_of(metric).data_points}
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def data_of(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("data"))


def attributes_of(point: Any) -> Attributes:
    return tuple(
        (each.key, getattr(each.value, each.value.WhichOneof("value"))) for each in point.attributes
    )


class Lab:
    """A log with one pipeline whose exporter is `otlp_metrics`."""

    def __init__(self, home: Path, url: str, **options: Any) -> None:
        self.home = home
        self.log_path = home / "vault" / "jobs.db"
        self.options = {"endpoint": url, "interval_s": 0.01, **options}
        self._numbers = itertools.count(1)
        manifest = Manifest(
            version="1",
            python="",
            home=str(home),
            log_path=str(self.log_path),
            search_path=str(home / "vault" / "search.db"),
            service_url="http://127.0.0.1:1",
            exporters=["battle_log", EXPORTER],
            options={EXPORTER: self.options},
        )
        self.pipeline_dir = write_manifest(home / "spool", manifest)
        self.pipeline = self.pipeline_dir.name
        with LogWriter(self.log_path) as writer:
            writer.register_producer(ProducerInfo(PRODUCER, self.pipeline))
        self.deliver_from(0)

    def deliver_from(self, cursor: int) -> None:
        """Let the exporter be handed again what comes after a cursor."""
        with LogWriter(self.log_path) as writer:
            for name in ("battle_log", EXPORTER):
                writer.save_cursor(self.pipeline, name, cursor)

    def event(self, kind: str, **fields: Any) -> Event:
        """The next event of the pipeline's producer."""
        number = next(self._numbers)
        channel, severity = resolve(kind)
        given: dict[str, Any] = {
            "kind": kind,
            "channel": channel,
            "severity": severity,
            "message": kind,
            "details": {},
            "time_unix_nano": time.time_ns(),
            "producer": PRODUCER,
            "number": number,
        }
        return Event(**(given | fields))

    def store(self, events: list[Event]) -> None:
        """Store events; a shipper that has left begins with them."""
        with LogReader(self.log_path) as reader:
            before = reader.now.max_cursor()
            gone = not reader.now.cursors(self.pipeline)
        with LogWriter(self.log_path) as writer:
            writer.append(events)
        if gone:
            self.deliver_from(before)

    def ship(self) -> bool | None:
        """Run a shipper until everything is exported."""
        return Shipper(self.pipeline_dir, grace_s=0.0, once=True).run()

    def context(self, **changes: Any) -> ExporterContext:
        given: dict[str, Any] = {
            "home": self.home,
            "log_path": self.log_path,
            "options": self.options,
            "pipeline": self.pipeline,
        }
        return ExporterContext(**(given | changes))

    def exporter(self, **changes: Any) -> OtlpMetricsExporter:
        return OtlpMetricsExporter.from_context(self.context(**changes))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "REALM_")):
            monkeypatch.delenv(name)


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.stop()


@pytest.fixture
def make_lab(tmp_path: Path, collector: Collector) -> Callable[..., Lab]:
    return lambda **options: Lab(tmp_path / "home", collector.url, **options)


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab()
