"""Whose events the log takes under a producer's numbers, and what is no duplicate."""

import pytest

from realm_telemetry.event import FIRST_CONTENT_NUMBER, PROCESS_LOST_NUMBER, Event
from realm_telemetry.log.engine import Reader, Writer
from realm_telemetry.log.records import ProducerInfo

from .conftest import NOW, EngineUnderTest, make_event, receipt

A, B = "aa" * 16, "bb" * 16
PRODUCER = make_event(1).producer


def events(first: int, last: int, **changes: object) -> list[Event]:
    return [make_event(number, **changes) for number in range(first, last + 1)]


def kinds(reader: Reader) -> list[str]:
    return [row.event.kind for row in reader.now.after(0)]


def test_numbers_of_a_producer_of_this_log_are_taken_from_its_shipper_only(
    writer: Writer, reader: Reader
) -> None:
    """The forged ones are refused, so the real ones are no duplicates of them."""
    writer.append(events(1, 1), pipeline="here")
    for source in ("", A, writer.log_id):
        forged = writer.append(events(2, 51, kind="forged"), source=source)
        assert (forged.stored, forged.duplicates) == (0, 0)
        assert [each.position for each in forged.refused] == list(range(50))
        assert "writes to this log itself" in forged.refused[0].reason
    real = writer.append(events(2, 51), pipeline="here")
    assert (real.stored, real.duplicates, real.refused) == (50, 0, ())
    assert "forged" not in kinds(reader)
    assert receipt(reader).stored == 51


@pytest.mark.parametrize(
    ("number", "taken"),
    [(FIRST_CONTENT_NUMBER - 1, 0), (FIRST_CONTENT_NUMBER, 1), (PROCESS_LOST_NUMBER, 0)],
)
def test_only_numbers_that_count_are_refused(writer: Writer, number: int, taken: int) -> None:
    """Records of another library in the same process have numbers made of their content."""
    writer.append(events(1, 1), pipeline="here")
    assert writer.append([make_event(number)], source="").stored == taken


def test_what_is_stored_already_is_a_duplicate_whoever_sends_it(writer: Writer) -> None:
    """The exporter of a shipper may send what its own log has."""
    writer.append(events(1, 10), pipeline="here")
    again = writer.append(events(1, 10), source=A)
    assert (again.stored, again.duplicates, again.refused) == (0, 10, ())


@pytest.mark.parametrize("change", [{"kind": "other"}, {"time_unix_nano": NOW + 1}])
@pytest.mark.parametrize("registered", [True, False])
def test_an_event_with_the_id_of_another_is_no_duplicate(
    writer: Writer, change: dict[str, object], registered: bool
) -> None:
    writer.append(events(1, 3), pipeline="here" if registered else "")
    result = writer.append([*events(2, 2, **change), *events(3, 4)], pipeline="here")
    assert (result.stored, result.duplicates) == (1, 1)
    assert [(each.position, each.event_id) for each in result.refused] == [(0, make_event(2).id)]
    assert "its id is that of another event" in result.refused[0].reason


def test_two_events_with_one_id_in_one_batch_are_not_both_taken(writer: Writer) -> None:
    result = writer.append([make_event(1), make_event(1, kind="other"), make_event(1)])
    assert (result.stored, result.duplicates) == (1, 1)
    assert [each.position for each in result.refused] == [1]


def test_a_time_that_was_given_at_arrival_is_not_compared(writer: Writer) -> None:
    writer.append(events(1, 2))
    later = events(1, 2, time_unix_nano=NOW + 5)
    assert writer.append(later, untimed={later[0].id, later[1].id}).duplicates == 2
    assert len(writer.append(later, untimed={later[0].id}).refused) == 1


@pytest.mark.parametrize(
    ("number", "compared"),
    [(FIRST_CONTENT_NUMBER - 1, True), (FIRST_CONTENT_NUMBER, False), (PROCESS_LOST_NUMBER, False)],
)
def test_numbers_made_of_content_are_not_compared(
    writer: Writer, number: int, compared: bool
) -> None:
    """A record without a time has that of its arrival; `process_lost` is stored again."""
    writer.append([make_event(number)])
    again = writer.append([make_event(number, time_unix_nano=NOW + 9)])
    assert (again.duplicates, len(again.refused)) == ((0, 1) if compared else (1, 0))


def test_what_retention_has_removed_is_still_refused_as_a_duplicate(
    engine: EngineUnderTest, writer: Writer
) -> None:
    """There is no row to compare with."""
    stored = writer.append(events(1, 3), pipeline="here")
    engine.remove(writer, range(stored.first_cursor, stored.last_cursor + 1))
    again = writer.append(events(1, 3, kind="other"), source=A)
    assert (again.stored, again.duplicates, again.refused) == (0, 3, ())


def test_a_producer_of_another_log_is_taken_from_that_log_only(writer: Writer) -> None:
    assert writer.register_producer(ProducerInfo(PRODUCER, "remote/p", origin=A))
    assert writer.append(events(1, 5), source=A).stored == 5
    for source in (B, "", writer.log_id):
        result = writer.append(events(5, 6), source=source)
        assert (result.stored, result.duplicates) == (0, 1)
        assert f"come from the log {A}" in result.refused[0].reason
        assert not writer.register_producer(ProducerInfo(PRODUCER, "remote/q", origin=source))
    assert writer.append(events(6, 6), source=A).stored == 1


def test_a_producer_of_a_sender_without_a_log_is_bound_to_none(writer: Writer) -> None:
    """Senders of 0.1.0 and OTLP name no log; whoever comes later does not take it over."""
    assert writer.register_producer(ProducerInfo(PRODUCER, "remote/p", origin=""))
    assert writer.append(events(1, 2), source="").stored == 2
    assert writer.register_producer(ProducerInfo(PRODUCER, "remote/p", origin=B))
    assert writer.append(events(3, 3), source=B).stored == 1
    assert writer.append(events(4, 4), source="").stored == 1


def test_a_sender_cannot_take_a_producer_of_this_log_over(writer: Writer, reader: Reader) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, "here", {"service.name": "trainer"}))
    assert not writer.register_producer(ProducerInfo(PRODUCER, "remote/x", origin=""))
    (info,) = reader.now.producers()
    assert (info.pipeline, info.resource) == ("here", {"service.name": "trainer"})
    assert writer.append(events(1, 1), pipeline="here").stored == 1


@pytest.mark.parametrize("pipeline", ["import", "replay"])
def test_a_producer_known_by_an_import_or_a_replay_is_bound_to_nothing(
    writer: Writer, pipeline: str
) -> None:
    writer.note_resource(PRODUCER, pipeline, {})
    writer.append(events(1, 2))
    assert writer.append(events(3, 3), source=A).stored == 1


def test_stored_numbers_are_those_of_the_receipt(writer: Writer) -> None:
    assert writer.stored_numbers(PRODUCER).pairs() == []
    last = make_event(PROCESS_LOST_NUMBER)
    writer.append([*events(1, 3), *events(7, 7), last], pipeline="here")
    assert writer.stored_numbers(PRODUCER).pairs() == [(1, 3), (7, 7)]
