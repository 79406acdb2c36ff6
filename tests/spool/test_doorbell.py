"""A producer rings once for each sleep of the shipper, and only after its frame is in the spool."""

import os
from pathlib import Path

import pytest

from realm_telemetry.shipper.status import StatusPage
from realm_telemetry.spool import writer as writer_module
from realm_telemetry.spool.doorbell import STATUS_NAME, open_status_page, ring, sleeps_on
from realm_telemetry.spool.writer import SpoolWriter

PRODUCER = "00000000000000aa"


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames the spool had at each ring."""
    counted: list[int] = []
    spools: list[SpoolWriter] = []
    prepare = SpoolWriter.ring_for_shipper

    def remember(writer: SpoolWriter) -> None:
        spools.append(writer)
        prepare(writer)

    monkeypatch.setattr(SpoolWriter, "ring_for_shipper", remember)
    monkeypatch.setattr(
        writer_module, "ring", lambda directory: counted.append(spools[0].last_number)
    )
    return counted


def make_writer(pipeline_dir: Path, **options: object) -> SpoolWriter:
    pipeline_dir.mkdir(exist_ok=True)
    writer = SpoolWriter(pipeline_dir, PRODUCER, **options)  # type: ignore[arg-type]
    writer.ring_for_shipper()
    return writer


@pytest.mark.parametrize("sync", [False, True])
def test_it_rings_once_for_each_sleep(tmp_path: Path, rings: list[int], sync: bool) -> None:
    writer = make_writer(tmp_path / "p", sync=sync)
    page = StatusPage(tmp_path / "p")
    for _ in range(3):
        writer.append(b"x")
    assert rings == [1]  # it may have slept before this producer came
    page.count_sleep()
    for _ in range(3):
        writer.append(b"x")
    assert rings == [1, 4]
    for _ in range(5):
        page.count_sleep()
    assert writer.append_control({"type": "hello"})
    writer.append(b"x")
    assert rings == [1, 4, 6]
    page.leave()
    for _ in range(3):
        writer.append(b"x")
    assert rings == [1, 4, 6]  # nobody is left to hear it
    writer.close()


def test_an_event_that_is_dropped_rings_nobody(tmp_path: Path, rings: list[int]) -> None:
    writer = make_writer(tmp_path / "p", max_bytes=64 * 1024)
    while writer.append(b"x" * 4000):
        pass
    before = len(rings)
    StatusPage(tmp_path / "p").count_sleep()
    assert writer.append(b"x" * 4000) == 0
    assert len(rings) == before
    writer.close()


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_a_ring_leaves_no_descriptor_open_and_touches_the_page_alone(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    page = open_status_page(tmp_path)
    content, before = bytes(page), descriptors()
    os.utime(tmp_path / STATUS_NAME, ns=(0, 0))
    writer.append(b"x")
    assert (tmp_path / STATUS_NAME).stat().st_mtime_ns > 0
    assert bytes(page) == content
    assert descriptors() == before
    writer.close()


def test_a_pipeline_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    ring(tmp_path / "nowhere")


def test_a_producer_that_cannot_ring_says_so(tmp_path: Path) -> None:
    (tmp_path / STATUS_NAME).mkdir()
    writer = make_writer(tmp_path)
    assert writer.control.rings == 0
    assert writer.append(b"x") == 1
    writer.close()


def test_an_error_of_any_length_leaves_the_count_as_it_is(tmp_path: Path) -> None:
    page = StatusPage(tmp_path)
    page.count_sleep()
    page.show("e" * 10_000)
    assert sleeps_on(open_status_page(tmp_path))[0] == 1
    page.leave()


def test_the_count_goes_on_where_the_last_shipper_left_it(tmp_path: Path) -> None:
    for _ in range(2):
        page = StatusPage(tmp_path)
        page.count_sleep()
        page.leave()
    assert sleeps_on(open_status_page(tmp_path))[0] == 2
