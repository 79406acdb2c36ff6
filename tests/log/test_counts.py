"""Counts, bars and summaries."""

import random
from datetime import UTC, datetime

import pytest

from realm_telemetry.log import Filters, LogReader, LogWriter

from .conftest import HOUR, NOW, SECOND, make_event, scattered


def test_counts_are_exact_at_the_edges_of_a_span(writer: LogWriter, reader: LogReader) -> None:
    writer.append(scattered(400))
    events = [row.event for row in reader.now.after(0)]
    for since, until in ((-50, -3), (-10, -9), (-200, 10), (-5, -5)):
        for channels in ((), ("jobs", "eval")):
            filters = Filters(
                channels=channels,
                since_unix_nano=NOW + since * HOUR // 3,
                until_unix_nano=NOW + until * HOUR // 3 + 1,
                limit=1,
            )
            wanted = sum(filters.matches(event) for event in events)
            assert reader.now.page(filters).total == wanted
            assert reader.now.histogram(filters, 40).total == wanted


def test_counts_of_rows_before_1970_are_exact_too(writer: LogWriter, reader: LogReader) -> None:
    writer.append([make_event(n, time_unix_nano=-n * HOUR // 2) for n in range(1, 11)])
    filters = Filters(since_unix_nano=-3 * HOUR, until_unix_nano=0, limit=1)
    assert reader.now.page(filters).total == 6


def test_bars_sum_to_the_total_and_lie_side_by_side(writer: LogWriter, reader: LogReader) -> None:
    writer.append(scattered(500))
    for filters in (Filters(limit=1), Filters(limit=1, kinds=("job_started",), heroes=("dio",))):
        bars = reader.now.histogram(filters, 30)
        assert sum(sum(bar.counts.values()) for bar in bars.buckets) == bars.total
        assert bars.total == reader.now.page(filters).total
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


def test_a_summary_counts_by_what_is_asked(writer: LogWriter, reader: LogReader) -> None:
    writer.append(
        [
            make_event(1),
            make_event(2, channel="eval", kind="eval_started"),
            make_event(3, time_unix_nano=NOW - 1),
            make_event(4, time_unix_nano=NOW + HOUR),
        ]
    )
    assert reader.now.summary() == [
        {"channel": "eval", "day": "2025-11-29", "count": 1},
        {"channel": "jobs", "day": "2025-11-28", "count": 1},
        {"channel": "jobs", "day": "2025-11-29", "count": 2},
    ]
    assert reader.now.summary(("kind",), NOW, NOW + HOUR) == [
        {"kind": "eval_started", "count": 1},
        {"kind": "job_started", "count": 1},
    ]
    assert reader.now.summary(("hour",), NOW + 2 * SECOND, NOW + 3 * SECOND) == [
        {"hour": "2025-11-29T00:00:00Z", "count": 1}
    ]
    with pytest.raises(ValueError, match="cannot count by 'colour'"):
        reader.now.summary(("colour",))


def test_a_summary_agrees_with_the_rows_for_any_span(writer: LogWriter, reader: LogReader) -> None:
    writer.append(scattered(300))
    events = [row.event for row in reader.now.after(0)]
    dice = random.Random(4)
    for _ in range(20):
        since, until = sorted(NOW - dice.randrange(30 * HOUR) for _ in range(2))
        counted = sum(row["count"] for row in reader.now.summary(("day",), since, until))
        assert counted == sum(since <= event.time_unix_nano < until for event in events)
    days = {row["day"] for row in reader.now.summary(("day",))}
    assert days == {
        f"{datetime.fromtimestamp(event.time_unix_nano // SECOND, UTC):%Y-%m-%d}"
        for event in events
    }
