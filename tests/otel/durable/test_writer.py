"""The durable spool's append: whole, numbered, and each segment readable by itself."""

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.delivery.report import LogFile, Reporter
from realm_telemetry.otel.durable.records import (
    MAX_KNOWN_ORIGINS,
    Origins,
    encode_record,
)
from realm_telemetry.otel.durable.spool import Drain, RecordWriter
from realm_telemetry.spool.segment import segment_paths

RESOURCE = Resource({"service.name": "lab"})


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RecordWriter]:
    """A spool of small segments, so that a test meets many of them."""
    made = RecordWriter(tmp_path / "name" / "spool", "ab" * 8, max_bytes=4 << 20)
    made.segment_bytes = lambda wanted: 16 * 1024  # type: ignore[method-assign]
    yield made
    made.close()


def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(
        tmp_path / "quarantine", Reporter(LogFile(tmp_path / "log", max_bytes=1_000_000))
    )


def record(scope: InstrumentationScope, body: str) -> ReadWriteLogRecord:
    return ReadWriteLogRecord(LogRecord(body=body), RESOURCE, scope)


def append(writer: RecordWriter, origins: Origins, made: ReadWriteLogRecord) -> int:
    origin = origins.of(made)
    return writer.append_record(encode_record(made, origin), origin)


def read(writer: RecordWriter, tmp_path: Path) -> list[tuple[int, str, str]]:
    """(number, scope, body) of all that is there."""
    drain = Drain(writer.directory, quarantine(tmp_path))
    rows, _ = drain.after(0, 1_000_000)
    found = [
        (row.cursor, row.record.instrumentation_scope.name, str(row.record.log_record.body))  # type: ignore[union-attr]
        for row in rows
    ]
    drain.close()
    assert not (tmp_path / "quarantine").exists()
    return found


def test_threads_and_a_signal_handler_interrupt_each_other_and_lose_nothing(
    writer: RecordWriter, tmp_path: Path
) -> None:
    """At the shortest switch interval, over many segments, each with its origins."""
    origins = Origins()
    kept: list[tuple[int, str, str]] = []

    def keep(scope: InstrumentationScope, body: str) -> None:
        kept.append((append(writer, origins, record(scope, body)), scope.name, body))

    def run(name: str) -> None:
        scope = InstrumentationScope(name)
        for index in range(400):
            keep(scope, f"{name}-{index}" + "x" * (index % 200))

    by_signal = InstrumentationScope("signal")
    count = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        keep(by_signal, f"signal-{count}")

    before_interval, before_handler = sys.getswitchinterval(), signal.getsignal(signal.SIGALRM)
    threads = [threading.Thread(target=run, args=(f"t{n}",)) for n in range(4)]
    try:
        sys.setswitchinterval(1e-6)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for thread in threads:
            thread.start()
        run("main")
        for thread in threads:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before_handler)
        sys.setswitchinterval(before_interval)
    assert count > 0
    assert len(segment_paths(writer.directory)) > 5
    assert read(writer, tmp_path) == sorted(kept)
    assert [number for number, _, _ in sorted(kept)] == list(range(1, 5 * 400 + count + 1))


def test_each_segment_can_be_read_without_those_before_it(
    writer: RecordWriter, tmp_path: Path
) -> None:
    origins, scope = Origins(), InstrumentationScope("lab")
    first = segment_paths(writer.directory)
    for index in range(3_000):
        append(writer, origins, record(scope, f"{index}" + "x" * 100))
    first[0].unlink()
    assert len(segment_paths(writer.directory)) > 2
    found = read(writer, tmp_path)
    assert 0 < len(found) < 3_000
    assert {name for _, name, _ in found} == {"lab"}


def test_an_origin_and_a_record_larger_than_a_segment_fit_together(
    writer: RecordWriter, tmp_path: Path
) -> None:
    scope = InstrumentationScope("lab", "1", None, {"about": "a" * 30_000})
    assert append(writer, Origins(), record(scope, "b" * 20_000)) == 1
    assert [body for _, _, body in read(writer, tmp_path)] == ["b" * 20_000]


def test_scopes_without_end_cost_no_memory_without_end() -> None:
    """A program may make one a request; equal ones are written once a segment all the same."""
    origins = Origins()
    references = {
        origins.of(record(InstrumentationScope("lab"), "x")).reference
        for _ in range(MAX_KNOWN_ORIGINS + 10)
    }
    assert len(references) == 1
    assert len(origins._known) <= MAX_KNOWN_ORIGINS
