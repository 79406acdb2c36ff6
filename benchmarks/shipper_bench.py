"""The shipper's figures: spool to log against its peer, log to exporters, idle cost.

    python -m benchmarks.shipper_bench [events]

The peer is plain `executemany` into the same schema, in the same run, in transactions of the
same size. Each lane ships the same spool from a fresh home.
"""

import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, at_least, at_most, show
from realm_telemetry.log.event_rows import INSERT_COLUMNS, to_rows
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.otel import LogRecordProcessor
from realm_telemetry.shipper.manifest import Manifest, write_manifest
from realm_telemetry.shipper.shipper import Shipper
from realm_telemetry.spool.frames import decode_event, encode_msgpack
from realm_telemetry.spool.reader import SpoolReader
from realm_telemetry.spool.writer import SpoolWriter

EVENTS = 100_000
BATCH = 1000
IDLE_S = 5.0
ROUNDS = 3


class NoOpProcessor(LogRecordProcessor):
    """An OpenTelemetry processor that leaves records as they are."""

    def on_emit(self, log_record: Any) -> None:
        """Look, and leave."""

    def shutdown(self) -> None:
        """Nothing to release."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept back."""
        return True


class Counter:
    """An exporter that counts."""

    def __init__(self) -> None:
        self.count = 0

    def export_events(self, events: Any) -> None:
        """Count the events."""
        self.count += len(events)


def make_pipeline(home: Path, exporters: list[str], processors: list[str]) -> Path:
    """Write a manifest into a fresh home; its pipeline's directory."""
    manifest = Manifest(
        version="bench",
        python=sys.executable,
        home=str(home),
        log_path=str(home / "vault" / "jobs.db"),
        search_path=str(home / "vault" / "search.db"),
        service_url="http://127.0.0.1:1",
        exporters=exporters,
        processors=processors,
    )
    return write_manifest(home / "spool", manifest)


def fill(pipeline_dir: Path, events: int) -> SpoolWriter:
    """Spool realistic events: a message and five details."""
    writer = SpoolWriter(pipeline_dir, os.urandom(8).hex(), max_bytes=1 << 30)
    for step in range(events):
        details = {"step": step, "loss": 1.0 / (step + 1), "learning_rate": 3e-4,
                   "tokens_per_second": 51234.5, "path": "ckpt/183000"}  # fmt: skip
        message = f"Step {step:,}: loss {1.0 / (step + 1):.4f}"
        writer.append(
            encode_msgpack((time.time_ns(), "training_step", "training", "info", message, details))
        )
    writer.append_control({"type": "goodbye", "emitted": events})
    return writer


def ship(home: Path, events: int, exporters: dict[str, Any], processors: dict[str, Any]) -> float:
    """Seconds from the first read to the last event in the log and with every exporter."""
    pipeline_dir = make_pipeline(home, list(exporters), list(processors))
    writer = fill(pipeline_dir, events)
    with LogWriter(home / "vault" / "jobs.db"):
        pass
    shipper = Shipper(pipeline_dir, exporters=exporters, processors=processors, once=True)
    thread = threading.Thread(target=shipper.run)
    began = time.perf_counter()
    thread.start()
    while writer.control.exported_number < events:
        time.sleep(0.002)
    took = time.perf_counter() - began
    thread.join()
    writer.close()
    return took


def peer(home: Path, events: int) -> float:
    """Seconds for decoding the same spool and `executemany` into the same schema."""
    writer = fill(make_pipeline(home, [], []), events)
    log_path = home / "vault" / "jobs.db"
    with LogWriter(log_path):
        pass
    connection = sqlite3.connect(log_path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    places = ", ".join("?" * len(INSERT_COLUMNS))
    statement = f"INSERT INTO battle_log ({', '.join(INSERT_COLUMNS)}) VALUES ({places})"
    reader = SpoolReader(writer.directory)
    began = time.perf_counter()
    while frames := [frame for frame in reader.read(BATCH) if frame.format == 1]:
        decoded = [decode_event(frame.payload, reader.producer, frame.number) for frame in frames]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, to_rows(decoded, time.time_ns()))
        connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.close()
    reader.close()
    writer.close()
    return took


def idle(home: Path, spools: int) -> float:
    """The share of a core that a shipper takes while nothing happens."""
    pipeline_dir = make_pipeline(home, [], [])
    writers = []
    for _ in range(spools):
        writer = SpoolWriter(pipeline_dir, os.urandom(8).hex(), max_bytes=1 << 21)
        writer.ring_for_shipper()
        writer.append(encode_msgpack((time.time_ns(), "note", "debug", "info", "here", {})))
        writers.append(writer)
    pid = os.fork()
    if pid == 0:
        Shipper(pipeline_dir).run()
        os._exit(0)
    while any(writer.control.stored_number < 1 for writer in writers):
        time.sleep(0.05)
    time.sleep(3.0)
    before = cpu_seconds(pid)
    time.sleep(IDLE_S)
    share = (cpu_seconds(pid) - before) / IDLE_S
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    for writer in writers:
        writer.close()
    return share


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, to the nanosecond of the scheduler."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def in_fresh_home(measure: Callable[[Path], float]) -> float:
    """Run a measurement in a directory of its own."""
    with tempfile.TemporaryDirectory() as name:
        return measure(Path(name))


def best_rate(events: int, measure: Callable[[Path], float]) -> float:
    """Events a second, the best of some rounds: the machine has other work too."""
    return max(events / in_fresh_home(measure) for _ in range(ROUNDS))


def figures(events: int = EVENTS) -> list[Figure]:
    """Both lanes beside their peer, and what a shipper takes while nothing happens."""
    base = best_rate(events, lambda home: peer(home, events))
    native = best_rate(events, lambda home: ship(home, events, {}, {}))
    records = best_rate(events, lambda home: ship(home, events, {}, {"otel": NoOpProcessor()}))
    one = in_fresh_home(lambda home: idle(home, 1)) * 100
    many = in_fresh_home(lambda home: idle(home, 1000)) * 100
    return [
        at_least("spool -> log, native", native, 60_000, "events/s"),
        at_least("spool -> log, native / executemany", native / base, 0.9, "x",
                 f"executemany: {base:,.0f} rows/s"),
        at_least("spool -> log, through log records", records, 35_000, "events/s"),
        at_least("spool -> log, log records / executemany", records / base, 0.5, "x"),
        at_most("idle shipper, 1 spool", one, 0.1, "% of a core"),
        at_most("idle shipper, 1,000 spools", many, 1.9, "% of a core"),
    ]  # fmt: skip


def main() -> None:
    """Measure everything and print a table."""
    show("Shipper", figures(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS))


if __name__ == "__main__":
    main()
