"""Whole paths through real processes: emit to a stream, and log to log over HTTP.

`python -m benchmarks.path_bench` prints the table.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, at_least, at_most, show
from benchmarks.service_bench import SPAWN, make_event, quantiles, service, watch
from realm_telemetry.log import LogWriter

EVENTS = 100_000
PRODUCER = "00112233445566aa"
BATCH = 512
EMITTER = """
import sys, time, realm_telemetry as realm
home, url, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
realm.configure(service_name="bench", home=home, service_url=url)
end = time.monotonic() + seconds
while time.monotonic() < end:
    realm.emit("note", "Step 12", step=12, loss=0.234, learning_rate=0.001)
    time.sleep(0.01)
"""


def emit_to_stream(seconds: float = 8.0, **options: Any) -> dict[str, float]:
    """Milliseconds from `emit` in one process to an SSE client in another, at 100 events/s.

    options: of the service.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        service(Path(directory), **options) as (_, port),
    ):
        ours, theirs = SPAWN.Pipe()
        arguments = [directory, f"http://127.0.0.1:{port}", str(seconds + 1.5)]
        emitter = subprocess.Popen([sys.executable, "-c", EMITTER, *arguments])
        time.sleep(1.5)  # warm: the shipper runs
        watcher = SPAWN.Process(target=watch, args=(port, 1, seconds, theirs), daemon=True)
        watcher.start()
        latencies, _ = ours.recv()
        emitter.wait()
        watcher.join()
    return quantiles(latencies)


def log_to_log(events: int = EVENTS) -> float:
    """Events a second from one log over HTTP into another's, by the exporter's own code."""
    with (
        tempfile.TemporaryDirectory() as near,
        tempfile.TemporaryDirectory() as far,
        service(Path(far)) as (_, port),
    ):
        path = Path(near) / "jobs.db"
        with LogWriter(path) as writer:
            for first in range(1, events, BATCH):
                last = min(first + BATCH, events + 1)
                writer.append([make_event(PRODUCER, number) for number in range(first, last)])
        command = [sys.executable, "-m", "benchmarks.path_bench", near, str(port)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(json.loads(answer.stdout))


def send_all(near: Path, port: int) -> float:
    """Follow a log with the `realm_service` exporter; events a second."""
    from realm_exporter_realm_service import RealmServiceExporter

    from realm_telemetry.log import LogReader
    from realm_telemetry.plugins import ExporterContext

    path = near / "jobs.db"
    url = f"http://127.0.0.1:{port}"
    with LogReader(path) as reader:
        context = ExporterContext(
            home=near, log_path=path, log_id=reader.log_id, service_url=url, pipeline="bench"
        )
        exporter = RealmServiceExporter.from_context(context)
        sent, cursor = 0, 0
        began = time.perf_counter()
        while rows := reader.now.after(cursor, BATCH, webhooks=True):
            exporter.export_events([row.event for row in rows])
            cursor, sent = rows[-1].cursor, sent + len(rows)
        return sent / (time.perf_counter() - began)


def figures() -> list[Figure]:
    """Both paths."""
    latency = emit_to_stream()
    rate = max(log_to_log() for _ in range(2))
    return [
        at_most("emit -> SSE client, 100 events/s, p50", latency["p50_ms"], 20.0, "ms"),
        at_most("emit -> SSE client, 100 events/s, p99", latency["p99_ms"], 60.0, "ms",
                f"max {latency['max_ms']:.0f} ms"),
        at_least("log -> HTTP -> RealmService -> its log", rate, 25_000, "events/s"),
    ]  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(send_all(Path(sys.argv[1]), int(sys.argv[2]))))
    else:
        show("Whole paths", figures())
