"""How fast POST /v1/logs is, beside POST /api/v1/events of the same service in the same run.

python -m benchmarks otlp_in
"""

import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from benchmarks.measure import Figure
from benchmarks.service_bench import cpu_seconds, make_event, service
from realm_telemetry.otel import to_log_record
from realm_telemetry.wire import encode_batch

SIZE = 512
BATCHES = 40
ROUNDS = 5

Body = tuple[str, str, bytes]
"""Path, content type, content."""


def native() -> Body:
    """An EventBatch of a new producer."""
    producer = secrets.token_hex(8)
    events = [make_event(producer, number) for number in range(1, SIZE + 1)]
    return "/api/v1/events", "application/x-protobuf", encode_batch(events)


def own_records() -> Body:
    """The same events as OpenTelemetry's exporter sends our log records."""
    producer = secrets.token_hex(8)
    resource = Resource({"service.name": "trainer", "realm.producer.id": producer})
    records = [
        to_log_record(make_event(producer, number), resource) for number in range(1, SIZE + 1)
    ]
    return "/v1/logs", "application/x-protobuf", encode_logs(records).SerializeToString()


def foreign_request() -> ExportLogsServiceRequest:
    """Records as an SDK's logging bridge makes them: six attributes, a trace, two times."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    for key in ("service.name", "service.instance.id", "telemetry.sdk.language"):
        group.resource.attributes.add(key=key).value.string_value = "shop"
    logs = group.scope_logs.add()
    logs.scope.name = "shop.cart"
    for number in range(SIZE):
        now = time.time_ns()
        record = logs.log_records.add(
            time_unix_nano=now,
            observed_time_unix_nano=now + 9_000,
            severity_number=9,
            severity_text="INFO",
            trace_id=secrets.token_bytes(16),
            span_id=secrets.token_bytes(8),
            flags=1,
        )
        record.body.string_value = f"Step {number:,}: loss 0.1234, 81,234 tokens/s"
        for key in ("code.file.path", "code.function.name", "thread.name"):
            record.attributes.add(key=key).value.string_value = "src/app.py"
        for key in ("code.line.number", "step"):
            record.attributes.add(key=key).value.int_value = number
        record.attributes.add(key="loss").value.double_value = 0.1234
    return request


def foreign() -> Body:
    """Foreign records in protobuf."""
    return "/v1/logs", "application/x-protobuf", foreign_request().SerializeToString()


def foreign_json() -> Body:
    """Foreign records in JSON, without ids, whose encoding the standard mapping has wrong."""
    text = MessageToDict(foreign_request(), use_integers_for_enums=True)
    for record in text["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        record |= {"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8)}
    return "/v1/logs", "application/json", json.dumps(text).encode()


WAYS: dict[str, Callable[[], Body]] = {
    "POST /api/v1/events": native,
    "POST /v1/logs, our records": own_records,
    "POST /v1/logs, foreign records": foreign,
    "POST /v1/logs, foreign records, JSON": foreign_json,
}


def measure(client: httpx.Client, pid: int, make: Callable[[], Body]) -> tuple[float, float]:
    """Events a second, and the service's CPU in us an event."""
    bodies = [make() for _ in range(BATCHES)]
    before, started = cpu_seconds(pid), time.perf_counter()
    for path, content_type, content in bodies:
        headers = {"content-type": content_type}
        client.post(path, content=content, headers=headers).raise_for_status()
    elapsed, used = time.perf_counter() - started, cpu_seconds(pid) - before
    return BATCHES * SIZE / elapsed, used / (BATCHES * SIZE) * 1e6


def figures() -> list[Figure]:
    """Each way in turn, several rounds, so that all have the same machine; medians."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with (
        tempfile.TemporaryDirectory() as directory,
        service(Path(directory)) as (pid, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        for _ in range(ROUNDS):
            for name, make in WAYS.items():
                found[name].append(measure(client, pid, make))
    rates = {name: statistics.median(rate for rate, _ in all_) for name, all_ in found.items()}
    costs = {name: statistics.median(cost for _, cost in all_) for name, all_ in found.items()}
    base = rates["POST /api/v1/events"]
    return [
        Figure(name, f"{rate:,.0f} events/s", "", None,
               f"{rate / base:.2f} x, {costs[name]:.0f} us of the service's CPU an event")
        for name, rate in rates.items()
    ]  # fmt: skip
