"""What became of a producer's events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.event import PROCESS_LOST_NUMBER
from realm_telemetry.log import ProducerInfo, Receipt
from realm_telemetry.log.engine import Reader, Writer
from realm_telemetry.log.ranges import Ranges, runs_of

from .conftest import NOW, PRODUCER, EngineUnderTest, make_event, receipt

_spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=12)


@given(_spans, st.integers(0, 50), st.integers(0, 8))
def test_ranges_are_a_set_of_numbers(spans: list[tuple[int, int]], first: int, length: int) -> None:
    ranges, numbers = Ranges(), set[int]()
    for start, count in spans:
        added = set(range(start, start + count + 1))
        assert ranges.add(start, start + count) == len(added - numbers)
        numbers |= added
    probe = set(range(first, first + length + 1))
    assert len(ranges) == len(numbers)
    assert ranges.overlaps(first, first + length) == bool(probe & numbers)
    assert ranges.covers(first, first + length) == (probe <= numbers)
    assert Ranges.load(ranges.dump()).pairs() == ranges.pairs()
    gaps = zip(ranges.pairs(), ranges.pairs()[1:], strict=False)
    assert all(left[1] + 1 < right[0] for left, right in gaps)


def test_numbers_of_64_bits_are_kept_exactly() -> None:
    assert Ranges.load(Ranges([(PROCESS_LOST_NUMBER, PROCESS_LOST_NUMBER)]).dump()).pairs() == [
        (PROCESS_LOST_NUMBER, PROCESS_LOST_NUMBER)
    ]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6))))
def test_runs_cut_a_batch_without_losing_an_event(ids: list[tuple[str, int]]) -> None:
    events = [make_event(number, producer=letter * 16) for letter, number in ids]
    found = []
    for run in runs_of(events):
        assert run.stop - run.start == run.last - run.first + 1
        found += [(run.producer, number) for number in range(run.first, run.last + 1)]
    assert found == [(event.producer, event.number) for event in events]


def test_a_receipt_is_complete_when_every_number_is_stored(writer: Writer, reader: Reader) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, "main"))
    assert receipt(reader) == Receipt(PRODUCER, "main", None, 0, 0, False, False)
    writer.append([make_event(1), make_event(3)])
    writer.record_receipt(PRODUCER, emitted=3, dropped=0, ended=True)
    assert receipt(reader) == Receipt(PRODUCER, "main", 3, 2, 0, True, False)
    writer.append([make_event(2)])
    assert receipt(reader) == Receipt(PRODUCER, "main", 3, 3, 0, True, True)


def test_a_dropped_event_leaves_a_receipt_incomplete(writer: Writer, reader: Reader) -> None:
    writer.register_producer(ProducerInfo(PRODUCER))
    writer.append([make_event(1)])
    writer.record_receipt(PRODUCER, emitted=1, dropped=4)
    assert receipt(reader).dropped == 4
    assert not receipt(reader).complete


def test_numbers_that_need_no_row_count_as_done(writer: Writer, reader: Reader) -> None:
    writer.register_producer(ProducerInfo(PRODUCER))
    writer.append([make_event(2)], skipped={PRODUCER: [(1, 1), (3, 3)]})
    writer.record_receipt(PRODUCER, emitted=3)
    assert receipt(reader).complete
    assert receipt(reader).stored == 1


def test_a_receipt_of_a_stranger_counts_what_is_there(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(1), make_event(2)])
    writer.record_receipt(PRODUCER, emitted=2)
    assert receipt(reader).complete
    assert receipt(reader).stored == 2


def test_a_receipt_says_how_far_its_clock_is_off(writer: Writer, reader: Reader) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, clock_offset_ns=-3_000_000_000))
    assert receipt(reader).clock_offset_ns == -3_000_000_000


def test_the_loss_of_a_process_is_not_one_of_its_numbers(writer: Writer, reader: Reader) -> None:
    writer.register_producer(ProducerInfo(PRODUCER))
    writer.append([make_event(1), make_event(PROCESS_LOST_NUMBER, time_unix_nano=NOW)])
    writer.record_receipt(PRODUCER, emitted=1)
    assert receipt(reader).stored == 1
    assert receipt(reader).complete
    assert writer.append([make_event(PROCESS_LOST_NUMBER, time_unix_nano=NOW)]).stored == 0


def test_a_receipt_never_depends_on_rows(
    engine: EngineUnderTest, writer: Writer, reader: Reader
) -> None:
    writer.register_producer(ProducerInfo(PRODUCER))
    writer.append([make_event(1), make_event(2)])
    writer.record_receipt(PRODUCER, emitted=2)
    engine.remove(writer, (1, 2))
    assert receipt(reader).complete


def test_a_producer_keeps_its_numbers_when_it_registers_again(
    writer: Writer, reader: Reader
) -> None:
    info = ProducerInfo(PRODUCER, "main", {"service.name": "lab"}, False, -5)
    writer.register_producer(info)
    writer.append([make_event(1), make_event(2, kind="training_step", details={"step": 40})])
    writer.register_producer(info)
    (known,) = reader.now.producers()
    assert (known.resource, known.history, known.clock_offset_ns) == (
        {"service.name": "lab"},
        False,
        -5,
    )
    assert (known.last_kind, known.last_step) == ("training_step", 40)
    assert receipt(reader).stored == 2


@pytest.mark.parametrize("pipeline", ["", "main"])
def test_naming_a_pipeline_registers_its_producers(
    writer: Writer, reader: Reader, pipeline: str
) -> None:
    writer.append([make_event(1)], pipeline=pipeline)
    assert [info.pipeline for info in reader.now.producers()] == ([pipeline] if pipeline else [])
