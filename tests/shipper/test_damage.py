"""What a power failure or a bad disk leaves of a spool: every whole frame is stored, once."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.spool.control import Control
from realm_telemetry.spool.frames import (
    FORMAT_EVENT,
    FORMATS,
    HEADER,
    HEADER_BYTES,
    encode_msgpack,
    parse_frame,
)
from realm_telemetry.spool.segment import CONTROL_BYTES, SEGMENT_HEADER_BYTES, segment_paths

Damage = Callable[[Path], None]

PER_SEGMENT = 280
"""Events of 900 bytes that fill the first segment."""


def filled(lab: Any, count: int) -> Any:
    """A producer with so many events in several segments of 256 KiB."""
    producer = lab.producer()
    producer.writer.max_bytes = 2 * 1024 * 1024
    for step in range(count):
        producer.emit(step=step, filling="x" * 850)
    return producer


def segments(directory: Path) -> list[Path]:
    """Segments in the order they were begun."""
    return sorted(segment_paths(directory), key=lambda path: path.name.split("-")[2])


def whole_numbers(directory: Path) -> set[int]:
    """The events whose frames are whole, found without the reader: byte by byte."""
    found: set[int] = set()
    for path in segment_paths(directory):
        data = path.read_bytes()
        at = 0
        while at < len(data) - HEADER_BYTES:
            length, _, format_, number = HEADER.unpack_from(data, at)
            if length and format_ in FORMATS and number < 2**40:
                frame = parse_frame(data, at, len(data))
                if frame is not None:
                    if frame[0] == FORMAT_EVENT:
                        found.add(frame[1])
                    at += HEADER_BYTES + length
                    continue
            at += 1
    return found


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def events_dropped(lab: Any) -> list[dict[str, Any]]:
    return [row.event.details for row in lab.rows() if row.event.kind == "events_dropped"]


def receipt(lab: Any, producer: str) -> Any:
    with LogReader(lab.log_path) as reader:
        return {each.producer: each for each in reader.now.receipts()}[producer]


def zero_header(path: Path) -> None:
    overwrite(path, 0, bytes(SEGMENT_HEADER_BYTES))


def random_header(path: Path) -> None:
    overwrite(path, 0, b"\xa7" * SEGMENT_HEADER_BYTES)


def high_index(path: Path) -> None:
    overwrite(path, 16, (2**63).to_bytes(8, "little"))


def low_index(path: Path) -> None:
    overwrite(path, 16, bytes(8))


def unknown_state(path: Path) -> None:
    overwrite(path, 8, b"\x07")


def more_bytes(path: Path) -> None:
    with path.open("ab") as file:
        file.write(os.urandom(10_000))


def shifted(path: Path) -> None:
    path.write_bytes(b"front" + path.read_bytes())


def unchanged(path: Path) -> None:
    shutil.copy(path, path.with_name("seg-copy"))


HEADERS: Sequence[Damage] = (
    zero_header,
    random_header,
    high_index,
    low_index,
    unknown_state,
    more_bytes,
    shifted,
    unchanged,
)


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("damage", HEADERS, ids=lambda each: each.__name__)
def test_damage_outside_frames_costs_no_event(lab: Any, damage: Damage, which: int) -> None:
    producer = filled(lab, 3 * PER_SEGMENT)
    producer.end()
    files = segments(producer.writer.directory)
    assert len(files) >= 3
    damage(files[which])
    lab.ship()
    assert lab.numbers(producer.id) == list(range(1, 3 * PER_SEGMENT + 1)), "in their order"
    assert receipt(lab, producer.id).complete
    assert not producer.writer.directory.exists()


def torn_page(path: Path) -> None:
    overwrite(path, 8192, bytes(4096))


def random_page(path: Path) -> None:
    overwrite(path, 8192, os.urandom(4096))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 7)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def removed(path: Path) -> None:
    path.unlink()


LOSSES: Sequence[Damage] = (torn_page, random_page, cut, emptied, removed)


@pytest.mark.parametrize("damage", LOSSES, ids=lambda each: each.__name__)
def test_what_is_damaged_is_reported_and_all_else_is_stored(lab: Any, damage: Damage) -> None:
    """By an event, with the count; the receipt is not complete."""
    producer = filled(lab, 3 * PER_SEGMENT)
    producer.end()
    damage(segments(producer.writer.directory)[1])
    whole = whole_numbers(producer.writer.directory)
    assert len(whole) < 3 * PER_SEGMENT
    lab.ship()
    assert lab.numbers(producer.id) == sorted(whole)
    assert not receipt(lab, producer.id).complete
    (report,) = events_dropped(lab)
    assert report["count"] == 3 * PER_SEGMENT - len(whole)
    assert report["producer"] == producer.id


def test_a_whole_spool_reports_nothing(lab: Any) -> None:
    producer = filled(lab, 2 * PER_SEGMENT)
    producer.end()
    lab.ship()
    assert events_dropped(lab) == []
    assert not (lab.spool_root / "quarantine").exists()


def random_page_of_control(path: Path) -> None:
    path.write_bytes(os.urandom(CONTROL_BYTES))


def all_ones(path: Path) -> None:
    path.write_bytes(b"\xff" * CONTROL_BYTES)


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(CONTROL_BYTES))


def other_version(path: Path) -> None:
    path.write_bytes(b"RLMCTL9\n" + b"\x01\x02\x03" * 1000)


def high_words(path: Path) -> None:
    """The head is whole, and what follows is not."""
    overwrite(path, 64, b"\xfe" * 16)
    overwrite(path, 2048, b"\xfe" * 32)


def plausible_words(path: Path) -> None:
    """All is stored, it says; and everything is exported."""
    overwrite(path, 2048, (500).to_bytes(8, "little") * 2)


CONTROLS: Sequence[Damage] = (
    random_page_of_control,
    all_ones,
    zeroed,
    other_version,
    high_words,
    plausible_words,
    cut,
    emptied,
    removed,
)


@pytest.mark.parametrize("damage", CONTROLS, ids=lambda each: each.__name__)
def test_nothing_is_freed_because_a_control_page_says_so(lab: Any, damage: Damage) -> None:
    """Events and the receipt are those of the frames; the neighbour is stored too."""
    producer, neighbour = filled(lab, 300), lab.producer()
    neighbour.emit_many(5)
    producer.end()
    neighbour.end()
    damage(producer.writer.directory / "control")
    lab.ship()
    assert lab.numbers(producer.id) == list(range(1, 301))
    assert lab.numbers(neighbour.id) == [1, 2, 3, 4, 5]
    found = receipt(lab, producer.id)
    assert (found.emitted, found.dropped, found.complete) == (300, 0, True)


@pytest.mark.parametrize("damage", CONTROLS[:6], ids=lambda each: each.__name__)
def test_a_damaged_page_of_a_live_producer_is_corrected_by_the_log(
    lab: Any, damage: Damage, eventually: Callable[..., None]
) -> None:
    """The next shipper stores what is missing, and the page says what the log has."""
    producer = lab.producer()
    producer.emit_many(20)
    lab.ship()
    damage(producer.writer.directory / "control")
    producer.emit_many(10)
    lab.ship()
    assert lab.numbers(producer.id) == list(range(1, 31))
    page = Control(producer.writer.directory / "control")
    assert page.stored_number == 30
    assert page.undelivered <= 2**64 - 1
    page.close()
    producer.end()


def test_the_page_goes_on_where_the_log_is_when_no_frame_is_left(lab: Any) -> None:
    """A zeroed page of a live producer: `flush` must not wait for what was freed."""
    producer = filled(lab, PER_SEGMENT)
    lab.ship()
    zeroed(producer.writer.directory / "control")
    for path in segments(producer.writer.directory)[:-1]:
        path.unlink()
    lab.ship()
    page = Control(producer.writer.directory / "control")
    assert page.stored_number == PER_SEGMENT
    page.close()
    producer.end()


def test_a_copied_spool_adds_nothing(lab: Any) -> None:
    """Neither events under another name, nor the end of a producer that lives."""
    producer = lab.producer()
    producer.emit_many(10)
    copy = lab.pipeline_dir / "fedcba9876543210"
    shutil.copytree(producer.writer.directory, copy)
    lab.ship()
    lab.ship()
    assert {row.event.producer for row in lab.rows()} == {producer.id}
    assert lab.numbers(producer.id) == list(range(1, 11))
    assert not copy.exists()
    producer.emit_many(2)
    producer.end()
    lab.ship()
    assert lab.numbers(producer.id) == list(range(1, 13))
    assert receipt(lab, producer.id).complete


def test_a_copy_alone_gives_its_events_to_their_producer(lab: Any) -> None:
    producer = lab.producer()
    producer.emit_many(10)
    producer.end()
    producer.writer.directory.rename(lab.pipeline_dir / "fedcba9876543210")
    lab.ship()
    assert lab.numbers(producer.id) == list(range(1, 11))


def test_a_directory_whose_name_is_no_producer_is_left_alone(lab: Any) -> None:
    producer = lab.producer()
    producer.emit_many(3)
    shutil.copytree(producer.writer.directory, lab.pipeline_dir / "backup-of-a-spol")
    producer.end()
    lab.ship()
    assert lab.numbers(producer.id) == [1, 2, 3]
    assert (lab.pipeline_dir / "backup-of-a-spol").is_dir()


UNDECODABLE = {
    "no msgpack": b"\xc1",
    "another shape": encode_msgpack({"kind": "x"}),
    "too few fields": encode_msgpack([1, "kind"]),
    "wrong types": encode_msgpack(["now", 1, 2, 3, 4, 5]),
    "no text": b"\x96\x01\xa4\xff\xfe\xfd\xfcxxxx",
    "too deep": b"\x96\x01\xa1k\xa8training\xa4info\xa1m\x81\xa1a" + b"\x91" * 60_000 + b"\xc0",
}


@pytest.mark.parametrize("payload", UNDECODABLE.values(), ids=UNDECODABLE.keys())
def test_a_payload_that_is_no_event_stops_no_neighbour(lab: Any, payload: bytes) -> None:
    """Its checksum is right. It is quarantined, and an event says so."""
    producer, neighbour = lab.producer(), lab.producer()
    producer.emit()
    producer.writer.append(payload)
    producer.emit()
    neighbour.emit_many(3)
    producer.end()
    neighbour.end()
    lab.ship()
    assert lab.numbers(producer.id) == [1, 3]
    assert lab.numbers(neighbour.id) == [1, 2, 3]
    assert [report["count"] for report in events_dropped(lab)] == [1]
    assert len(list((lab.spool_root / "quarantine").iterdir())) == 1


@pytest.mark.parametrize(
    "message",
    [
        {"type": "hello", "resource": 5},
        {"type": "hello", "resource": ["x"], "forked": {}},
        {"type": ["goodbye"]},
        {"type": "goodbye", "emitted": -1, "dropped": 2**63},
        {"type": "goodbye", "emitted": "many"},
        {"type": "kind", "kind": 7},
    ],
)
def test_a_control_frame_of_another_shape_stops_no_neighbour(lab: Any, message: Any) -> None:
    producer, neighbour = lab.producer(), lab.producer()
    producer.emit()
    producer.writer.append_control(message)
    producer.emit()
    neighbour.emit()
    producer.end()
    neighbour.end()
    lab.ship()
    assert lab.numbers(producer.id) == [1, 2]
    assert lab.numbers(neighbour.id) == [1]
    assert receipt(lab, producer.id).complete


@pytest.mark.parametrize("data", [b"", b"\xff" * 500, encode_msgpack({"shipped": True})])
def test_notes_that_are_damaged_cost_nothing(lab: Any, data: bytes) -> None:
    """Above all not those that say that everything is shipped, beside whole segments."""
    producer = lab.producer()
    producer.emit_many(10)
    producer.end()
    (producer.writer.directory / "notes").write_bytes(data)
    lab.ship()
    assert lab.numbers(producer.id) == list(range(1, 11))


def test_a_page_that_names_another_beside_a_damaged_segment_is_not_believed(lab: Any) -> None:
    producer = lab.producer()
    producer.emit_many(10)
    producer.die()
    overwrite(producer.writer.directory / "control", 8, b"\0")
    (segment,) = producer.writer.directory.glob("seg-*")
    overwrite(segment, 0, b"\0")
    lab.ship()
    numbers = [number for number in lab.numbers(producer.id) if number < 2**63]
    assert numbers == list(range(1, 11))


@pytest.mark.slow
@settings(
    max_examples=settings().max_examples * 3 // 5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_whatever_is_damaged_every_whole_frame_is_stored_once_and_nothing_else(
    make_lab: Any, data: st.DataObject
) -> None:
    """Random bytes anywhere in a spool; the shipper goes on, and the neighbour is stored."""
    lab = make_lab(f"home-{os.urandom(4).hex()}")
    producer, neighbour = lab.producer(), lab.producer()
    producer.writer.max_bytes = 64 * 1024
    count = data.draw(st.integers(1, 150))
    for step in range(count):
        producer.emit(step=step, filling="y" * data.draw(st.integers(0, 300)))
    neighbour.emit_many(3)
    if data.draw(st.booleans()):
        producer.end()
    else:
        producer.die()
    neighbour.end()
    directory = producer.writer.directory
    for _ in range(data.draw(st.integers(1, 6))):
        files = sorted(path for path in directory.iterdir() if path.name != "lock")
        path = data.draw(st.sampled_from(files))
        size = path.stat().st_size
        # Most of a segment is not written yet.
        offset = data.draw(st.integers(0, min(size, 30_000)))
        way = data.draw(st.sampled_from(["bytes", "zeros", "cut", "copy"]))
        if way == "cut":
            os.truncate(path, offset)
        elif way == "copy":
            shutil.copy(path, path.with_name(f"{path.name}-copy"))
        else:
            length = data.draw(st.integers(1, 5000))
            junk = bytes(length) if way == "zeros" else data.draw(st.binary(max_size=64))
            overwrite(path, offset, junk)
    whole = whole_numbers(directory)
    lab.ship()
    numbers = [number for number in lab.numbers(producer.id) if number < 2**63]
    assert sorted(numbers) == sorted(whole)
    assert lab.numbers(neighbour.id) == [1, 2, 3]
    assert not directory.exists()
