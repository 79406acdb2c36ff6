"""The files of examples/observability, and what exporters and service really produce."""

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families
from realm_exporter_otlp import OtlpExporter
from realm_exporter_otlp.traces.fold import SpanFold
from realm_exporter_otlp.traces.spans import Span
from realm_exporter_otlp.traces.state import State

from realm_telemetry.event import Event
from realm_telemetry.folds.metrics import BUILT_IN, OVERFLOW
from realm_telemetry.folds.metrics.instruments import label_name, prometheus_name
from realm_telemetry.kinds.catalog import resolve
from realm_telemetry.log import LogWriter
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.plugins import ExporterContext
from realm_telemetry.service import RealmServer, ServiceSettings
from tests.waiting import wait_until

STACK = Path(__file__).parents[2] / "examples" / "observability"
DASHBOARDS = sorted((STACK / "grafana" / "dashboards").glob("*.json"))
PRODUCER = "00000000000000aa"

GIB = 2**30
GPU = {
    "index": 0,
    "name": 'H200 "SXM"',
    "utilization_percent": 93,
    "memory_used_bytes": 30 * GIB,
    "memory_total_bytes": 120 * GIB,
    "temperature_c": 61,
    "power_w": 312.5,
    "uncorrected_errors": 2,
}
DISK = {"device": "/dev/sda1", "mountpoint": "/data", "type": "ext4"}
SAMPLE = {
    "host": "node7",
    "rss_bytes": 3 * GIB,
    "cpu_percent": 150.0,
    "cpus": 4,
    "processes": 5,
    "host_cpu_percent": 50.0,
    "host_memory_bytes": 16 * GIB,
    "host_memory_available_bytes": 4 * GIB,
    "memory_stall_percent": 2.5,
    "container_memory_bytes": 6 * GIB,
    "container_limit_bytes": 8 * GIB,
    "filesystems": [
        DISK | {"total_bytes": 100 * GIB, "used_bytes": 60 * GIB, "free_bytes": 35 * GIB}
    ],
    "gpus": [GPU, GPU | {"index": 1, "power_w": 90}],
}
"""What a shipper says of a machine with two GPUs."""


def read(path: str) -> Any:
    """A YAML file of the stack."""
    return yaml.safe_load((STACK / path).read_text(encoding="utf-8"))


def dashboard(path: Path) -> dict[str, Any]:
    shape: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return shape


def sample(kind: str, number: int) -> Event:
    """An event with everything that is measured or looked for."""
    channel, severity = resolve(kind)
    details: dict[str, Any] = dict.fromkeys(
        ("step", "total_steps", "loss", "learning_rate", "tokens_per_second", "duration_s"), 1.5
    )
    if kind == "resource_sampled":
        details = dict(SAMPLE)
    details |= {"accuracy": 0.5, "skill": "digits", "level": 1, "job_type": "eval", "job_id": "j1"}
    return Event(
        kind,
        channel,
        severity,
        kind,
        details,
        time.time_ns(),
        PRODUCER,
        number,
        hero_id="dio",
        campaign_id="c1",
        run_id="r7",
        source="trainer",
    )


def samples() -> list[Event]:
    kinds = ["note", *(kind for each in BUILT_IN for kind in each.kinds)]
    return [sample(kind, number) for number, kind in enumerate(dict.fromkeys(kinds), 1)]


class Running:
    """A service in a thread."""

    def __init__(self, home: Path, **options: Any) -> None:
        ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
        self.server = RealmServer(ServiceSettings.for_home(home, **(ports | options)))
        self._thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> RealmServer:
        self._thread.start()
        assert self.server.started.wait(60)
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self._thread.join(20)


def store(home: Path, events: list[Event]) -> None:
    with LogWriter(home / "vault" / "jobs.db") as writer:
        resource = {"service.name": "trainer", "host.name": "lab"}
        writer.register_producer(ProducerInfo(PRODUCER, "p1", resource=resource))
        writer.append(events)
        writer.record_receipt(PRODUCER, emitted=None, dropped=0, ended=False)


@pytest.fixture(scope="session")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Labels by name of sample, as a real service shows them."""
    home = tmp_path_factory.mktemp("metrics")
    store(home, samples())
    with Running(home) as server, httpx.Client(base_url=server.url) as client:
        text = ""

        def is_folded() -> bool:
            nonlocal text
            text = client.get("/metrics").text
            return "\nrealm_measures_ready 1\n" in text and "\nrealm_run_step{" in text

        wait_until(is_folded)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            found.setdefault(each.name, set()).update(each.labels)
    for instrument in BUILT_IN:
        for name in found:
            if name.startswith(prometheus_name(instrument)):
                found[name].add(label_name(OVERFLOW))
    return found


@pytest.fixture(scope="session")
def spans() -> list[Span]:
    """A training and a job that failed in it, as spans."""
    kinds = ("training_started", "job_started", "job_failed", "training_completed")
    made = SpanFold(State()).spans_of(
        [sample(kind, number) for number, kind in enumerate(kinds, 1)]
    )
    assert [(span.name, span.status) for span in made] == [
        ("job eval", "error"),
        ("training", "ok"),
    ]
    return made


@pytest.fixture(scope="session")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What a log record really sent has in Loki: its attributes, with underscores for dots."""
    home = tmp_path_factory.mktemp("logs")
    store(home, samples())
    with receiving() as (url, requests):
        exporter = OtlpExporter.from_context(
            ExporterContext(
                home=home,
                log_path=home / "vault" / "jobs.db",
                options={"endpoint": url},
                environment={},
            )
        )
        exporter.export_events(samples())
        exporter.shutdown()
    resource = requests[0].resource_logs[0]
    names = {each.key for each in resource.resource.attributes}
    for record in resource.scope_logs[0].log_records:
        names |= {each.key for each in record.attributes}
    return {re.sub(r"[^a-zA-Z0-9_]", "_", name) for name in names}


class receiving:  # noqa: N801 - a context manager
    """A receiver of logs: its address, and what came."""

    def __enter__(self) -> tuple[str, list[ExportLogsServiceRequest]]:
        requests: list[ExportLogsServiceRequest] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                requests.append(ExportLogsServiceRequest.FromString(body))
                answer = ExportLogsServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}", requests

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in DASHBOARDS:
        for panel in dashboard(path)["panels"]:
            if panel["type"] != "row":
                yield path.stem, panel
