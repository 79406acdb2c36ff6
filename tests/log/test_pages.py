"""Pages of history, counts and bars."""

import threading
from contextlib import closing

import pytest

from realm_telemetry.log import Filters, InvalidFilterError
from realm_telemetry.log.engine import Log, Reader, Writer
from tests.waiting import wait_until

from .conftest import NOW, SECOND, Clock, all_pages, make_event, scattered


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_together_are_the_history_in_order(
    writer: Writer, reader: Reader, limit: int
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


def test_paging_neither_repeats_nor_skips_while_rows_arrive(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(number) for number in range(1, 101)])
    first = reader.now.page(Filters(limit=30))
    seen = [row.event.number for row in first.rows]
    cursor, number = first.next_token, 101
    while cursor:
        # One newer than the page, one right among the rows still to come.
        writer.append([make_event(number), make_event(number + 1, time_unix_nano=NOW + 3)])
        number += 2
        page = reader.now.page(Filters(limit=30, page_token=cursor))
        assert page.as_of == first.as_of == 100
        assert page.total == 100
        seen += [row.event.number for row in page.rows]
        cursor = page.next_token
    assert seen == list(range(100, 0, -1))
    assert reader.now.page(Filters()).total == number - 1


def test_as_of_holds_for_total_histogram_and_export(writer: Writer, reader: Reader) -> None:
    writer.append(scattered(50))
    writer.append([make_event(number, hero_id="dio") for number in range(51, 61)])
    for filters in (Filters(limit=5), Filters(limit=5, heroes=("dio",))):
        page = reader.now.page(filters, as_of=50)
        bars = reader.now.histogram(filters, 20, as_of=50)
        exported = list(reader.export(filters, as_of=50))
        assert page.total == bars.total == len(exported)
        assert max(row.cursor for row in exported) <= 50


def test_a_cursor_that_is_not_ours_is_refused(reader: Reader) -> None:
    for token in ("abc", "!!!", "AAAA", "ü", "zwAA", "2" * 4000):
        with pytest.raises(InvalidFilterError, match="cursor"):
            reader.now.page(Filters(page_token=token))


def test_an_empty_log_has_empty_views(reader: Reader) -> None:
    page = reader.now.page(Filters())
    assert (page.rows, page.next_token, page.as_of, page.total) == ([], None, 0, 0)
    assert reader.now.histogram(Filters(), 10).buckets == []
    assert reader.now.summary() == []
    assert reader.now.latest() == []
    assert (reader.now.min_cursor(), reader.now.max_cursor()) == (0, 0)


def test_the_latest_of_each_group_without_the_late(
    writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.append([make_event(n, time_unix_nano=clock.now_ns + n) for n in range(1, 101)])
    writer.append([make_event(101, severity="error", time_unix_nano=clock.now_ns)])
    writer.append([make_event(102, time_unix_nano=clock.now_ns - 61 * SECOND)])
    latest = reader.now.latest(per_group=50)
    assert [row.event.number for row in latest] == [*range(51, 101), 101]


def test_one_event_is_found_by_id_and_by_cursor(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(5)])
    row = reader.now.get(make_event(5).id)
    assert row is not None
    assert reader.now.get(row.cursor) == reader.now.get(str(row.cursor)) == row
    assert reader.now.get(make_event(6).id) is None
    assert reader.now.get(77) is None


def test_context_is_what_happened_around(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(n) for n in (3, 1, 2, 5, 4)])
    around = reader.now.context(make_event(3).id, before=1, after=5)
    assert [row.event.number for row in around] == [2, 3, 4, 5]
    assert reader.now.context(make_event(9).id) == []


def test_a_pipeline_follows_its_own_events(writer: Writer, reader: Reader) -> None:
    other = "ffffffffffffffff"
    writer.append([make_event(1)], pipeline="main")
    writer.append([make_event(1, producer=other)], pipeline="other")
    writer.append([make_event(2), make_event(3, webhooks=("https://example.org",))])
    writer.append([make_event(2, producer=other)])
    followed = reader.now.follow(0, pipeline="main", webhooks=True)
    assert [row.event.number for row in followed.rows] == [1, 2, 3]
    assert followed.rows[2].event.webhooks == ("https://example.org",)
    assert followed.cursor == 5
    assert reader.now.follow(0, 2, pipeline="main").cursor == 3
    assert reader.now.follow(5, pipeline="main").rows == []
    assert reader.now.follow(0, pipeline="nobody").cursor == 5


def test_a_watch_notices_a_commit_until_its_rows_were_read(log: Log, writer: Writer) -> None:
    with closing(log.watch()) as watch:
        assert watch.changed(), "what was there before it counts as new"
        watch.caught_up()
        assert not watch.changed()
        writer.append([make_event(1)])
        wait_until(watch.changed)
        assert watch.changed(), "reading failed: it is to be tried again"
        watch.caught_up()
        assert not watch.changed()


def test_a_commit_while_rows_are_read_is_noticed_next_time(log: Log, writer: Writer) -> None:
    with closing(log.watch()) as watch:
        assert watch.changed()
        writer.append([make_event(1)])
        watch.caught_up()
        wait_until(watch.changed)


def test_threads_read_at_once(writer: Writer, reader: Reader) -> None:
    writer.append(scattered(200))
    totals: list[int] = []

    def read() -> None:
        filters = Filters(limit=3, channels=("jobs",))
        totals.extend(reader.now.page(filters).total for _ in range(20))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(totals) == 80
    assert len(set(totals)) == 1
