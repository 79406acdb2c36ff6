"""Spool to log."""

import sqlite3
from pathlib import Path

from realm_telemetry.errors import ExportError
from realm_telemetry.event import PROCESS_LOST_NUMBER, Event
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.shipper.intake import Intake
from realm_telemetry.shipper.session import Session
from realm_telemetry.spool.control import Control
from realm_telemetry.spool.frames import FORMAT_OTLP, encode_frame, encode_msgpack


def receipts(lab):
    with LogReader(lab.log_path) as reader:
        return {receipt.producer: receipt for receipt in reader.now.receipts()}


def test_events_arrive_once_and_in_order(lab):
    producer = lab.producer()
    producer.emit_many(2500)
    producer.end()
    lab.ship()
    assert lab.numbers(producer.id) == list(range(1, 2501))
    assert receipts(lab)[producer.id].complete


def test_a_spool_is_removed_once_everything_is_shipped(lab):
    producer = lab.producer()
    producer.emit()
    producer.end()
    lab.ship()
    assert not producer.writer.directory.exists()


def test_a_living_producer_keeps_its_spool_and_learns_what_is_stored(lab):
    producer = lab.producer()
    producer.emit_many(3)
    lab.ship()
    assert producer.writer.directory.exists()
    assert producer.writer.control.stored_number == 3
    assert producer.writer.control.exported_number == 3


def test_segments_are_freed_while_the_producer_lives(lab):
    producer = lab.producer()
    producer.emit_many(6000)
    assert len(list(producer.writer.directory.glob("seg-*"))) > 1
    lab.ship()
    assert len(list(producer.writer.directory.glob("seg-*"))) == 1


def test_a_second_shipper_goes_on_where_the_first_left(lab):
    producer = lab.producer()
    for _ in range(3):
        producer.emit_many(2000)
        lab.ship()
    assert lab.numbers(producer.id) == list(range(1, 6001))


def test_events_of_many_spools_share_a_transaction(lab):
    producers = [lab.producer() for _ in range(20)]
    for producer in producers:
        producer.emit_many(3)
    lab.ship()
    assert len({row.event.observed_unix_nano for row in lab.rows()}) < 20
    assert all(lab.numbers(producer.id) == [1, 2, 3] for producer in producers)


def test_a_new_spool_is_found_by_a_shipper_at_work(lab, eventually):
    first = lab.producer()
    lab.start()
    eventually(lab.log_path.exists)
    second = lab.producer()
    second.emit()
    eventually(lambda: second.writer.control.stored_number == 1)
    first.end()


def test_a_producer_without_goodbye_is_reported_lost_with_its_last_step(lab):
    producer = lab.producer()
    producer.emit(message="Step 41", step=41)
    producer.die()
    lab.ship()
    lost = lab.rows()[-1].event
    assert (lost.kind, lost.severity, lost.channel) == ("process_lost", "error", "system")
    assert lost.number == PROCESS_LOST_NUMBER
    assert lost.details["last_kind"] == "training_step"
    assert lost.details["last_step"] == 41
    assert lost.details["last_message"] == "Step 41"
    assert lost.source == "trainer"
    assert receipts(lab)[producer.id].ended


def test_a_producer_with_goodbye_is_not_reported_lost(lab):
    producer = lab.producer()
    producer.emit()
    producer.end()
    lab.ship()
    assert [row.event.kind for row in lab.rows()] == ["training_step"]


def test_a_forked_child_is_missed_only_in_the_middle_of_a_lifecycle(lab):
    idle, busy, done = (lab.producer(forked=True) for _ in range(3))
    idle.emit()
    busy.emit(kind="job_started")
    done.emit(kind="job_started")
    done.emit(kind="job_completed")
    for child in (idle, busy, done):
        child.die()
    lab.ship()
    lost = [row.event.producer for row in lab.rows() if row.event.kind == "process_lost"]
    assert lost == [busy.id]


def test_a_goodbye_whose_segment_was_freed_is_remembered(lab):
    producer = lab.producer()
    producer.emit(kind="job_started")
    producer.emit_many(6000)
    lab.ship()
    producer.die()
    lab.ship()
    lost = lab.rows()[-1].event
    assert lost.details["service"] == "trainer"
    assert lost.details["open_lifecycles"] == ["job"]


def test_damage_is_quarantined_and_everything_else_is_shipped(lab):
    producer = lab.producer()
    producer.emit_many(10)
    segment = next(producer.writer.directory.glob("seg-*"))
    data = segment.read_bytes()
    at = data.index(b"hello", data.index(b"hello") + 1)
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(b"XXXXX")
    producer.end()
    lab.ship()
    assert len(lab.numbers(producer.id)) == 9
    assert "are damaged" in lab.log_text()
    kept = list((lab.spool_root / "quarantine").iterdir())
    assert b"XXXXX" in kept[0].read_bytes()


def test_a_frame_that_is_no_event_is_quarantined(lab):
    producer = lab.producer()
    producer.writer.append(b"\xc1 not msgpack")
    producer.emit()
    producer.end()
    lab.ship()
    assert lab.numbers(producer.id) == [2]
    assert not receipts(lab)[producer.id].complete
    assert "cannot be stored" in lab.log_text()


def test_a_frame_of_a_log_record_is_quarantined(lab):
    """Format 2 is the durable processor's, whose spools are elsewhere: it is no control frame."""
    producer = lab.producer()
    frame = encode_frame(FORMAT_OTLP, 1, encode_msgpack({"type": "goodbye"}))
    cursor = producer.writer.cursor
    cursor.mm[cursor.pos : cursor.pos + len(frame)] = frame
    cursor.pos += len(frame)
    cursor.seq = 1
    producer.emit()
    producer.end()
    lab.ship()
    assert lab.numbers(producer.id) == [2]
    assert not receipts(lab)[producer.id].complete
    assert "frame format 2 holds no event" in lab.log_text()


def test_what_a_processor_drops_is_not_missing_from_the_receipt(make_lab):
    lab = make_lab(processors=["odd"])
    producer = lab.producer()
    producer.emit_many(10)
    producer.end()
    lab.ship(processors={"odd": lambda event: event if event.number % 2 else None})
    assert lab.numbers(producer.id) == [1, 3, 5, 7, 9]
    assert receipts(lab)[producer.id].complete


def test_what_damage_took_is_missing_from_the_receipt(lab):
    producer = lab.producer()
    producer.emit()
    producer.emit(message="damage me")
    producer.emit()
    segment = next(producer.writer.directory.glob("seg-*"))
    with segment.open("r+b") as file:
        file.seek(segment.read_bytes().index(b"damage me"))
        file.write(b"XXXXX")
    producer.end()
    lab.ship()
    assert not receipts(lab)[producer.id].complete


def test_a_kind_that_the_user_registered_is_known_to_the_shipper(lab):
    from realm_telemetry.kinds.catalog import spec

    producer = lab.producer()
    kind = {"kind": "kind_of_the_shipper_test", "channel": "training", "severity": "warning"}
    rest = {"message": "Norm {norm}", "routine": True}
    producer.writer.append_control({"type": "kind", **kind, **rest})
    producer.end()
    lab.ship()
    known = spec("kind_of_the_shipper_test")
    assert known.severity == "warning"
    with LogReader(lab.log_path) as reader:
        assert reader.now.kinds() == [known]


def test_a_kind_that_cannot_be_one_is_passed_over(lab):
    producer = lab.producer()
    for message in (
        {"kind": "Not Snake Case", "channel": "training", "severity": "info"},
        {"kind": "kind_without_a_channel", "severity": "info"},
        {"kind": "checkpoint_saved", "channel": "debug", "severity": "info"},
    ):
        producer.writer.append_control({"type": "kind", **message})
    producer.emit()
    producer.end()
    lab.ship()
    assert len(lab.rows()) == 1
    with LogReader(lab.log_path) as reader:
        assert reader.now.kinds() == []


def test_a_corrupt_log_is_reported_and_the_events_wait_for_a_new_one(lab, eventually):
    lab.log_path.parent.mkdir(parents=True)
    lab.log_path.write_bytes(b"this is no database" * 1000)
    producer = lab.producer()
    producer.emit_many(5)
    running = lab.start()
    eventually(lambda: running.shipper.problems)
    assert "not an SQLite database" in running.shipper.problems["log"]
    assert producer.writer.control.stored_number == 0
    lab.log_path.rename(lab.log_path.with_name("aside.db"))
    eventually(lambda: producer.writer.control.stored_number == 5)
    eventually(lambda: not running.shipper.problems)
    assert "is written again" in lab.log_text()


def test_a_log_that_is_moved_away_at_work_is_begun_anew_for_exporters_too(make_lab, eventually):
    taken = []

    class Takes:
        def export_events(self, events):
            taken.extend(event.number for event in events)

    lab = make_lab(exporters=["takes"])
    producer = lab.producer()
    producer.emit_many(50)
    lab.start(exporters={"takes": Takes()})
    eventually(lambda: producer.writer.control.exported_number == 50)
    for path in list(lab.log_path.parent.glob("jobs.db*")):
        path.rename(path.with_name(f"aside-{path.name}"))
    eventually(lambda: "moved or deleted" in lab.log_text())
    producer.emit_many(5)
    eventually(lambda: producer.writer.control.exported_number == 55)
    # What the spool still has is stored again: the new log does not have it.
    assert lab.numbers(producer.id) == list(range(1, 56))
    assert sorted(set(taken)) == list(range(1, 56))
    producer.end()


def test_a_shipper_whose_pipeline_is_deleted_leaves(lab, eventually):
    import shutil

    lab.producer().emit()
    running = lab.start()
    eventually(lab.log_path.exists)
    shutil.rmtree(lab.pipeline_dir)
    running.join()


def test_a_spool_that_another_has_removed_is_no_problem(lab, monkeypatch):
    """As a shipper does that began before its home was deleted and made anew."""
    import shutil

    producer = lab.producer()
    producer.emit()
    producer.end()
    stored = Session._store_end

    def store_and_remove(session, spool):
        stored(session, spool)
        shutil.rmtree(spool.directory)

    monkeypatch.setattr(Session, "_store_end", store_and_remove)
    running = lab.start(once=True)
    assert running.join() is True
    assert running.shipper.problems == {}
    assert lab.numbers(producer.id) == [1]


def test_a_locked_log_delays_but_does_not_lose(lab, eventually):
    producer = lab.producer()
    producer.emit()
    lab.ship()
    holder = sqlite3.connect(lab.log_path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    producer.emit_many(5)
    lab.start()
    holder.execute("COMMIT")
    holder.close()
    eventually(lambda: producer.writer.control.stored_number == 6)


def test_events_that_reached_the_log_but_not_the_control_page_are_not_repeated(lab):
    producer = lab.producer()
    producer.emit_many(5)
    lab.ship()
    producer.writer.control.stored_number = 0
    producer.end()
    lab.ship()
    assert lab.numbers(producer.id) == [1, 2, 3, 4, 5]


def test_staging_directories_of_the_dead_are_removed_after_a_while(lab):
    import os

    staging = lab.pipeline_dir / ".new-0123456789abcdef"
    staging.mkdir()
    os.utime(staging, (0, 0))
    lab.ship()
    assert not staging.exists()


def test_the_log_belongs_to_the_user_alone(lab):
    producer = lab.producer()
    producer.emit()
    lab.ship()
    log_file: Path = lab.manifest.shipper_log_path.parent
    assert all(path.stat().st_mode & 0o077 == 0 for path in log_file.iterdir())


class Stubborn:
    """Takes nothing until it is willing."""

    willing = False

    def export_events(self, events):
        if not self.willing:
            raise ExportError("not now", retryable=True, retry_after_s=0.05)


def test_what_is_remembered_for_an_exporter_that_is_away_is_bounded(
    make_lab, eventually, monkeypatch
):
    """And once it has caught up, the producer learns of its very last event."""
    monkeypatch.setattr("realm_telemetry.shipper.intake.MAX_UNEXPORTED", 10)
    lengths = []

    def watched(self, spool, cursor, number, await_export=Intake._await_export):
        await_export(self, spool, cursor, number)
        lengths.append(len(spool.unexported))

    monkeypatch.setattr(Intake, "_await_export", watched)
    lab, exporter = make_lab(exporters=["one"]), Stubborn()
    producer = lab.producer()
    control = producer.writer.control
    lab.start(exporters={"one": exporter})
    for number in range(1, 41):
        producer.emit()
        eventually(lambda number=number: control.stored_number == number)
    assert len(lengths) >= 40
    assert (max(lengths), control.exported_number) == (10, 0)
    exporter.willing = True
    eventually(lambda: control.exported_number == 40)
    producer.end()


def test_a_frame_that_holds_no_event_is_not_called_delivered(lab):
    """It is quarantined, its neighbours are stored, and the producer's flush must not be True."""
    producer = lab.producer()
    producer.emit()
    producer.writer.append(b"no event at all")
    producer.emit()
    producer.end()
    control = Control(producer.writer.directory / "control")
    lab.ship()
    assert lab.numbers(producer.writer.producer) == [1, 3]
    assert control.undelivered == 1
    control.close()


def test_events_whose_numbers_were_taken_by_others_are_not_called_delivered(lab):
    """They are quarantined, the producer's flush is not True, and an event says so."""
    producer = lab.producer()
    forged = [
        Event("forged", "system", "info", "x", {}, 1_700_000_000_000_000_000, producer.id, number)
        for number in (2, 3)
    ]
    with LogWriter(lab.log_path) as writer:
        writer.append(forged)
    producer.emit_many(4)
    producer.end()
    control = Control(producer.writer.directory / "control")
    lab.ship()
    assert control.undelivered == 2
    assert len(list((lab.spool_root / "quarantine").iterdir())) == 2
    assert "its id is that of another event" in lab.log_text()
    (report,) = [row.event for row in lab.rows() if row.event.kind == "events_dropped"]
    assert report.details["count"] == 2
    control.close()
