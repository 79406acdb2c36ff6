"""Reading in order of arrival, and rows that keep the arrival of another log."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm_telemetry.event import LATE_AFTER_NS
from realm_telemetry.log import Filters, ProducerInfo
from realm_telemetry.log.engine import Log, Reader, Writer
from realm_telemetry.log.records import Limits

from .conftest import HOUR, NOW, SECOND, Clock, EngineUnderTest, make_event, scattered


def read(reader: Reader, filters: Filters, as_of: int | None = None) -> list[int]:
    return [row.cursor for step in reader.arrivals(filters, as_of) for row in step.rows]


def test_arrivals_are_the_rows_of_the_filter_in_id_order(writer: Writer, reader: Reader) -> None:
    for start in range(0, 2500, 500):
        writer.append(scattered(2500)[start : start + 500])
    everything = [row for step in reader.arrivals(Filters()) for row in step.rows]
    assert [row.cursor for row in everything] == list(range(1, 2501))
    assert len(list(reader.arrivals(Filters()))) == 3
    for filters in (
        Filters(since_unix_nano=NOW - 10 * HOUR, until_unix_nano=NOW - HOUR),
        Filters(channels=("jobs",), heroes=("dio",)),
        Filters(q="job 77 started"),
        Filters(since_unix_nano=NOW + HOUR),
    ):
        wanted = [row.cursor for row in everything if filters.matches(row.event)]
        assert read(reader, filters) == wanted
    assert read(reader, Filters(), as_of=1200) == list(range(1, 1201))


def test_arrivals_begin_behind_what_was_trimmed(
    engine: EngineUnderTest, writer: Writer, reader: Reader
) -> None:
    writer.append([make_event(number) for number in range(1, 11)])
    engine.remove(writer, range(1, 5))
    assert read(reader, Filters()) == list(range(5, 11))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=settings().max_examples // 2,
)
@given(
    ids=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 30)), max_size=40, unique=True),
    registered=st.booleans(),
)
def test_stored_numbers_are_known_before_they_are_sent_again(
    engine: EngineUnderTest,
    tmp_path_factory: pytest.TempPathFactory,
    ids: list[tuple[str, int]],
    registered: bool,
) -> None:
    events = [make_event(number, producer=name * 16) for name, number in ids]
    path = tmp_path_factory.mktemp("log") / "jobs.db"
    log = engine.open(path, Clock())
    with log.writer() as writer, log.reader() as reader:
        if registered:
            writer.register_producer(ProducerInfo("a" * 16))
        writer.append(events[::2])
        assert reader.now.stored_among(events) == len(events[::2])
        assert writer.append(events).duplicates == len(events[::2])


def test_a_kept_arrival_decides_what_is_late_and_not_what_is_trimmed(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    year = 365 * 24 * HOUR
    long_ago = NOW - year
    old = [
        make_event(1, time_unix_nano=long_ago, observed_unix_nano=long_ago + SECOND),
        make_event(2, time_unix_nano=long_ago, observed_unix_nano=long_ago + 2 * LATE_AFTER_NS),
    ]
    writer.append(old, keep_arrival=True)
    writer.append([make_event(3, time_unix_nano=long_ago, observed_unix_nano=long_ago)])
    events = [row.event for row in reader.now.after(0)]
    assert events[:2] == old
    assert events[2].observed_unix_nano == clock.now_ns
    assert [event.late for event in events] == [False, True, True]
    assert [row.cursor for row in reader.now.latest()] == [1]
    assert log.retention(writer, Limits()).step().removed == 0
    clock.now_ns += 31 * 24 * HOUR
    assert log.retention(writer, Limits()).step().removed == 3
