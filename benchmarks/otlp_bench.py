"""How fast events go from the log to an OTLP receiver, against OpenTelemetry's own exporter.

    python -m benchmarks.otlp_bench [events]

The receiver is rotel, a collector in Rust, which throws everything away. Ours reads the log and
sends; the peer emits as many records of the same content through the SDK's BatchLogRecordProcessor
into its OTLPLogExporter, to the same receiver in the same run.
"""

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rotel
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcPeer
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpPeer
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from benchmarks.measure import Figure, at_least, show
from benchmarks.service_bench import make_event
from realm_telemetry.event import Event
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.otel.record import to_api_record
from realm_telemetry.plugins import ExporterContext, load_exporter

EVENTS = 20_000
BATCH = 512
ROUNDS = 3
PRODUCER = "c0" * 8
RESOURCE = {"service.name": "trainer", "host.name": "lab", "process.pid": 4242}


@contextmanager
def receiver(directory: Path) -> Iterator[tuple[int, int]]:
    """A running rotel: (HTTP port, gRPC port)."""
    ports = free_port(), free_port()
    command = [
        str(Path(rotel.__file__).parent / "rotel-agent"), "start", "--exporter", "blackhole",
        "--otlp-http-endpoint", f"127.0.0.1:{ports[0]}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{ports[1]}",
    ]  # fmt: skip
    with (directory / "rotel.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        while not all(map(listens, ports)):
            time.sleep(0.02)
        yield ports
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fill(path: Path, events: int) -> None:
    """A log with realistic events of one producer."""
    with LogWriter(path) as log:
        log.register_producer(ProducerInfo(PRODUCER, "bench", RESOURCE))
        for first in range(1, events + 1, 1000):
            numbers = range(first, min(first + 1000, events + 1))
            log.append([make_event(PRODUCER, number) for number in numbers], pipeline="bench")


def ours(home: Path, protocol: str, port: int) -> float:
    """Seconds from the first read of the log to the last answer."""
    path = home / "vault" / "jobs.db"
    options = {"endpoint": f"http://127.0.0.1:{port}", "protocol": protocol}
    exporter = load_exporter("otlp", ExporterContext(home=home, log_path=path, options=options))
    began = time.perf_counter()
    with LogReader(path) as reader:
        cursor = 0
        while rows := reader.now.after(cursor, BATCH, webhooks=True):
            exporter.export_events([row.event for row in rows])
            cursor = rows[-1].cursor
    took = time.perf_counter() - began
    exporter.shutdown()
    return took


def peer(events: list[Event], exporter: Any) -> float:
    """Seconds from the first emit to the end of the flush."""
    provider = LoggerProvider(Resource(RESOURCE))
    provider.add_log_record_processor(
        BatchLogRecordProcessor(
            exporter, max_queue_size=2 * len(events), max_export_batch_size=BATCH
        )
    )
    logger = provider.get_logger("realm_telemetry")
    records = [to_api_record(event) for event in events]
    began = time.perf_counter()
    for record in records:
        logger.emit(_again(record))
    assert provider.force_flush(120_000)
    took = time.perf_counter() - began
    provider.shutdown()
    return took


def _again(record: LogRecord) -> LogRecord:
    """A record as a program makes it."""
    return LogRecord(
        timestamp=record.timestamp,
        severity_number=SeverityNumber.INFO,
        severity_text=record.severity_text,
        body=record.body,
        attributes=record.attributes,
        event_name=record.event_name,
    )


def figures(events: int = EVENTS) -> list[Figure]:
    """Both protocols, each against its peer; medians of some rounds in turns."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        fill(home / "vault" / "jobs.db", events)
        given = [make_event(PRODUCER, number) for number in range(1, events + 1)]
        with receiver(home) as (http_port, grpc_port):
            peers: dict[str, tuple[int, Callable[[], Any]]] = {
                "http/protobuf": (
                    http_port,
                    lambda: HttpPeer(endpoint=f"http://127.0.0.1:{http_port}/v1/logs"),
                ),
                "grpc": (
                    grpc_port,
                    lambda: GrpcPeer(endpoint=f"http://127.0.0.1:{grpc_port}", insecure=True),
                ),
            }
            for protocol, (port, make) in peers.items():
                times = [(ours(home, protocol, port), peer(given, make())) for _ in range(ROUNDS)]
                mine, theirs = (statistics.median(each) for each in zip(*times, strict=True))
                what = f"log -> OTLP receiver, {protocol}"
                note = f"OpenTelemetry's own {events / theirs:,.0f} events/s"
                found.append(Figure(what, f"{events / mine:,.0f} events/s", "-", None, note))
                found.append(at_least("... / OpenTelemetry's exporter", theirs / mine, 1.0, "x"))
    return found


if __name__ == "__main__":
    show("otlp", figures(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS))
