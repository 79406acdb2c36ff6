"""Pages of history, counts and bars."""

import random
import threading
from datetime import UTC, datetime

import msgspec
import pytest

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.log import Filters, InvalidFilterError, LogReader, LogWriter
from realm_telemetry.log import pages as pages_module
from realm_telemetry.log.has import Has

from .conftest import HOUR, NOW, SECOND, Clock, make_event


def all_pages(reader: LogReader, filters: Filters) -> list[int]:
    found: list[int] = []
    while True:
        page = reader.page(filters)
        found += [row.cursor for row in page.rows]
        if page.next_cursor is None:
            return found
        filters = msgspec.structs.replace(filters, cursor=page.next_cursor)


def scattered(count: int, seed: int = 1) -> list[Event]:
    """Events of all channels and severities, out of order in time."""
    dice = random.Random(seed)
    return [
        make_event(
            number,
            channel=dice.choice(CHANNELS),
            severity=dice.choice(SEVERITIES),
            hero_id=dice.choice(["dio", "ada", None]),
            time_unix_nano=NOW - dice.randrange(200) * HOUR // 7,
        )
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_together_are_the_history_in_order(
    writer: LogWriter, reader: LogReader, limit: int
) -> None:
    events = scattered(300)
    writer.append(events)
    expected = sorted(range(1, 301), key=lambda n: (events[n - 1].time_unix_nano, n), reverse=True)
    assert all_pages(reader, Filters(limit=limit)) == expected
    jobs = [n for n in expected if events[n - 1].channel == "jobs"]
    assert all_pages(reader, Filters(limit=limit, channels=("jobs",))) == jobs
    heroic = [n for n in expected if events[n - 1].hero_id and events[n - 1].severity == "error"]
    filters = Filters(limit=limit, heroes=("ada", "dio"), severities=("error",))
    assert all_pages(reader, filters) == heroic


def test_paging_neither_repeats_nor_skips_while_rows_arrive(
    writer: LogWriter, reader: LogReader
) -> None:
    writer.append([make_event(number) for number in range(1, 101)])
    first = reader.page(Filters(limit=30))
    seen = [row.event.number for row in first.rows]
    cursor, number = first.next_cursor, 101
    while cursor:
        # One newer than the page, one right among the rows still to come.
        writer.append([make_event(number), make_event(number + 1, time_unix_nano=NOW + 3)])
        number += 2
        page = reader.page(Filters(limit=30, cursor=cursor))
        assert page.as_of == first.as_of == 100
        assert page.total == 100
        seen += [row.event.number for row in page.rows]
        cursor = page.next_cursor
    assert seen == list(range(100, 0, -1))
    assert reader.page(Filters()).total == number - 1


def test_as_of_holds_for_total_histogram_and_export(writer: LogWriter, reader: LogReader) -> None:
    writer.append(scattered(50))
    writer.append([make_event(number, hero_id="dio") for number in range(51, 61)])
    for filters in (Filters(limit=5), Filters(limit=5, heroes=("dio",))):
        page = reader.page(filters, as_of=50)
        bars = reader.histogram(filters, 20, as_of=50)
        exported = list(reader.export(filters, as_of=50))
        assert page.total == bars.total == len(exported)
        assert max(row.cursor for row in exported) <= 50


def test_a_cursor_that_is_not_ours_is_refused(reader: LogReader) -> None:
    for token in ("abc", "!!!", "AAAA", "ü", "zwAA", "2" * 4000):
        with pytest.raises(InvalidFilterError, match="cursor"):
            reader.page(Filters(cursor=token))


def test_a_rare_combination_ends_the_page_early_with_a_way_on(
    writer: LogWriter, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that has used up its time is short, and its cursor goes on where it stopped."""
    events = [
        make_event(number, details={"rare": number == 3}, time_unix_nano=NOW + number)
        for number in range(1, 2001)
    ]
    writer.append(events[:1000])
    writer.append(events[1000:])
    monkeypatch.setattr(pages_module, "BUDGET_S", -1.0)
    filters = Filters(has=(Has("rare", "true"),), limit=1)
    page = reader.page(filters)
    assert page.rows == []
    assert page.next_cursor is not None
    assert page.relation == "gte"
    assert all_pages(reader, filters) == [3]


def test_counts_are_exact_at_the_edges_of_a_span(writer: LogWriter, reader: LogReader) -> None:
    writer.append(scattered(400))
    events = [row.event for row in reader.after(0)]
    for since, until in ((-50, -3), (-10, -9), (-200, 10), (-5, -5)):
        for channels in ((), ("jobs", "eval")):
            filters = Filters(
                channels=channels,
                since_unix_nano=NOW + since * HOUR // 3,
                until_unix_nano=NOW + until * HOUR // 3 + 1,
                limit=1,
            )
            wanted = sum(filters.matches(event) for event in events)
            assert reader.page(filters).total == wanted
            assert reader.histogram(filters, 40).total == wanted


def test_counts_of_rows_before_1970_are_exact_too(writer: LogWriter, reader: LogReader) -> None:
    writer.append([make_event(n, time_unix_nano=-n * HOUR // 2) for n in range(1, 11)])
    filters = Filters(since_unix_nano=-3 * HOUR, until_unix_nano=0, limit=1)
    assert reader.page(filters).total == 6


def test_bars_sum_to_the_total_and_lie_side_by_side(writer: LogWriter, reader: LogReader) -> None:
    writer.append(scattered(500))
    for filters in (Filters(limit=1), Filters(limit=1, kinds=("job_started",), heroes=("dio",))):
        bars = reader.histogram(filters, 30)
        assert sum(sum(bar.counts.values()) for bar in bars.buckets) == bars.total
        assert bars.total == reader.page(filters).total
        assert all(
            left.end_unix_nano == right.start_unix_nano
            for left, right in zip(bars.buckets, bars.buckets[1:], strict=False)
        )
        for row in reader.export(filters):
            (bar,) = (
                bar
                for bar in bars.buckets
                if bar.start_unix_nano <= row.event.time_unix_nano < bar.end_unix_nano
            )
            assert bar.counts[row.event.severity] > 0


def test_an_empty_log_has_empty_views(reader: LogReader) -> None:
    page = reader.page(Filters())
    assert (page.rows, page.next_cursor, page.as_of, page.total) == ([], None, 0, 0)
    assert reader.histogram(Filters(), 10).buckets == []
    assert reader.summary() == []
    assert reader.latest() == []
    assert (reader.min_cursor(), reader.max_cursor()) == (0, 0)


def test_a_summary_counts_by_what_is_asked(writer: LogWriter, reader: LogReader) -> None:
    writer.append(
        [
            make_event(1),
            make_event(2, channel="eval", kind="eval_started"),
            make_event(3, time_unix_nano=NOW - 1),
            make_event(4, time_unix_nano=NOW + HOUR),
        ]
    )
    assert reader.summary() == [
        {"channel": "eval", "day": "2025-11-29", "count": 1},
        {"channel": "jobs", "day": "2025-11-28", "count": 1},
        {"channel": "jobs", "day": "2025-11-29", "count": 2},
    ]
    assert reader.summary(("kind",), NOW, NOW + HOUR) == [
        {"kind": "eval_started", "count": 1},
        {"kind": "job_started", "count": 1},
    ]
    assert reader.summary(("hour",), NOW + 2 * SECOND, NOW + 3 * SECOND) == [
        {"hour": "2025-11-29T00:00:00Z", "count": 1}
    ]
    with pytest.raises(ValueError, match="cannot count by 'colour'"):
        reader.summary(("colour",))


def test_a_summary_agrees_with_the_rows_for_any_span(writer: LogWriter, reader: LogReader) -> None:
    writer.append(scattered(300))
    events = [row.event for row in reader.after(0)]
    dice = random.Random(4)
    for _ in range(20):
        since, until = sorted(NOW - dice.randrange(30 * HOUR) for _ in range(2))
        counted = sum(row["count"] for row in reader.summary(("day",), since, until))
        assert counted == sum(since <= event.time_unix_nano < until for event in events)
    days = {row["day"] for row in reader.summary(("day",))}
    assert days == {
        f"{datetime.fromtimestamp(event.time_unix_nano // SECOND, UTC):%Y-%m-%d}"
        for event in events
    }


def test_the_latest_of_each_group_without_the_late(
    writer: LogWriter, reader: LogReader, clock: Clock
) -> None:
    writer.append([make_event(n, time_unix_nano=clock.now_ns + n) for n in range(1, 101)])
    writer.append([make_event(101, severity="error", time_unix_nano=clock.now_ns)])
    writer.append([make_event(102, time_unix_nano=clock.now_ns - 61 * SECOND)])
    latest = reader.latest(per_group=50)
    assert [row.event.number for row in latest] == [*range(51, 101), 101]


def test_one_event_is_found_by_id_and_by_cursor(writer: LogWriter, reader: LogReader) -> None:
    writer.append([make_event(5)])
    row = reader.get(make_event(5).id)
    assert row is not None
    assert reader.get(row.cursor) == reader.get(str(row.cursor)) == row
    assert reader.get(make_event(6).id) is None
    assert reader.get(77) is None


def test_context_is_what_happened_around(writer: LogWriter, reader: LogReader) -> None:
    writer.append([make_event(n) for n in (3, 1, 2, 5, 4)])
    around = reader.context(make_event(3).id, before=1, after=5)
    assert [row.event.number for row in around] == [2, 3, 4, 5]
    assert reader.context(make_event(9).id) == []


def test_a_pipeline_follows_its_own_events(writer: LogWriter, reader: LogReader) -> None:
    other = "ffffffffffffffff"
    writer.append([make_event(1)], pipeline="main")
    writer.append([make_event(1, producer=other)], pipeline="other")
    writer.append([make_event(2), make_event(3, webhooks=("https://example.org",))])
    writer.append([make_event(2, producer=other)])
    followed = reader.follow(0, pipeline="main", webhooks=True)
    assert [row.event.number for row in followed.rows] == [1, 2, 3]
    assert followed.rows[2].event.webhooks == ("https://example.org",)
    assert followed.cursor == 5
    assert reader.follow(0, 2, pipeline="main").cursor == 3
    assert reader.follow(5, pipeline="main").rows == []
    assert reader.follow(0, pipeline="nobody").cursor == 5


def test_the_data_version_moves_when_another_commits(writer: LogWriter, reader: LogReader) -> None:
    before = reader.data_version()
    assert reader.data_version() == before
    writer.append([make_event()])
    assert reader.data_version() != before


def test_threads_read_at_once(writer: LogWriter, reader: LogReader) -> None:
    writer.append(scattered(200))
    totals: list[int] = []

    def read() -> None:
        filters = Filters(limit=3, channels=("jobs",))
        totals.extend(reader.page(filters).total for _ in range(20))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(totals) == 80
    assert len(set(totals)) == 1


def test_an_export_lets_the_writer_check_point_between_pages(
    writer: LogWriter, reader: LogReader
) -> None:
    """A reader in the middle of an export holds no transaction, so the WAL can start afresh."""
    for start in range(0, 3000, 1000):
        writer.append([make_event(start + n) for n in range(1, 1001)])
    rows = reader.export(Filters())
    next(rows)
    busy, pages, done = writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, pages, done) == (0, 0, 0)
    assert sum(1 for _ in rows) == 2999
