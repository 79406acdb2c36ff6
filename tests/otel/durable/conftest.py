"""Exporters, and a server that receives OTLP."""

import gzip
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from realm_telemetry.otel.durable import DurableLogRecordProcessor


class Recording(LogRecordExporter):
    """Takes records while `works`; never one whose body is `poison`."""

    def __init__(self) -> None:
        self.records: list[ReadableLogRecord] = []
        self.batches: list[int] = []
        self.attempts = 0
        self.works = True
        self.poison: Any = object()
        self.is_shut_down = False

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.attempts += 1
        if not self.works:
            raise ConnectionError("no connection")
        if any(record.log_record.body == self.poison for record in batch):
            return LogRecordExportResult.FAILURE
        self.batches.append(len(batch))
        self.records += batch
        return LogRecordExportResult.SUCCESS

    @property
    def bodies(self) -> list[Any]:
        return [record.log_record.body for record in self.records]

    def shutdown(self) -> None:
        self.is_shut_down = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class Made:
    """A processor, its exporter and a logger."""

    def __init__(self, home: Path, name: str = "collector", **options: Any) -> None:
        self.exporter = Recording()
        self.processor = DurableLogRecordProcessor(name, self.exporter, home=home, **options)
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(self.processor)
        self.logger = self.provider.get_logger("lab", "1.0")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    """Makes processors in one home; shuts them all down."""
    made: list[Made] = []

    def build(**options: Any) -> Made:
        made.append(Made(tmp_path, **options))
        return made[-1]

    yield build
    for one in made:
        one.exporter.works = True
        one.provider.shutdown()


class Collector:
    """A real HTTP server that takes OTLP logs, or answers 503."""

    def __init__(self) -> None:
        self.requests: list[ExportLogsServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.requests.append(ExportLogsServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/v1/logs"

    @property
    def bodies(self) -> list[str]:
        return [
            record.body.string_value
            for request in list(self.requests)
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()
