"""The durable processor: flushing, ending, failing exporters, a full spool, several processes."""

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import LogRecordExportResult

from realm_telemetry.errors import ConfigError
from realm_telemetry.otel.durable import DurableLogRecordProcessor
from realm_telemetry.spool.frames import MAX_PAYLOAD_BYTES
from tests.waiting import SOON_S, wait_until

from .conftest import Made, Recording

pytestmark = pytest.mark.slow

Make = Callable[..., Made]
WARN = SeverityNumber.WARN


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for seconds in a program waits for less here."""
    package = "realm_telemetry.otel.durable"
    monkeypatch.setattr(f"{package}.worker.FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(f"{package}.worker.ADOPT_EVERY_S", 0.2)


def spools(home: Path, name: str = "collector") -> list[Path]:
    return list((home / "spool" / "otel" / name / "spool").iterdir())


def emit(made: Made, count: int, prefix: str = "r") -> list[str]:
    bodies = [f"{prefix}{index}" for index in range(count)]
    for body in bodies:
        made.logger.emit(LogRecord(body=body))
    return bodies


def test_a_flush_exports_everything_in_order(make: Make) -> None:
    made = make(max_export_batch_size=100)
    bodies = emit(made, 1_050)
    assert made.processor.force_flush()
    assert made.exporter.bodies == bodies
    assert max(made.exporter.batches) <= 100


def test_records_leave_by_themselves_after_the_delay(make: Make) -> None:
    made = make(schedule_delay_millis=50)
    bodies = emit(made, 3)
    wait_until(lambda: made.exporter.bodies == bodies)


def test_a_full_batch_does_not_wait_for_the_delay(make: Make) -> None:
    made = make(schedule_delay_millis=3_600_000, max_export_batch_size=10)
    bodies = emit(made, 25)
    wait_until(lambda: len(made.exporter.records) == 20)
    assert made.exporter.bodies == bodies[:20]


def test_a_flush_is_false_when_it_takes_too_long(make: Make) -> None:
    """And what it could not export comes when the exporter works again."""
    made = make()
    made.exporter.works = False
    bodies = emit(made, 3)
    before = time.monotonic()
    assert not made.processor.force_flush(200)
    assert time.monotonic() - before < SOON_S
    made.exporter.works = True
    assert made.processor.force_flush()
    assert made.exporter.bodies == bodies


def test_a_shutdown_exports_what_is_left_and_leaves_nothing_behind(
    make: Make, tmp_path: Path
) -> None:
    made = make(schedule_delay_millis=3_600_000)
    bodies = emit(made, 30)
    made.provider.shutdown()
    assert made.exporter.bodies == bodies
    assert made.exporter.is_shut_down
    assert spools(tmp_path) == []
    emit(made, 2, "late")
    assert made.exporter.bodies == bodies
    assert made.processor.dropped == 2
    assert not made.processor.force_flush()
    made.processor.shutdown()  # harmless twice


def test_a_shutdown_with_a_failing_exporter_is_soon_over(make: Make, tmp_path: Path) -> None:
    """The next processor of that name exports what was left, and deletes the spool."""
    made = make()
    made.exporter.works = False
    bodies = emit(made, 30)
    before = time.monotonic()
    made.provider.shutdown()
    assert time.monotonic() - before < SOON_S
    assert made.exporter.attempts >= 1
    later = make()
    wait_until(lambda: later.exporter.bodies == bodies)
    wait_until(lambda: len(spools(tmp_path)) == 1)  # the living one's own


def test_what_a_dead_process_left_does_not_hold_up_what_is_new(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector that was away for a day leaves a long backlog, and a flush waits for seconds."""
    dead = make(max_export_batch_size=1)
    dead.exporter.works = False
    emit(dead, 100, "old")
    dead.provider.shutdown()
    take = Recording.export

    def slowly(self: Recording, batch: Any) -> Any:
        time.sleep(0.03)
        return take(self, batch)

    monkeypatch.setattr(Recording, "export", slowly)
    made = make(max_export_batch_size=1)
    wait_until(lambda: bool(made.exporter.bodies))
    emit(made, 1, "new")
    assert made.processor.force_flush(60_000)
    assert "old99" not in made.exporter.bodies
    wait_until(lambda: len(made.exporter.bodies) == 101)


def test_another_name_leaves_a_spool_alone(make: Make, tmp_path: Path) -> None:
    made = make(name="one")
    made.exporter.works = False
    emit(made, 3)
    made.provider.shutdown()
    other = make(name="two")
    emit(other, 1, "own")
    assert other.processor.force_flush()
    assert other.exporter.bodies == ["own0"]
    assert len(spools(tmp_path, "one")) == 1


def test_what_was_exported_before_the_end_does_not_come_again(make: Make) -> None:
    """Of one segment some is exported and some not; only the rest is left to adopt."""
    made = make()
    emit(made, 20, "first")
    assert made.processor.force_flush()
    made.exporter.works = False
    bodies = emit(made, 5, "second")
    made.provider.shutdown()
    later = make()
    wait_until(lambda: len(later.exporter.records) >= 5)
    assert later.exporter.bodies == bodies


def test_two_processors_of_one_name_live_side_by_side(make: Make) -> None:
    first, second = make(), make()
    ours, theirs = emit(first, 10, "a"), emit(second, 10, "b")
    assert first.processor.force_flush()
    assert second.processor.force_flush()
    assert (first.exporter.bodies, second.exporter.bodies) == (ours, theirs)


def test_many_threads_lose_nothing(make: Make) -> None:
    """Over several segments, and with origins that each thread brings along."""
    made = make(max_bytes=64 << 20)

    def run(name: str) -> None:
        logger = made.provider.get_logger(name)
        for index in range(500):
            logger.emit(LogRecord(body=f"{name}-{index}", attributes={"text": "x" * 300}))

    threads = [threading.Thread(target=run, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.processor.force_flush()
    assert len(made.exporter.records) == len(set(made.exporter.bodies)) == 4_000
    for record in made.exporter.records:
        assert record.instrumentation_scope is not None
        assert str(record.log_record.body).startswith(f"{record.instrumentation_scope.name}-")


def test_a_record_that_is_never_taken_is_quarantined_alone(make: Make, tmp_path: Path) -> None:
    made = make(max_export_batch_size=16)
    made.exporter.poison = "r7"
    bodies = emit(made, 40)
    wait_until(lambda: len(made.exporter.records) == 39)
    assert sorted(made.exporter.bodies) == sorted(set(bodies) - {"r7"})
    (kept,) = (tmp_path / "spool" / "otel" / "collector" / "quarantine").iterdir()
    assert b"r7" in kept.read_bytes()
    assert "quarantined" in (tmp_path / "logs" / "otel-collector.log").read_text()


def test_a_record_nested_too_deep_to_be_read_does_not_block_those_behind_it(make: Make) -> None:
    """It was emitted where the limit of recursion was higher than it is where it is exported."""
    made, usual = make(schedule_delay_millis=60_000), sys.getrecursionlimit()
    body: Any = "leaf"
    for _ in range(3_000):
        body = [body]
    sys.setrecursionlimit(50_000)
    try:
        made.logger.emit(LogRecord(body=body))
    finally:
        sys.setrecursionlimit(usual)
    emit(made, 1, "behind")
    assert made.processor.force_flush(60_000)
    assert made.exporter.bodies[-1] == "behind0"
    if sys.version_info < (3, 12):  # later ones limit C code apart: it is dropped, or read well
        assert made.exporter.bodies == ["behind0"]
        assert made.processor.dropped == 0


def test_while_nothing_goes_through_no_record_is_to_blame(make: Make, tmp_path: Path) -> None:
    made = make()
    made.exporter.works = False
    bodies = emit(made, 20)
    wait_until(lambda: made.exporter.attempts > 20)  # bisected in vain
    made.exporter.works = True
    assert made.processor.force_flush()
    assert made.exporter.bodies == bodies
    assert not (tmp_path / "spool" / "otel" / "collector" / "quarantine").exists()


def test_a_full_spool_keeps_the_rest_for_warnings_and_counts(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = make(max_bytes=1 << 20)
    made.exporter.works = False
    text = "x" * 1_000
    while made.processor.dropped == 0:
        made.logger.emit(LogRecord(body=text, severity_number=SeverityNumber.INFO))
    made.logger.emit(LogRecord(body="careful", severity_number=WARN))
    assert made.processor.dropped == 1
    kept = made.processor._writer.last_number  # type: ignore[union-attr]
    assert 500 < kept < 1_000
    made.exporter.works = True
    assert made.processor.force_flush()
    assert len(made.exporter.records) == kept
    assert made.exporter.bodies[-1] == "careful"
    log = tmp_path / "logs" / "otel-collector.log"
    wait_until(lambda: log.exists() and "1 log records were dropped" in log.read_text())
    made.logger.emit(LogRecord(body="room again"))
    wait_until(lambda: made.processor.force_flush() and "room again" in made.exporter.bodies)


def test_large_records_go_in_small_batches(make: Make) -> None:
    """512 of the largest would be half a gigabyte of the program's memory: 8 MiB wait at most."""
    made = make(schedule_delay_millis=3_600_000, max_export_batch_size=100)
    for _ in range(60):
        made.logger.emit(LogRecord(body="x" * (MAX_PAYLOAD_BYTES // 2)))
    assert made.processor.force_flush()
    assert len(made.exporter.records) == 60
    assert 16 <= max(made.exporter.batches) <= 32, "8 MiB, and what one reading brings"


@pytest.mark.parametrize(("size", "kept"), [(-200, True), (0, False), (1, False)])
def test_a_record_over_1_mib_is_refused_and_counted(make: Make, size: int, kept: bool) -> None:
    made = make()
    made.logger.emit(LogRecord(body="x" * (MAX_PAYLOAD_BYTES + size)))
    made.logger.emit(LogRecord(body="next"))
    assert made.processor.force_flush()
    assert len(made.exporter.records) == 1 + kept
    assert made.processor.dropped == 1 - kept


@pytest.mark.processes
def test_a_forked_child_has_a_spool_of_its_own(make: Make, tmp_path: Path) -> None:
    """The child ends without a word, as multiprocessing's do; the parent exports what it left."""
    made = make()
    emit(made, 5, "parent")
    child = os.fork()
    if child == 0:
        made.exporter.works = False
        emit(made, 7, "child")
        os._exit(0 if len(spools(tmp_path)) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    wait_until(lambda: len(made.exporter.records) == 12)
    assert sorted(made.exporter.bodies) == [
        *(f"child{n}" for n in range(7)),
        *(f"parent{n}" for n in range(5)),
    ]


@pytest.mark.processes
def test_a_child_exports_though_the_parent_was_reporting_a_problem(make: Make) -> None:
    """The parent's worker held the reporter's lock at the fork; in the child it is a new one."""
    made = make()
    with made.processor._report._lock:
        child = os.fork()
        if child == 0:
            flushed = []
            for _ in range(2):
                emit(made, 1, "child")
                flushed.append(made.processor.force_flush(60_000))
            os._exit(0 if all(flushed) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("number", [13, 17])
def test_a_severity_that_is_a_plain_number_is_kept(number: int, make: Make) -> None:
    made = make()
    made.logger.emit(LogRecord(body="x", severity_number=number))  # type: ignore[call-overload]
    assert made.processor.force_flush()
    (record,) = made.exporter.records
    assert record.log_record.severity_number == SeverityNumber(number)


def test_a_flush_that_meets_a_shutdown_does_not_raise(make: Make) -> None:
    """It waits for the last batch while another thread ends the processor and unmaps its spool."""
    made = make(max_export_batch_size=1)
    taken = made.exporter.export

    def slowly(batch: Any) -> Any:
        time.sleep(0.05)
        return taken(batch)

    made.exporter.export = slowly  # type: ignore[method-assign]
    emit(made, 4)
    raised: list[BaseException] = []

    def flush() -> None:
        try:
            made.processor.force_flush()
        except ValueError as error:
            raised.append(error)

    flushers = [threading.Thread(target=flush) for _ in range(8)]
    for flusher in flushers:
        flusher.start()
    made.provider.shutdown()
    for flusher in flushers:
        flusher.join()
    assert raised == []


class Slow(dict[str, str]):
    """A body that is encoded only once the exporter is being shut down."""

    def __init__(self, go_on: threading.Event) -> None:
        super().__init__(late="yes")
        self.began = threading.Event()
        self._go_on = go_on

    def items(self) -> Any:
        self.began.set()
        assert self._go_on.wait(60)
        return super().items()


def test_a_record_that_is_emitted_while_the_end_comes_is_left_to_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread was within `emit` when the shutdown began, and is through before it is over."""
    made, shutting_down = make(), threading.Event()
    body = Slow(shutting_down)
    emitting = threading.Thread(target=lambda: made.logger.emit(LogRecord(body=body)))

    def shut_down() -> None:
        shutting_down.set()
        emitting.join(60)

    monkeypatch.setattr(made.exporter, "shutdown", shut_down)
    emitting.start()
    assert body.began.wait(60)
    made.provider.shutdown()
    following = make()
    wait_until(lambda: following.exporter.bodies == [{"late": "yes"}])


def test_what_exporting_logs_does_not_bring_forth_the_next_export(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(schedule_delay_millis=10)

    def export_and_log(batch: Any) -> LogRecordExportResult:
        made.logger.emit(LogRecord(body="sent a request"))
        made.exporter.records += batch
        return LogRecordExportResult.SUCCESS

    monkeypatch.setattr(made.exporter, "export", export_and_log)
    emit(made, 1)
    assert made.processor.force_flush()
    time.sleep(0.2)
    assert made.exporter.bodies == ["r0"]


def test_an_exporter_that_flushes_its_provider_does_not_hang(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make()
    answers: list[bool] = []

    def export_and_flush(batch: Any) -> LogRecordExportResult:
        answers.append(made.processor.force_flush())
        return LogRecordExportResult.SUCCESS

    monkeypatch.setattr(made.exporter, "export", export_and_flush)
    emit(made, 1)
    assert made.processor.force_flush(60_000)
    assert answers == [False]


def test_without_a_place_for_a_spool_records_are_queued_as_the_sdk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    monkeypatch.setattr(
        "realm_telemetry.otel.durable.processor.spool_roots", lambda *_: [blocked / "x"]
    )
    made = Made(tmp_path, name="nowhere")
    bodies = emit(made, 3)
    assert made.processor.force_flush()
    assert made.exporter.bodies == bodies
    made.provider.shutdown()
    assert "Set REALM_SPOOL" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 65, ".hidden", "a b"])
def test_a_name_that_is_no_directory_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DurableLogRecordProcessor"):
        DurableLogRecordProcessor(name, Recording(), home=tmp_path)


@pytest.mark.parametrize("name", ["a", "x" * 64, "grafana-cloud_2.eu"])
def test_a_name_may_have_64_characters(name: str, make: Make) -> None:
    assert make(name=name).processor.name == name


@pytest.mark.parametrize("wrong", [{"schedule_delay_millis": 0}, {"max_export_batch_size": -1}])
def test_a_number_that_is_not_positive_is_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="positive"):
        DurableLogRecordProcessor("n", Recording(), home=tmp_path, **wrong)


def test_the_environment_of_the_batch_processor_is_honoured(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "7")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "20")
    made = make()
    emit(made, 30)
    wait_until(lambda: len(made.exporter.records) == 30)
    assert max(made.exporter.batches) == 7


def test_stdlib_logging_goes_through_it(make: Make) -> None:
    """With OpenTelemetry's own handler, as in any program."""
    made = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated since SDK 1.42, for another package
        handler = LoggingHandler(logger_provider=made.provider)
    logger = logging.getLogger("lab.durable")
    logger.addHandler(handler)
    try:
        logger.warning("step %d", 7, extra={"hero": "dio"})
    finally:
        logger.removeHandler(handler)
    assert made.processor.force_flush()
    (record,) = made.exporter.records
    assert record.log_record.body == "step 7"
    assert (record.log_record.attributes or {})["hero"] == "dio"
    assert isinstance(made.provider, LoggerProvider)
