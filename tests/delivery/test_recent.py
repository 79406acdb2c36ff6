"""What a service has stored lately is handed on from memory as the log would hand it on."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_telemetry.delivery.sources import RecentOfLog, WholeLog, without_webhooks
from realm_telemetry.event import Event
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.rows import LogRow
from realm_telemetry.testing import FakeClock
from tests.kinds.test_event_json import EVENTS

ONE = "11" * 8
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def log(path: Path) -> Iterator[LogWriter]:
    with LogWriter(path) as writer:
        yield writer


def note(number: int, details: dict[str, object] | None = None, **fields: object) -> Event:
    return Event(
        kind="note",
        channel="system",
        severity="info",
        message="a",
        details=details or {},
        time_unix_nano=time.time_ns(),
        producer=ONE,
        number=number,
        **fields,  # type: ignore[arg-type]
    )


def cursors(found: tuple[Sequence[LogRow], int] | None) -> list[int] | None:
    return None if found is None else [row.cursor for row in found[0]]


@settings(max_examples=settings().max_examples // 2, deadline=None)
@given(events=st.lists(EVENTS, min_size=1, max_size=5, unique_by=lambda event: event.id))
def test_memory_has_the_rows_that_the_log_has(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("log") / "jobs.db"
    recent = RecentOfLog()
    with LogWriter(path) as writer, LogReader(path) as reader:
        recent.add(writer.append(events))
        found = recent.after(0, 100)
        assert found is not None
        assert found == (reader.now.after(0, 100), len(events))


def test_what_others_store_in_between_is_read_from_the_log(path: Path, log: LogWriter) -> None:
    recent = RecentOfLog()
    recent.add(log.append([note(1)]))
    assert cursors(recent.after(0, 10)) == [1]
    assert recent.after(1, 10) is None, "others may have stored something"
    with LogWriter(path) as other:
        other.append([note(2)])
    recent.add(log.append([note(3), note(4)]))
    assert recent.after(1, 10) is None
    assert cursors(recent.after(2, 10)) == [3, 4]
    source = WholeLog(path, recent)
    assert cursors(source.after(0, 10)) == [1, 2, 3, 4]
    assert cursors(source.after(3, 10)) == [4]
    source.close()


def test_who_is_as_far_as_the_tail_does_not_ask_the_log(path: Path, log: LogWriter) -> None:
    recent = RecentOfLog()
    recent.add(log.append([note(1)]))
    recent.seen = 1
    with LogWriter(path) as other:
        other.append([note(2)])
    source = WholeLog(path, recent)
    assert cursors(source.after(0, 10)) == [1]
    assert source.after(1, 10) == ((), 1), "the tail reports what is new"
    recent.seen = 2
    assert cursors(source.after(1, 10)) == [2]
    source.close()


def test_transactions_without_a_gap_are_one_span(log: LogWriter) -> None:
    recent = RecentOfLog()
    for number in (1, 2, 3):
        recent.add(log.append([note(number)]))
    assert cursors(recent.after(0, 2)) == [1, 2]
    assert cursors(recent.after(2, 2)) == [3]


def test_a_batch_that_was_partly_there_is_read_from_the_log(log: LogWriter) -> None:
    recent = RecentOfLog()
    recent.add(log.append([note(1)]))
    recent.add(log.append([note(1), note(2)]))
    assert recent.after(0, 10) is None
    recent.add(log.append([note(1)]))
    result = log.append([note(3)])
    recent.add(result)
    assert cursors(recent.after(result.first_cursor - 1, 10)) == [result.first_cursor]


def test_events_of_another_log_are_read_from_the_log(log: LogWriter) -> None:
    recent = RecentOfLog()
    recent.add(log.append([note(1, observed_unix_nano=7)], keep_arrival=True))
    assert recent.after(0, 10) is None


def test_rows_behind_a_step_of_the_clock_are_read_from_the_log(path: Path) -> None:
    clock, recent = FakeClock(), RecentOfLog()
    with LogWriter(path, clock_ns=clock.time_ns) as log, LogReader(path) as reader:
        recent.add(log.append([note(1)]))
        clock.advance(-3600.0)
        recent.add(log.append([note(2)]))
        assert recent.after(1, 10) is None
        assert reader.now.after(1, 10)[0].set_back_unix_nano is not None


def test_what_is_stored_has_no_secrets(log: LogWriter) -> None:
    recent = RecentOfLog()
    recent.add(log.append([note(1, details={"password": "hunter2hunter2"})]))
    found = recent.after(0, 10)
    assert found is not None
    assert "hunter2" not in str(found[0])


def test_addresses_are_for_exporters_alone() -> None:
    row = LogRow(1, note(1, webhooks=("https://example.com/secret",)))
    assert without_webhooks(row).event.webhooks == ()
    plain = LogRow(1, note(1))
    assert without_webhooks(plain) is plain
