"""A shipper sleeps after a silence, and whatever there is to do wakes it."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realm_telemetry.errors import ExportError
from realm_telemetry.shipper import doorbell as doorbell_module
from realm_telemetry.shipper import shipper as shipper_module
from realm_telemetry.shipper.status import StatusPage
from realm_telemetry.spool.doorbell import open_status_page, sleeps_on
from tests.waiting import SOON_S

from .conftest import Lab, Producer

NEVER_S = 30.0
"""For a test that a wake-up by the clock would spoil."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sleep soon, and then for long."""
    monkeypatch.setattr(shipper_module, "IDLE_AFTER_S", 0.3)
    monkeypatch.setattr(shipper_module, "SLEEP_S", NEVER_S)


def sleeps(lab: Lab) -> int:
    return int(sleeps_on(open_status_page(lab.pipeline_dir))[0])


@pytest.fixture
def asleep(lab: Lab, eventually: Callable[..., None]) -> Iterator[Producer]:
    """A producer whose shipper sleeps."""
    producer = lab.producer()
    running = lab.start()
    producer.emit()
    eventually(lambda: sleeps(lab) > 0)
    fall_asleep(lab)
    yield producer
    running.stop()


def fall_asleep(lab: Lab) -> None:
    """Wait until the count stands still; the log's upkeep begins after a second."""
    before = -1
    while before != (before := sleeps(lab)):
        time.sleep(1.2)


def test_an_event_wakes_it_at_once(
    lab: Lab, asleep: Producer, eventually: Callable[..., None]
) -> None:
    took_s = []
    for _ in range(5):
        time.sleep(0.5)
        began = time.monotonic()
        number = asleep.emit()
        eventually(lambda number=number: asleep.writer.control.stored_number == number)
        took_s.append(time.monotonic() - began)
    assert statistics.median(took_s) < SOON_S


def test_it_sleeps_on_while_nothing_happens(lab: Lab, asleep: Producer) -> None:
    before = sleeps(lab)
    time.sleep(1.0)
    doorbell = lab.running[0].shipper._doorbell
    assert doorbell is not None
    assert doorbell._sleeping
    assert sleeps(lab) == before


def test_a_new_producer_wakes_it(
    lab: Lab, asleep: Producer, eventually: Callable[..., None]
) -> None:
    other = lab.producer()
    other.emit()
    eventually(lambda: other.writer.control.stored_number == 1)


def test_a_producer_that_came_just_before_it_slept_is_seen(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    """Its ring was heard by nobody, because the shipper was awake."""
    producer = lab.producer()
    late: list[Producer] = []
    drain = doorbell_module.Doorbell._drain

    def come(doorbell: doorbell_module.Doorbell) -> None:
        if not late:
            late.append(lab.producer())
            late[0].emit()
        drain(doorbell)

    monkeypatch.setattr(doorbell_module.Doorbell, "_drain", come)
    producer.emit()
    running = lab.start()
    eventually(lambda: late and late[0].writer.control.stored_number == 1)
    running.stop()


@pytest.mark.parametrize("damage", ["no segment", "a frame that never checks"])
def test_what_cannot_be_read_keeps_it_awake_no_longer(
    lab: Lab, asleep: Producer, damage: str, eventually: Callable[..., None]
) -> None:
    number = asleep.emit()
    eventually(lambda: asleep.writer.control.stored_number == number)
    if damage == "no segment":
        for path in asleep.writer.directory.glob("seg-*"):
            path.unlink()
    else:
        cursor = asleep.writer.cursor
        cursor.mm[cursor.pos : cursor.pos + 8] = b"\xff" * 8
    fall_asleep(lab)
    time.sleep(0.5)
    before = sleeps(lab)
    time.sleep(1.0)
    assert sleeps(lab) - before < 10


def test_the_end_of_a_producer_wakes_it(
    lab: Lab, asleep: Producer, eventually: Callable[..., None]
) -> None:
    asleep.end()
    eventually(lambda: not asleep.writer.directory.exists())


def test_it_leaves_at_once_when_it_is_asked_to(lab: Lab, asleep: Producer) -> None:
    began = time.monotonic()
    lab.running[0].stop()
    assert time.monotonic() - began < SOON_S


def test_it_finishes_at_once_when_it_is_asked_to(lab: Lab, asleep: Producer) -> None:
    lab.running[0].shipper.finish()
    assert lab.running[0].join(SOON_S)


class Closed:
    """An exporter whose door stays closed for a while."""

    def __init__(self) -> None:
        self.is_open = False

    def export_events(self, events: object) -> None:
        if not self.is_open:
            raise ExportError("closed", retryable=True, retry_after_s=0.2)

    def shutdown(self) -> None:
        """Nothing is held."""


def test_a_delivery_that_moves_on_wakes_it(
    make_lab: Callable[..., Lab], eventually: Callable[..., None]
) -> None:
    exporter = Closed()
    lab = make_lab(exporters=["closed"])
    producer = lab.producer()
    producer.emit()
    running = lab.start(exporters={"closed": exporter})
    eventually(lambda: producer.writer.control.stored_number == 1)
    fall_asleep(lab)
    assert producer.writer.control.exported_number == 0
    exporter.is_open = True
    eventually(lambda: producer.writer.control.exported_number == 1)
    running.stop()


def test_it_stays_awake_for_a_producer_that_does_not_ring(
    lab: Lab, asleep: Producer, eventually: Callable[..., None]
) -> None:
    older = lab.producer(rings=False)
    older.emit()
    asleep.emit()
    eventually(lambda: older.writer.control.stored_number == 1)
    before = sleeps(lab)
    time.sleep(1.0)
    assert sleeps(lab) == before
    number = older.emit()
    eventually(lambda: older.writer.control.stored_number == number)


def test_a_ring_that_is_lost_costs_a_second(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    monkeypatch.setattr(shipper_module, "SLEEP_S", 1.0)
    producer = lab.producer()
    producer.writer.rung = 0
    running = lab.start()
    eventually(lambda: sleeps(lab) > 2)
    producer.writer.sleeps = (0,)
    number = producer.emit()
    eventually(lambda: producer.writer.control.stored_number == number)
    running.stop()


def test_without_a_watch_it_stays_awake(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    def refuse(pipeline_dir: Path, page: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(shipper_module, "Doorbell", refuse)
    producer = lab.producer()
    running = lab.start()
    eventually(lambda: "stays awake while nothing happens" in lab.log_text())
    number = producer.emit()
    eventually(lambda: producer.writer.control.stored_number == number)
    assert sleeps(lab) == 0
    running.stop()
    assert lab.log_text().count("stays awake") == 1


def test_a_doorbell_gives_all_descriptors_back(lab: Lab, asleep: Producer) -> None:
    page = StatusPage(lab.pipeline_dir)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        doorbell_module.Doorbell(lab.pipeline_dir, page).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
