"""Appending to the log."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_telemetry.event import Event, InvalidEventError
from realm_telemetry.log import Filters, ProducerInfo
from realm_telemetry.log.engine import Log, Reader, Writer
from realm_telemetry.redaction import Redactor

from .conftest import HOUR, NOW, PRODUCER, SECOND, Clock, EngineUnderTest, make_event

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_key = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_name = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_key, inner, max_size=3),
    max_leaves=6,
)
_events = st.builds(
    Event,
    kind=st.sampled_from(["training_step", "job_started", "gradient_exploded"]),
    channel=st.sampled_from(["training", "jobs"]),
    severity=st.sampled_from(["info", "error"]),
    message=_text,
    details=st.dictionaries(_key, _json, max_size=4),
    time_unix_nano=st.integers(-(2**63), 2**63 - 1),
    producer=st.just(PRODUCER),
    number=st.integers(0, 2**64 - 1),
    hero_id=_name,
    campaign_id=_name,
    run_id=_name,
    source=_name,
    trace_id=st.none() | st.just("0af7651916cd43dd8448eb211c80319c"),
    span_id=st.none() | st.just("b7ad6b7169203331"),
    trace_flags=st.integers(0, 255),
    rank=st.none() | st.integers(0, 2**32 - 1),
    webhooks=st.just(()) | st.just(("https://example.org/hook",)),
)


@settings(max_examples=settings().max_examples * 3 // 5, deadline=None)
@given(st.lists(_events, max_size=5, unique_by=lambda event: event.number))
def test_every_event_comes_back_as_it_went_in(
    engine: EngineUnderTest, tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    path = tmp_path_factory.mktemp("log") / "jobs.db"
    log = engine.open(path, Clock())
    with log.writer() as writer, log.reader() as reader:
        writer.append(events)
        stored = [row.event for row in reader.now.after(0, webhooks=True)]
    # Random names and texts may be secrets: hypothesis knows the words of the package.
    clean = Redactor().batch(events)
    assert stored == [msgspec.structs.replace(event, observed_unix_nano=NOW) for event in clean]


def test_an_append_says_which_rows_it_made(writer: Writer) -> None:
    first = writer.append([make_event(1), make_event(2)])
    second = writer.append([make_event(2), make_event(3), make_event(2)])
    assert (first.first_cursor, first.last_cursor, first.stored, first.duplicates) == (1, 2, 2, 0)
    assert (second.stored, second.duplicates) == (1, 2)
    assert second.first_cursor <= second.last_cursor
    nothing = writer.append([])
    assert (nothing.first_cursor, nothing.last_cursor, nothing.stored) == (0, 0, 0)


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100, 101, 999, 1000])
def test_a_batch_of_any_size_is_stored_in_order(writer: Writer, reader: Reader, count: int) -> None:
    writer.append([make_event(number) for number in range(1, count + 1)])
    assert [row.event.number for row in reader.now.after(0)] == list(range(1, count + 1))


def test_arrival_is_when_the_log_got_it(writer: Writer, reader: Reader, clock: Clock) -> None:
    clock.now_ns = NOW + 61 * SECOND + 1
    writer.append(
        [
            make_event(1, time_unix_nano=NOW, observed_unix_nano=5),
            make_event(2, time_unix_nano=NOW + 2 * SECOND),
        ]
    )
    late, prompt = (row.event for row in reader.now.after(0))
    assert late.observed_unix_nano == clock.now_ns
    assert late.late
    assert not prompt.late


def test_a_failed_append_stores_nothing(writer: Writer, reader: Reader) -> None:
    with pytest.raises(InvalidEventError, match="producer must be 16 hex digits"):
        writer.append([make_event(1), make_event(2, producer="nonsense")])
    assert reader.now.after(0) == []
    assert reader.now.page(Filters()).total == 0


def test_values_that_neither_json_nor_sqlite_take_are_mended(
    writer: Writer, reader: Reader
) -> None:
    writer.append(
        [
            make_event(1, message="half \ud83d an emoji", details={"big": 2**70}),
            make_event(2, time_unix_nano=2**70),
        ]
    )
    first, second = (row.event for row in reader.now.after(0))
    assert first.message == "half \ufffd an emoji"
    assert second.time_unix_nano == 2**63 - 1


def test_a_field_of_the_wrong_type_costs_no_event(writer: Writer, reader: Reader) -> None:
    wrong = [make_event(1, message=None), make_event(2, hero_id=7), make_event(3, run_id={"a": 1})]
    assert writer.append(wrong).stored == 3
    events = [row.event for row in reader.now.after(0)]
    assert [event.message for event in events] == ["None", "Job 2 started", "Job 3 started"]
    assert (events[1].hero_id, events[2].run_id) == ("7", "{'a': 1}")


def test_cursors_of_an_append_are_of_rows_it_stored(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(1), make_event(2)])
    result = writer.append([make_event(1), make_event(3), make_event(4), make_event(2)])
    stored = [row.cursor for row in reader.now.after(2)]
    assert (result.first_cursor, result.last_cursor) == (stored[0], stored[-1])
    assert reader.now.max_cursor() == stored[-1]


def test_webhook_addresses_are_kept_apart_from_the_event(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(1), make_event(2, webhooks=("https://example.org/secret",))])
    writer.append([make_event(2, webhooks=("https://example.org/other",))])
    assert [row.event.webhooks for row in reader.now.after(0)] == [(), ()]
    asked = reader.now.after(0, webhooks=True)
    assert [row.event.webhooks for row in asked] == [(), ("https://example.org/secret",)]
    assert "secret" not in repr(reader.now.after(0))


def test_what_was_stored_once_is_refused_even_after_its_row_is_gone(
    engine: EngineUnderTest, writer: Writer, reader: Reader
) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, "main"))
    writer.append([make_event(number) for number in range(1, 11)])
    engine.remove(writer, range(1, 6))
    again = writer.append([make_event(number) for number in range(3, 13)])
    assert (again.stored, again.duplicates) == (2, 8)
    assert [row.event.number for row in reader.now.after(0)] == [6, 7, 8, 9, 10, 11, 12]


def test_a_producer_registered_late_knows_what_it_had_stored(
    engine: EngineUnderTest, writer: Writer
) -> None:
    writer.append([make_event(1), make_event(2)])
    writer.register_producer(ProducerInfo(PRODUCER))
    engine.remove(writer, (1, 2))
    assert writer.append([make_event(2), make_event(3)]).stored == 1


def test_two_writers_agree_on_duplicates(engine: EngineUnderTest, log: Log, writer: Writer) -> None:
    writer.register_producer(ProducerInfo(PRODUCER))
    with log.writer() as other:
        assert writer.append([make_event(1)]).stored == 1
        assert other.append([make_event(1), make_event(2)]).stored == 1
        engine.remove(writer, (1, 2))
        assert writer.append([make_event(2), make_event(3)]).stored == 1


def test_counts_are_of_rows_not_of_attempts(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(1), make_event(2, time_unix_nano=NOW + HOUR)])
    writer.append([make_event(1), make_event(3, severity="error")])
    assert reader.now.channels() == {"jobs": {"info": 2, "error": 1}}


def test_the_log_id_stays(log: Log, writer: Writer) -> None:
    with log.writer() as again, log.reader() as reader:
        assert again.log_id == writer.log_id == reader.log_id
    assert len(writer.log_id) == 32


def test_cursors_belong_to_pipeline_and_exporter(writer: Writer, reader: Reader) -> None:
    writer.save_cursor("main", "otlp", 5)
    writer.save_cursor("main", "otlp", 9)
    writer.save_cursor("main", "webhook", 2)
    writer.save_cursor("other", "otlp", 1)
    assert writer.load_cursors("main") == {"otlp": 9, "webhook": 2}
    writer.drop_cursor("main", "webhook")
    assert reader.now.cursors("main") == {"otlp": 9}


def test_a_dead_letter_keeps_the_event_id(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(7)])
    writer.add_dead_letter("main", "otlp", 1, "413 too large")
    writer.add_dead_letter("main", "otlp", 99, "gone")
    first, second = reader.now.dead_letters("main")
    assert (first.event_id, first.reason, first.cursor) == (make_event(7).id, "413 too large", 1)
    assert second.event_id is None
    assert reader.now.dead_letters("other") == []


def test_text_that_utf_8_cannot_carry_is_mended_and_costs_no_neighbour(
    writer: Writer, reader: Reader
) -> None:
    cut = "cut \ud83d"
    odd = make_event(2, message=cut, details={"text": cut, "\ude00": [cut, {cut: 1}]}, hero_id=cut)
    writer.append([make_event(1), odd, make_event(3)])
    first, second, third = (row.event for row in reader.now.after(0))
    assert (first.number, third.number) == (1, 3)
    assert (second.message, second.hero_id) == ("cut \ufffd", "cut \ufffd")
    assert second.details == {
        "text": "cut \ufffd",
        "\ufffd": ["cut \ufffd", {"cut \ufffd": 1}],
    }
