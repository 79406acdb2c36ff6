"""A spool that is deleted under a live process: nothing is lost, and nothing is sent twice."""

import shutil
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import realm_telemetry as realm
from realm_telemetry.producer import appenders
from realm_telemetry.shipper.thread import ThreadShipper
from realm_telemetry.spool.frames import FORMAT_EVENT
from realm_telemetry.spool.reader import SpoolReader
from realm_telemetry.spool.segment import Cursor, memory_segment
from realm_telemetry.spool.writer import SpoolClosedError, SpoolWriter


@pytest.fixture
def producer(producer: realm.Telemetry) -> realm.Telemetry:
    """Whose keeper looks after nothing by itself."""
    assert producer._keeper is not None
    producer._keeper.stop(10)
    return producer


def spool_of(telemetry: realm.Telemetry) -> SpoolWriter:
    assert isinstance(telemetry.writer, SpoolWriter)
    return telemetry.writer


def delete(telemetry: realm.Telemetry) -> None:
    """Delete the spool and let the telemetry notice."""
    before = spool_of(telemetry)
    shutil.rmtree(before.directory)
    telemetry._look_for_place()
    assert telemetry.writer is not before
    assert appenders.current is telemetry.writer


def messages(telemetry: realm.Telemetry) -> list[str]:
    """The messages of the events in the spool, in order."""
    reader = SpoolReader(spool_of(telemetry).directory)
    found = []
    while frames := reader.read(1000):
        found += [msgspec.msgpack.decode(f.payload)[4] for f in frames if f.format == FORMAT_EVENT]
    reader.close()
    return found


def note_stored(telemetry: realm.Telemetry, number: int) -> Path:
    """Make a log that is said to have the events up to a number."""
    log = telemetry.settings.log_path
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    spool_of(telemetry).control.stored_number = number
    return log


def test_a_thread_that_was_about_to_append_to_the_old_spool_is_sent_on(
    producer: realm.Telemetry,
) -> None:
    """Its append raises, and what `emit` does then is to take the spool that is current."""
    realm.emit("note", "1")
    late = spool_of(producer)
    delete(producer)
    with pytest.raises(SpoolClosedError):
        late.append(b"x")
    with pytest.raises(SpoolClosedError):
        late.append(b"x" * 300_000, urgent=True)
    assert not late.append_control({"type": "goodbye"})
    assert not late.has_room(1)
    assert not late.directory.exists()
    assert late.control.dropped == 0


def test_threads_that_emit_meanwhile_lose_nothing(producer: realm.Telemetry) -> None:
    begun = threading.Barrier(3)

    def work(name: str) -> None:
        begun.wait()
        for number in range(300):
            assert realm.emit("note", f"{name} {number}").number

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    begun.wait()
    delete(producer)
    for thread in threads:
        thread.join()
    expected = {f"{name} {number}": 1 for name in "ab" for number in range(300)}
    assert Counter(messages(producer)) == expected


def test_a_frame_that_cannot_be_read_holds_up_nothing(producer: realm.Telemetry) -> None:
    realm.emit("note", "1")
    cursor = spool_of(producer).cursor
    cursor.mm[cursor.pos - 1] ^= 0xFF
    delete(producer)
    assert messages(producer) == []
    assert realm.emit("note", "2").number == 1


def test_segments_that_went_on_in_memory_come_along_once(
    producer: realm.Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert producer._keeper is not None
    producer._keeper.stop(5)
    monkeypatch.setattr(producer, "_look_for_place", lambda: None)
    shutil.rmtree(spool_of(producer).directory)
    wanted = [f"{number} " + "x" * 50_000 for number in range(8)]
    for message in wanted:
        assert realm.emit("note", message, severity="error").number
    assert spool_of(producer).unlinked
    monkeypatch.undo()
    producer._look_for_place()
    assert [message[:2] for message in messages(producer)] == [message[:2] for message in wanted]


def test_a_log_that_was_not_there_at_first_is_not_sent_all_again(producer: realm.Telemetry) -> None:
    for number in "12":
        realm.emit("note", number)
    note_stored(producer, 1)
    producer._log = None
    delete(producer)
    assert messages(producer) == ["2"]


@pytest.mark.parametrize("there", [True, False])
def test_a_log_that_was_deleted_as_well_gets_all_again(
    producer: realm.Telemetry, there: bool
) -> None:
    """Though there is another one by now, of which nobody knows but that it is another."""
    realm.emit("note", "1")
    log = note_stored(producer, 1)
    realm.flush(0)
    if there:
        (log.parent / "new").touch()
        (log.parent / "new").rename(log)
    else:
        log.unlink()
    delete(producer)
    assert messages(producer) == ["1"]


def test_a_log_that_is_missing_for_a_while_is_not_forgotten(producer: realm.Telemetry) -> None:
    """The one that is there afterwards is another one."""
    realm.emit("note", "1")
    log = note_stored(producer, 1)
    producer._look_after_spool()
    log.rename(log.with_suffix(".old"))
    producer._look_after_spool()
    log.touch()
    delete(producer)
    assert messages(producer) == ["1"]


def test_drops_that_were_reported_are_not_reported_again(producer: realm.Telemetry) -> None:
    writer = spool_of(producer)
    for _ in range(3):
        writer._drop()
    producer._report_drops()
    assert [event.split()[0] for event in messages(producer)] == ["3"]
    note_stored(producer, 1)
    writer._drop()
    delete(producer)
    assert producer.dropped == 4
    producer._report_drops()
    producer._report_drops()
    assert [event.split()[0] for event in messages(producer)] == ["1"]


def test_a_shipper_in_a_thread_goes_on_with_the_new_spool(tmp_path: Path) -> None:
    """It is the same one, and each event is in the log once."""
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))
    made = realm.configure(home=tmp_path, shipper="thread", exporters=["battle_log"])
    assert made is not None
    realm.emit("note", "1")
    assert realm.flush(60)
    shipper = made._shipper
    shutil.rmtree(spool_of(made).directory)
    assert realm.flush(60)
    assert made._shipper is shipper
    realm.emit("note", "2")
    assert realm.shutdown(10), "though the shipper has hardly seen that spool yet"
    appenders.set_current(appenders.Early(lambda: None))
    with closing(sqlite3.connect(made.settings.log_path)) as log:
        rows = log.execute("SELECT message, COUNT(*) FROM battle_log GROUP BY 1").fetchall()
    assert rows == [("1", 1), ("2", 1)]


def test_a_segment_that_is_ready_too_late_takes_nothing(
    producer: realm.Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another spool took over while a thread made the next segment of the old one."""
    late = spool_of(producer)

    def too_late(size: int, urgent: bool) -> Cursor:
        delete(producer)
        return memory_segment(size * 2)

    monkeypatch.setattr(late, "_next_segment", too_late)
    with pytest.raises(SpoolClosedError):
        late.append(b"x" * 300_000)
    assert late.control.dropped == 0


def test_a_shipper_of_another_pipeline_is_stopped(tmp_path: Path) -> None:
    """It would keep a lock that nobody else could take."""
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))
    made = realm.configure(home=tmp_path, shipper="thread", exporters=["battle_log"])
    assert made is not None
    before = made._shipper
    assert isinstance(before, ThreadShipper)
    before.pipeline_dir = tmp_path / "elsewhere"
    made._let_be_shipped()
    assert made._shipper is not before
    assert before._thread is not None
    before._thread.join(60)  # asked to stop: a slow one is not waited for longer than a second
    assert not before._thread.is_alive()
    realm.emit("note", "1")
    assert realm.flush(60)
    realm.shutdown(5)
    appenders.set_current(appenders.Early(lambda: None))
