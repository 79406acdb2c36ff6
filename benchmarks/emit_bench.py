"""The hot path: `emit` alone, beside busy threads, while the shipper syncs, and its peer.

Each case runs in a process of its own; `python -m benchmarks.emit_bench` prints the table.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import (
    Figure,
    at_least,
    at_most,
    percentile,
    show,
    time_batches,
    time_each,
)

DETAILS = {
    "step": 12,
    "loss": 0.234,
    "learning_rate": 0.001,
    "total_steps": 1000,
    "tokens_per_second": 1234.5,
}


def _configured(shipper: str) -> None:
    import realm_telemetry as realm

    home = tempfile.mkdtemp(prefix="realm-bench-", dir=Path.home())
    realm.configure(
        service_name="bench", home=home, shipper=shipper, exporters=["battle_log"],
        max_spool_bytes=4 << 30,
    )  # fmt: skip


def _emit() -> Callable[[], object]:
    import realm_telemetry as realm

    return lambda: realm.emit(
        "training_step",
        "Step 12",
        step=12,
        loss=0.234,
        learning_rate=0.001,
        total_steps=1000,
        tokens_per_second=1234.5,
    )


def alone() -> dict[str, float]:
    """Medians of emit and of a typed helper, without a shipper; the peer in the same process."""
    _configured("none")
    import realm_telemetry as realm

    emit = time_batches(_emit(), 3000, 50)
    helper = time_batches(lambda: realm.checkpoint_saved(step=12, loss=0.234, path="c"), 3000, 50)
    return {
        "emit": statistics.median(emit),
        "emit_best": emit[0],
        "helper": statistics.median(helper),
        "peer": _peer(),
    }


def _peer() -> float:
    """OpenTelemetry's SDK: BatchLogRecordProcessor and an exporter that does nothing."""
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import (
        BatchLogRecordProcessor,
        LogRecordExporter,
        LogRecordExportResult,
    )

    class NoOp(LogRecordExporter):
        def export(self, batch: object) -> LogRecordExportResult:
            return LogRecordExportResult.SUCCESS

        def shutdown(self) -> None:
            return

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            return True

    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(NoOp()))
    logger = provider.get_logger("bench")

    def emit() -> None:
        logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body="Step 12",
                event_name="realm.training_step",
                attributes=dict(DETAILS),
            )
        )

    times = time_batches(emit, 600, 50)
    provider.shutdown()
    return statistics.median(times)


def _spin(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(100))


def _beside_a_busy_thread(emitters: int, seconds: float) -> float:
    """Mean microseconds of all emits of so many threads, beside a thread that computes.

    Waits for the interpreter lock (5 ms a thread and turn) are in it, spread over the emits of
    a turn: shorter emits make shorter means twice over.
    """
    emit = _emit()
    stop = threading.Event()
    spent: list[tuple[int, int]] = []

    def run() -> None:
        clock = time.perf_counter_ns
        total = count = 0
        while not stop.is_set():
            begin = clock()
            emit()
            total += clock() - begin
            count += 1
        spent.append((total, count))

    threads = [threading.Thread(target=run) for _ in range(emitters)]
    busy = threading.Thread(target=_spin, args=(stop,))
    for thread in (busy, *threads):
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in (busy, *threads):
        thread.join()
    return sum(total for total, _ in spent) / sum(count for _, count in spent) / 1000


def one_busy() -> dict[str, float]:
    """One emitting thread beside one that computes."""
    _configured("none")
    return {"mean_us": _beside_a_busy_thread(1, 2.0)}


def eight_busy() -> dict[str, float]:
    """Eight emitting threads and one that computes, in 20 runs: the worst run's mean."""
    _configured("none")
    means = [_beside_a_busy_thread(8, 0.5) for _ in range(20)]
    return {"worst_mean_us": max(means), "best_mean_us": min(means)}


def while_syncing() -> dict[str, float]:
    """p99.9 and the maximum at 5,000 events/s while the shipper stores and syncs them."""
    _configured("process")
    emit = _emit()
    time.sleep(1.5)

    def paced() -> None:
        time.sleep(0.0002)

    times: list[float] = []
    for _ in range(100):
        times += time_each(emit, 200)
        for _ in range(200):
            paced()
    times.sort()
    return {
        "median_us": statistics.median(times) / 1000,
        "p999_us": percentile(times, 0.999) / 1000,
        "max_us": times[-1] / 1000,
    }


CASES = (alone, one_busy, eight_busy, while_syncing)


def run_case(case: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Run one case in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.emit_bench", case.__name__]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def figures() -> list[Figure]:
    """All figures of the hot path."""
    alone_, busy, eight, sync = (run_case(case) for case in CASES)
    ratio = alone_["peer"] / alone_["emit"]
    emit_us, helper_us = alone_["emit"] / 1000, alone_["helper"] / 1000
    return [
        at_most("emit, message and 5 details, median", emit_us, 2.4, "us",
                f"quietest batch {alone_['emit_best'] / 1000:.2f} us"),
        at_least("OpenTelemetry SDK batch processor / emit", ratio, 4.5, "x",
                 f"SDK: {alone_['peer'] / 1000:.1f} us"),
        at_most("typed helper that renders its message, median", helper_us, 3.5, "us"),
        at_most("emit beside one busy thread, mean", busy["mean_us"], 5.0, "us"),
        at_most("8 emitters, 1 busy thread, worst of 20 means", eight["worst_mean_us"], 20.0, "us",
                f"best {eight['best_mean_us']:.1f} us"),
        at_most("emit p99.9 while the shipper syncs", sync["p999_us"], 100.0, "us",
                f"max {sync['max_us']:.0f} us"),
    ]  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        chosen = {case.__name__: case for case in CASES}[sys.argv[1]]
        print(json.dumps(chosen()))
    else:
        show("Hot path", figures())
