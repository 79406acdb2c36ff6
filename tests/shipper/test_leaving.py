"""When a shipper stays and when it leaves; ship_once, status, thread mode."""

import os
import time

import msgspec
import pytest

from realm_telemetry.delivery.report import LogFile, Reporter
from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.log import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.shipper import lock, overview
from realm_telemetry.shipper.deliveries import Deliveries
from realm_telemetry.shipper.manifest import pipeline_id, read_manifest, write_manifest
from realm_telemetry.shipper.overview import pipeline_status
from realm_telemetry.shipper.ship_once import ship_once
from realm_telemetry.shipper.status import StatusPage, read_status
from realm_telemetry.shipper.thread import ThreadShipper
from realm_telemetry.spool.doorbell import STATUS_NAME
from tests.waiting import SOON_S


class Refused:
    """An exporter whose service is not there."""

    def export_events(self, events):
        raise ExportError("connection refused", retryable=True)


class Collects:
    def __init__(self):
        self.numbers = []

    def export_events(self, events):
        self.numbers += [event.number for event in events]


def test_a_shipper_leaves_when_nothing_is_left(lab):
    producer = lab.producer()
    running = lab.start()
    time.sleep(0.3)
    assert running.thread.is_alive()
    producer.end()
    assert running.join() is True


def test_a_shipper_stays_for_a_cursor_that_lags(make_lab):
    lab = make_lab(exporters=["webhook"], linger_s=0.1)
    producer = lab.producer()
    producer.emit()
    producer.end()
    running = lab.start(exporters={"webhook": Refused()})
    time.sleep(1.0)
    assert running.thread.is_alive()
    running.stop()
    assert producer.writer.directory.exists()


def test_a_shipper_leaves_a_dead_local_service_after_a_while_and_the_next_goes_on(make_lab):
    lab = make_lab(exporters=["realm_service"], linger_s=0.3)
    producer = lab.producer()
    producer.emit()
    producer.end()
    assert lab.start(exporters={"realm_service": Refused()}).join() is True
    assert producer.writer.directory.exists()
    collects = Collects()
    lab.ship(exporters={"realm_service": collects})
    assert collects.numbers == [1]
    assert not producer.writer.directory.exists()


def test_a_shipper_stays_for_a_living_producer_with_or_without_a_service(make_lab):
    lab = make_lab(exporters=["realm_service"], linger_s=0.1)
    producer = lab.producer()
    producer.emit()
    running = lab.start(exporters={"realm_service": Refused()})
    time.sleep(0.8)
    assert running.thread.is_alive()
    producer.end()
    running.join()


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("moment", ["stop", "forget"])
def test_a_replay_that_is_asked_for_while_a_shipper_leaves_is_done(
    moment, once, make_lab, monkeypatch
):
    """By the one that leaves: nobody else would come before the next program begins."""
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit_many(3)
    producer.end()
    leave = getattr(Deliveries, moment)
    asked = []

    def ask_first(deliveries, *arguments):
        if not asked:
            with LogWriter(lab.log_path) as log:
                asked.append(log.set_back("one", 1))
        return leave(deliveries, *arguments)

    monkeypatch.setattr(Deliveries, moment, ask_first)
    collects = Collects()
    assert lab.start(exporters={"one": collects}, once=once).join() is True
    assert collects.numbers == [1, 2, 3, 2, 3]
    with LogReader(lab.log_path) as log:
        assert log.now.known_exporters() == {}


def test_a_log_that_cannot_be_written_does_not_keep_a_shipper_for_ever(make_lab):
    lab = make_lab(linger_s=0.3)
    lab.log_path.parent.mkdir(parents=True)
    lab.log_path.write_bytes(b"this is no database" * 1000)
    producer = lab.producer()
    producer.emit()
    producer.end()
    assert lab.start().join() is True
    assert producer.writer.directory.exists()
    lab.log_path.unlink()
    lab.ship()
    assert lab.numbers(producer.id) == [1]


def test_ship_once_ships_what_is_there_and_leaves_living_producers_be(lab):
    producer = lab.producer()
    producer.emit_many(10)
    (result,) = ship_once([lab.pipeline_dir], timeout_s=60)
    assert result.complete
    assert lab.numbers(producer.id) == list(range(1, 11))
    producer.end()


def test_ship_once_waits_for_the_shipper_at_work(lab):
    producer = lab.producer()
    lab.start()
    producer.emit_many(2000)
    (result,) = ship_once([lab.pipeline_dir], timeout_s=60)
    assert result.complete
    assert producer.writer.control.exported_number == 2000
    producer.end()


def test_ship_once_keeps_its_deadline_and_reports_what_is_left(make_lab):
    lab = make_lab(exporters=["no_such_exporter"])
    producer = lab.producer()
    producer.emit_many(3)
    began = time.monotonic()
    (result,) = ship_once([lab.pipeline_dir], timeout_s=0.5)
    assert time.monotonic() - began < SOON_S
    assert (result.pending, result.unexported) == (0, 3)
    assert "no_such_exporter" in result.problem
    producer.end()


def test_a_spool_that_is_done_with_while_it_is_looked_at_is_left_out(lab, monkeypatch):
    producer = lab.producer()
    there = producer.writer.directory
    found = [there.with_name("f" * 16), there]
    monkeypatch.setattr(overview, "spool_directories", lambda pipeline_dir: found)
    (status,) = pipeline_status(lab.home)
    assert [spool.producer for spool in status.spools] == [there.name]
    producer.end()


def test_status_counts_what_waits(lab):
    producer = lab.producer()
    producer.emit_many(4)
    (status,) = pipeline_status(lab.home)
    assert not status.running
    assert status.pending == 4
    assert status.spools[0].alive
    lab.ship()
    (status,) = pipeline_status(lab.home)
    assert status.pending == 0
    producer.end()


def test_the_thread_shipper_ships_to_objects_and_ends_in_time(make_lab, eventually):
    lab = make_lab()
    first, second = Collects(), Collects()
    producer = lab.producer()
    shipper = ThreadShipper(lab.pipeline_dir, [first, second], [])
    shipper.start()
    producer.emit()
    eventually(lambda: producer.writer.control.exported_number == 1)
    producer.emit()
    producer.end()
    began = time.monotonic()
    shipper.stop(60.0)
    assert time.monotonic() - began < SOON_S
    assert first.numbers == second.numbers == [1, 2]
    assert not producer.writer.directory.exists()


def test_the_thread_shipper_keeps_its_deadline_with_a_dead_service(make_lab):
    lab = make_lab()
    producer = lab.producer()
    producer.emit()
    shipper = ThreadShipper(lab.pipeline_dir, [Refused()], [])
    shipper.start()
    producer.end()
    began = time.monotonic()
    shipper.stop(0.5)
    assert time.monotonic() - began < SOON_S


def test_only_one_holds_the_lock_and_asking_does_not_lose_it(lab):
    held = lock.acquire(lab.pipeline_dir)
    assert lock.acquire(lab.pipeline_dir) is None
    assert lock.is_held(lab.pipeline_dir)
    if os.fork() == 0:
        os._exit(3 if lock.acquire(lab.pipeline_dir) is None else 4)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
    held.release()
    assert not lock.is_held(lab.pipeline_dir)
    lock.acquire(lab.pipeline_dir).release()


def test_a_manifest_is_private_and_comes_back_as_it_was(make_lab):
    lab = make_lab(token="secret", options={"jsonl": {"path": "x"}})
    path = lab.pipeline_dir / "manifest.json"
    assert path.stat().st_mode & 0o777 == 0o600
    named = msgspec.structs.replace(lab.manifest, pipeline=lab.pipeline_dir.name)
    assert read_manifest(lab.pipeline_dir) == named


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"token": "t"}, False),
        ({"version": "9"}, False),
        ({"environment": {"OTEL_EXPORTER_OTLP_ENDPOINT": "x"}}, False),
        ({"service_name": "other"}, True),
        ({"created_unix_nano": 5}, True),
        ({"import_path": ["/x"]}, True),
        ({"import_path": ["/x"], "processors": ["a:b"]}, False),
    ],
)
def test_what_matters_makes_another_pipeline(lab, change, same):
    changed = msgspec.structs.replace(lab.manifest, **change)
    assert (pipeline_id(changed) == pipeline_id(lab.manifest)) is same


def test_a_broken_manifest_names_the_fix(lab):
    (lab.pipeline_dir / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match="not a manifest"):
        read_manifest(lab.pipeline_dir)


def test_writing_a_manifest_twice_keeps_the_first(lab):
    later = msgspec.structs.replace(lab.manifest, created_unix_nano=99)
    write_manifest(lab.spool_root, later)
    assert read_manifest(lab.pipeline_dir).created_unix_nano == 0


def test_the_status_page_shows_an_error_and_clears_it(tmp_path):
    page = StatusPage(tmp_path)
    page.show("the disk is full ☠")
    status = read_status(tmp_path)
    assert (status.error, status.pid, status.error_number) == ("the disk is full ☠", os.getpid(), 1)
    assert status.alive(time.time_ns())
    page.show("")
    page.leave()
    status = read_status(tmp_path)
    assert (status.error, status.error_number) == ("", 1)
    assert not status.alive(time.time_ns())


def test_an_error_longer_than_the_page_is_cut(tmp_path):
    page = StatusPage(tmp_path)
    page.show("x" * 10_000)
    assert 4000 < len(read_status(tmp_path).error) < 4096
    assert (tmp_path / STATUS_NAME).stat().st_size == 4096
    page.leave()


def test_no_status_page_is_no_status(tmp_path):
    assert read_status(tmp_path) is None
    (tmp_path / STATUS_NAME).write_bytes(b"garbage")
    assert read_status(tmp_path) is None


def test_the_log_file_is_rotated_by_size(tmp_path):
    log_file = LogFile(tmp_path / "logs" / "shipper.log", max_bytes=100)
    for number in range(30):
        log_file.write(f"line {number:03}, and some more")
    log_file.close()
    names = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert names == ["shipper.log", "shipper.log.1", "shipper.log.2"]
    assert all(path.stat().st_size < 150 for path in (tmp_path / "logs").iterdir())


def test_a_problem_is_reported_once_and_its_end_too(tmp_path):
    page = StatusPage(tmp_path)
    report = Reporter(LogFile(tmp_path / "log", max_bytes=10_000), page)
    report.problem("a", "a is broken")
    report.problem("b", "b is broken")
    report.problem("a", "a is broken")
    report.solved("b", "b works")
    assert read_status(tmp_path).error == "a is broken"
    report.solved("a", "a works")
    report.solved("a", "a works")
    assert read_status(tmp_path).error == ""
    text = (tmp_path / "log").read_text()
    assert [text.count(part) for part in ("a is broken", "b works", "a works")] == [1, 1, 1]
    page.leave()


def test_a_spool_that_cannot_be_opened_does_not_keep_a_shipper_for_ever(lab):
    """Left by a run as another user, say; it waits, and each shipper that comes tries it again."""
    left = lab.pipeline_dir / ("ab" * 8)
    left.mkdir()
    (left / "control").mkdir()
    producer = lab.producer()
    producer.emit()
    producer.end()
    assert lab.start().join() is True
    assert lab.numbers(producer.id) == [1]
    assert f"the spool {left} cannot be read" in lab.log_text()


def test_a_pipeline_that_is_done_holds_back_no_retention(make_lab):
    """Its cursors go with the shipper; the next producer's events are delivered all the same."""
    lab = make_lab(exporters=["webhook"])
    collects = Collects()
    for expected in (1, 2):
        producer = lab.producer()
        producer.emit()
        producer.end()
        lab.ship(exporters={"webhook": collects})
        assert len(collects.numbers) == expected
        with LogReader(lab.log_path) as reader:
            assert reader.now.cursors(lab.pipeline_dir.name) == {}


def test_a_pipeline_that_lags_keeps_its_cursors(make_lab):
    lab = make_lab(exporters=["realm_service"], linger_s=0.1)
    producer = lab.producer()
    producer.emit()
    producer.end()
    assert lab.start(exporters={"realm_service": Refused()}).join() is True
    with LogReader(lab.log_path) as reader:
        assert reader.now.cursors(lab.pipeline_dir.name) == {"realm_service": 0}


def test_the_status_lists_dead_letters(make_lab):
    class Refuses:
        def export_events(self, events):
            ids = [event.id for event in events]
            raise ExportError("too strange", retryable=False, rejected_ids=ids)

    lab = make_lab(exporters=["webhook"])
    producer = lab.producer()
    producer.emit()
    producer.end()
    lab.ship(exporters={"webhook": Refuses()})
    letters = pipeline_status(lab.home)[0].dead_letters
    assert letters == [f"{producer.writer.producer}{1:016x}, webhook: too strange"]
