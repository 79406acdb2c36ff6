"""How fast the RealmService is: latency to a stream, many streams, and ingest over HTTP.

Service, writer and clients are processes of their own. Prints one JSON object a measurement.

    python -m benchmarks.service_bench [latency|streams|ingest ...] [--seconds 10]
"""

import argparse
import json
import multiprocessing
import os
import secrets
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import zstandard

from benchmarks.measure import Figure, at_most
from realm_telemetry.event import Event
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service import RealmServer, ServiceSettings
from realm_telemetry.wire import CONTENT_TYPE, encode_batch

SPAWN = multiprocessing.get_context("spawn")
TIME_FIELD = b'"time_unix_nano":"'


def make_event(producer: str, number: int) -> Event:
    """An event as a training process emits it."""
    details = {"step": number, "loss": 0.1234, "lr": 3e-4, "tokens_per_second": 81_234.5}
    return Event(
        kind="note",
        channel="training",
        severity="info",
        message=f"Step {number:,}: loss 0.1234, 81,234 tokens/s",
        details=details,
        time_unix_nano=time.time_ns(),
        producer=producer,
        number=number,
        hero_id="dio",
        run_id="r7",
    )


def serve(home: Path, ready: Connection, options: dict[str, Any]) -> None:
    """Run a service and tell its port."""
    settings = ServiceSettings.for_home(home, port=0, battle_log_port=0, ui_port=0, **options)
    RealmServer(settings).run(lambda server: ready.send(server.ports[0]))


@contextmanager
def service(home: Path, **options: Any) -> Iterator[tuple[int, int]]:
    """A running service: (pid, port)."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(home, theirs, options), daemon=True)
    process.start()
    port = ours.recv()
    try:
        assert process.pid is not None
        yield process.pid, port
    finally:
        process.terminate()
        process.join(10)


def write_log(path: Path, per_second: int, seconds: float, gather_s: float) -> None:
    """Append to the log as the shipper does: what has come in gather_s in one commit."""
    producer, number = secrets.token_hex(8), 0
    with LogWriter(path) as writer:
        start = time.monotonic()
        while (now := time.monotonic() - start) < seconds:
            due = int(now * per_second)
            events = [make_event(producer, one) for one in range(number + 1, due + 1)]
            if events:
                writer.append(events)
                number = due
            time.sleep(gather_s)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect(port: int, query: str = "", *, receive_buffer: int = 0) -> socket.socket:
    """Open a stream."""
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", port))
    request = f"GET /api/events/stream{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    client.sendall(request.encode())
    return client


def watch(port: int, clients: int, seconds: float, results: Connection) -> None:
    """Follow streams; of every read, take the latency of its oldest event."""
    selector = selectors.DefaultSelector()
    for _ in range(clients):
        selector.register(connect(port), selectors.EVENT_READ)
    latencies: list[float] = []
    events = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in selector.select(0.1):
            data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
            at = data.find(TIME_FIELD)
            if b"event: snapshot" in data or at < 0:
                continue
            sent = int(data[at + len(TIME_FIELD) :].split(b'"', 1)[0])
            latencies.append((time.time_ns() - sent) / 1e6)
            events += data.count(b"event: event")
    results.send((latencies, events))


def quantiles(latencies: list[float]) -> dict[str, float]:
    """Median, p99 and maximum, in milliseconds."""
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "p50_ms": round(cuts[49], 2),
        "p99_ms": round(cuts[98], 2),
        "max_ms": round(max(latencies), 2),
    }


def follow(clients: int, per_second: int, seconds: float, *, stalled: int) -> dict[str, Any]:
    """Latency of streams while the log grows."""
    with tempfile.TemporaryDirectory() as directory, service(Path(directory)) as (pid, port):
        blocked = [connect(port, receive_buffer=4096) for _ in range(stalled)]
        ours, theirs = SPAWN.Pipe()
        args = (port, clients - stalled, seconds + 1, theirs)
        watcher = SPAWN.Process(target=watch, args=args, daemon=True)
        watcher.start()
        time.sleep(2)
        log = Path(directory) / "vault" / "jobs.db"
        before, started = cpu_seconds(pid), time.monotonic()
        write_log(log, per_second, seconds - 2, 0.005)
        cores = (cpu_seconds(pid) - before) / (time.monotonic() - started)
        latencies, events = ours.recv()
        for one in blocked:
            one.close()
        return {
            "clients": clients,
            "stalled": stalled,
            "events_per_second": per_second,
            "received": events,
            **quantiles(latencies),
            "service_cores": round(cores, 3),
        }


def latency(seconds: float) -> dict[str, Any]:
    """One warm stream at 100 events/s."""
    return {"bench": "commit_to_stream", **follow(1, 100, seconds, stalled=0)}


def streams(seconds: float) -> dict[str, Any]:
    """200 streams at 500 events/s, one of them stalled."""
    return {"bench": "many_streams", **follow(200, 500, seconds, stalled=1)}


def encoded_batches(count: int, size: int = 512) -> list[bytes]:
    """Bodies as the exporter sends them."""
    producer = secrets.token_hex(8)
    compressor = zstandard.ZstdCompressor(level=1)
    return [
        compressor.compress(
            encode_batch([make_event(producer, first + one) for one in range(1, size + 1)])
        )
        for first in range(0, count * size, size)
    ]


def ingest(seconds: float) -> dict[str, Any]:
    """Batches of 512 over one keep-alive connection, into the service's log."""
    with tempfile.TemporaryDirectory() as directory, service(Path(directory)) as (pid, port):
        headers = {"content-type": CONTENT_TYPE, "content-encoding": "zstd"}
        bodies = encoded_batches(max(40, int(seconds * 80)))
        url = f"http://127.0.0.1:{port}/api/v1/events"
        with httpx.Client(headers=headers) as client:
            client.post(url, content=bodies[0]).raise_for_status()
            before, started = cpu_seconds(pid), time.monotonic()
            for body in bodies[1:]:
                client.post(url, content=body).raise_for_status()
            elapsed = time.monotonic() - started
            cores = (cpu_seconds(pid) - before) / elapsed
        stored = (len(bodies) - 1) * 512
        return {
            "bench": "http_to_log",
            "events": stored,
            "events_per_second": round(stored / elapsed),
            "service_cores": round(cores, 3),
            "service_us": round(cores * elapsed / stored * 1e6, 2),
        }


BENCHES: dict[str, Callable[[float], dict[str, Any]]] = {
    "latency": latency,
    "streams": streams,
    "ingest": ingest,
}


def figures() -> list[Figure]:
    """Many streams, one of them not read, and what an event over HTTP costs."""
    many, posted = streams(12.0), ingest(5.0)
    return [
        at_most("CPU of the service for an event over HTTP", posted["service_us"], 38.0, "us",
                f"{posted['events_per_second']:,} events/s from one sender"),
        at_most("199 of 200 SSE clients at 500 events/s, p99", many["p99_ms"], 50.0, "ms",
                f"p50 {many['p50_ms']:.0f} ms, max {many['max_ms']:.0f} ms"),
        at_most("service meanwhile", many["service_cores"], 0.5, "core"),
    ]  # fmt: skip


def main() -> None:
    """Run the benches that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benches", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    for name in options.benches or BENCHES:
        sys.stdout.write(json.dumps(BENCHES[name](options.seconds)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
