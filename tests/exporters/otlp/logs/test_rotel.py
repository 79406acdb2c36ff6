"""10,000 events of every kind through rotel, a collector that nobody here wrote.

rotel acknowledges a request once it has it in memory, before it has forwarded anything. What it
held when it was killed is therefore lost by rotel, not by us, and no exporter can know. So there
are two tests: in one rotel is killed when it holds nothing, and all has to arrive; in the other it
is killed in the middle of the stream, and what has to be complete is what it acknowledged; the
rest is fetched back from the log by `realm replay`.
"""

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import KIND_METADATA
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.reader import LogReader

from .neighbours import Rotel
from .receivers import Arrived, HttpReceiver, attributes

Eventually = Callable[..., None]

COUNT = 10_000
NUMBERS = {"info": 9, "success": 10, "warning": 13, "error": 17}
TEXTS = {"info": "INFO", "success": "SUCCESS", "warning": "WARN", "error": "ERROR"}

PROGRAM = """
import sys
import time
import realm_telemetry as realm
from realm_telemetry.kinds.catalog import KIND_METADATA
from realm_telemetry.event import SEVERITIES

realm.configure(
    service_name="trainer",
    exporters=("battle_log", "otlp"),
    resource={"deployment.environment.name": "lab", "gpus": 8},
    run_id="r7",
)
kinds = sorted(KIND_METADATA)
print("ready", flush=True)
number = 0
for line in sys.stdin:
    if line.strip() == "flush":
        print("flushed", realm.flush(timeout_s=60), realm.flush_problem(), flush=True)
        continue
    count, every_s = int(line.split()[0]), float(line.split()[1])
    for _ in range(count):
        number += 1
        with realm.bound(hero_id=f"hero {number % 5}"):
            realm.emit(
                kinds[number % len(kinds)],
                f"Event {number} \\u2014 \\U0001f6e1",
                severity=SEVERITIES[number % 4] if number % 3 else None,
                campaign_id="c1" if number % 2 else None,
                step=number,
                loss=float("nan") if number % 100 == 0 else 1 / number,
                big=2**62 + number,
                flag=number % 2 == 0,
                nothing=None,
                nested={"list": [1, 2.5, None, {"deep": [True, "x"]}], "empty": {}},
            )
        if every_s:
            time.sleep(every_s)
    print("emitted", number, flush=True)
print("flushed", realm.flush(timeout_s=60), realm.flush_problem(), flush=True)
realm.shutdown()
"""


class Program:
    """A training program that emits as many events as asked; only variables say where to."""

    def __init__(self, endpoint: str, protocol: str, compression: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ
            | {
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def emit(self, count: int, every_s: float = 0.0, *, wait: bool = True) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count} {every_s}\n")
        self._process.stdin.flush()
        if wait:
            self.wait()

    def wait(self) -> None:
        assert self._line().startswith("emitted ")

    def flush(self) -> None:
        """Wait until each exporter has acknowledged all that was emitted."""
        assert self._process.stdin is not None
        self._process.stdin.write("flush\n")
        self._process.stdin.flush()
        assert self._line() == "flushed True None"

    def end(self) -> None:
        """End it, once each exporter has acknowledged everything."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._line() == "flushed True None"
        assert self._process.wait(30) == 0

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(60)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                stream.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    running: list[Program] = []

    def start(*arguments: Any) -> Program:
        running.append(Program(*arguments))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def logged(home: Path) -> list[LogRow]:
    """The program's events as the battle log has them."""
    with LogReader(home / "vault" / "jobs.db") as reader:
        return reader.now.after(0, 10 * COUNT)


def expected(event: Event) -> dict[str, Any]:
    """What has to arrive of an event, written down again, by DESIGN's table alone."""
    fields = {
        "realm.kind": event.kind,
        "realm.channel": event.channel,
        "realm.severity": event.severity,
        "event.name": f"realm.{event.kind}",
        "log.record.uid": event.id,
        "realm.hero.id": event.hero_id,
        "realm.campaign.id": event.campaign_id,
        "realm.run.id": event.run_id,
        "realm.source": event.source,
    }
    details = {f"realm.details.{key}": value for key, value in event.details.items()}
    return {
        "attributes": details | {key: value for key, value in fields.items() if value is not None},
        "event_name": f"realm.{event.kind}",
        "body": event.message,
        "severity": (NUMBERS[event.severity], TEXTS[event.severity]),
        "times": (event.time_unix_nano, event.observed_unix_nano),
        "trace": (b"", b"", 0),
        "scope": "realm_telemetry",
    }


def received(arrived: Arrived) -> dict[str, Any]:
    record = arrived.record
    return {
        "attributes": arrived.attributes,
        "event_name": record.event_name,
        "body": record.body.string_value,
        "severity": (record.severity_number, record.severity_text),
        "times": (record.time_unix_nano, record.observed_time_unix_nano),
        "trace": (record.trace_id, record.span_id, record.flags),
        "scope": arrived.scope,
    }


def require_equal(home: Path, sink: HttpReceiver) -> None:
    """Every event of the log is there, as the log has it, with its producer's resource."""
    events = {row.event.id: row.event for row in logged(home)}
    arrived = {each.uid: each for each in sink.arrived}
    assert arrived.keys() == events.keys()
    for uid, event in events.items():
        assert received(arrived[uid]) == expected(event)
    with LogReader(home / "vault" / "jobs.db") as reader:
        resources = {info.producer: info.resource for info in reader.now.producers()}
    for each in arrived.values():
        producer = each.uid[:16]
        assert each.resource == {"realm.producer.id": producer} | resources[producer]
        assert each.resource["service.name"] == "trainer"
        assert each.resource["gpus"] == 8


@pytest.mark.processes
@pytest.mark.parametrize(
    ("protocol", "compression"),
    [pytest.param("http/protobuf", "none", marks=pytest.mark.long), ("grpc", "gzip")],
)
def test_all_events_arrive_as_logged_though_the_collector_was_killed_half_way(
    home: Path,
    collector: Rotel,
    sink: HttpReceiver,
    program: Callable[..., Program],
    eventually: Eventually,
    protocol: str,
    compression: str,
) -> None:
    """Killed with SIGKILL when it held nothing; a part is emitted while it is away."""
    emitter = program(collector.endpoint(protocol), protocol, compression)
    emitter.emit(COUNT // 2)
    emitter.flush()
    eventually(lambda: set(sink.uids()) == {row.event.id for row in logged(home)})
    collector.kill()
    emitter.emit(COUNT // 4)
    collector.start()
    emitter.emit(COUNT - COUNT // 2 - COUNT // 4)
    emitter.end()
    # Trainings among them bring their runs' beginnings and ends, the last with the program's.
    eventually(lambda: not any(home.glob("spool/*/*/control")))
    eventually(lambda: len(sink.uids()) == len(logged(home)) >= COUNT)
    kinds = {row.event.kind for row in logged(home)}
    assert kinds == set(KIND_METADATA)
    require_equal(home, sink)


class Tap:
    """Stands before rotel and notes what rotel acknowledged."""

    def __init__(self, to_port: int) -> None:
        self.acknowledged: set[str] = set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    ahead = http.client.HTTPConnection("127.0.0.1", to_port, timeout=5)
                    headers = {"content-type": self.headers["content-type"]}
                    ahead.request("POST", self.path, body, headers)
                    response = ahead.getresponse()
                    status, text = response.status, response.read()
                    kind = response.getheader("content-type") or ""
                    ahead.close()
                except OSError:
                    status, text, kind = 503, b"", "text/plain"
                if status == 200:
                    owner.note(ExportLogsServiceRequest.FromString(body))
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def note(self, request: ExportLogsServiceRequest) -> None:
        for group in request.resource_logs:
            for scope in group.scope_logs:
                self.acknowledged |= {
                    attributes(record.attributes)["log.record.uid"] for record in scope.log_records
                }

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.mark.processes
def test_a_collector_killed_in_the_stream_has_acknowledged_everything_and_replay_fills_the_gap(
    home: Path,
    collector: Rotel,
    sink: HttpReceiver,
    program: Callable[..., Program],
    start_receiver: Callable[..., Any],
    eventually: Eventually,
) -> None:
    """Killed three times while events stream; what rotel lost, it had acknowledged before."""
    tap = start_receiver(Tap, collector.http_port)
    emitter = program(tap.endpoint, "http/protobuf", "none")
    emitter.emit(3000, 0.0003, wait=False)
    for part in (500, 1000, 1500):
        eventually(lambda part=part: len(tap.acknowledged) > part)
        collector.kill()
        time.sleep(0.05)
        collector.start()
    emitter.wait()
    emitter.flush()
    ids = {row.event.id for row in logged(home)}
    assert len(ids) >= 3000
    assert tap.acknowledged >= ids
    # As a person would; the program's shipper does so.
    realm = str(Path(sys.executable).with_name("realm"))
    replay = [realm, "replay", "--since", "1h", "--to", "otlp"]
    subprocess.run(replay, check=True, capture_output=True, timeout=60)
    eventually(lambda: set(sink.uids()) >= ids, explain=lambda: len(ids - set(sink.uids())))
    # The end of the last run comes with the end of the program; then the spool is freed.
    emitter.end()
    eventually(lambda: not any(home.glob("spool/*/*/control")))
    ids = {row.event.id for row in logged(home)}
    assert tap.acknowledged == ids
    eventually(lambda: set(sink.uids()) == ids, explain=lambda: len(ids - set(sink.uids())))
    require_equal(home, sink)
