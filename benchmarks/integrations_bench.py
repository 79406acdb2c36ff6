"""The bridges and the durable processor, each beside OpenTelemetry's own in the same run.

Each case runs in a process of its own; `python -m benchmarks.integrations_bench` prints the table.
"""

import atexit
import json
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, at_most, show, time_batches

ROUNDS = 5
BATCHES, SIZE = 400, 50


def _exporter() -> Any:
    from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

    class Nowhere(LogRecordExporter):
        def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
            return LogRecordExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return True

    return Nowhere()


def _home() -> str:
    """A home on a real disk, gone at the end."""
    home = tempfile.mkdtemp(prefix="realm-bench-", dir=Path.home())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


def _in_turns(*cases: Callable[[], object]) -> list[float]:
    """Medians of several cases, measured in turns so that all meet the same machine."""
    found: list[list[float]] = [[] for _ in cases]
    for _ in range(ROUNDS):
        for case, medians in zip(cases, found, strict=True):
            medians.append(statistics.median(time_batches(case, BATCHES, SIZE)))
    return [statistics.median(medians) for medians in found]


def _logger(name: str, handler: logging.Handler) -> Callable[[], object]:
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    return lambda: logger.info("step %d", 12, extra={"loss": 0.234, "rate": 0.001})


def bridge() -> dict[str, float]:
    """`logger.info` with two extra fields: through our handler, theirs, and none."""
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    import realm_telemetry as realm
    from realm_telemetry.integrations.logging import RealmHandler

    home = _home()
    realm.configure(home=home, shipper="none", exporters=["battle_log"], max_spool_bytes=4 << 30)
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(_exporter()))
    warnings.simplefilter("ignore")
    ours, theirs, none = _in_turns(
        _logger("ours", RealmHandler()),
        _logger("theirs", LoggingHandler(logger_provider=provider)),
        _logger("none", logging.NullHandler()),
    )
    return {"ours": ours - none, "theirs": theirs - none, "none": none}


def durable() -> dict[str, float]:
    """`on_emit` of one record: the durable processor and the SDK's batch processor."""
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import ReadWriteLogRecord
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from realm_telemetry.otel.durable import DurableLogRecordProcessor

    home = _home()
    record = ReadWriteLogRecord(
        LogRecord(
            body="step 12",
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            attributes={"step": 12, "loss": 0.234, "rate": 0.001, "shape": [2, 3], "run": "r7"},
        ),
        Resource.create({}),
        InstrumentationScope("lab"),
    )
    ours = DurableLogRecordProcessor("bench", _exporter(), home=home, max_bytes=4 << 30)
    theirs = BatchLogRecordProcessor(_exporter(), max_queue_size=1_000_000)
    found = _in_turns(lambda: ours.on_emit(record), lambda: theirs.on_emit(record))
    ours.shutdown()
    theirs.shutdown()  # type: ignore[no-untyped-call]
    return dict(zip(("ours", "theirs"), found, strict=True))


CASES = {"bridge": bridge, "durable": durable}


def figures() -> list[Figure]:
    """Run every case in a fresh process."""
    found = {name: _run(name) for name in CASES}
    heard, kept = found["bridge"], found["durable"]
    return [
        at_most(
            "logging bridge, a record with 2 extra fields, median",
            heard["ours"] / heard["theirs"],
            0.5,
            "x OpenTelemetry's LoggingHandler",
            f"{heard['ours'] / 1e3:.1f} us over the {heard['none'] / 1e3:.1f} us of logging itself;"
            f" theirs {heard['theirs'] / 1e3:.1f} us, with batch processor and no-op exporter",
        ),
        at_most(
            "DurableLogRecordProcessor.on_emit, 5 attributes, median",
            kept["ours"] / kept["theirs"],
            1.0,
            "x BatchLogRecordProcessor",
            f"{kept['ours'] / 1e3:.1f} us; theirs {kept['theirs'] / 1e3:.1f} us",
        ),
    ]


def _run(name: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.integrations_bench", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(CASES[sys.argv[1]]()))
    else:
        show("integrations", figures())
