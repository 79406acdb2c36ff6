"""A million rows: plans and behaviour that small logs cannot show."""

import sqlite3
import time
from pathlib import Path

import pytest

from realm_telemetry.event import Event
from realm_telemetry.log import Filters, LogReader, LogWriter
from realm_telemetry.log.sqlite.search import SearchIndex

from .conftest import NOW, OLDER_INSERT, SECOND, make_event, older_row

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(900)]

ROWS = 1_000_000
KINDS = (
    *[("training_step", "training", "info")] * 15,
    ("checkpoint_saved", "checkpoint", "success"),
    ("eval_completed", "eval", "success"),
    ("job_failed", "jobs", "error"),
)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "jobs.db"
    with LogWriter(path) as writer:
        for start in range(0, ROWS, 1000):
            writer.append([_event(number) for number in range(start, start + 1000)])
    return path


def _event(number: int) -> Event:
    kind, channel, severity = KINDS[number % len(KINDS)]
    return make_event(
        number + 1,
        kind=kind,
        channel=channel,
        severity=severity,
        hero_id=("dio", "ada", None)[number // len(KINDS) % 3],
        run_id=f"r{number // 10_000}",
        campaign_id=f"c{number // 100_000}",
        time_unix_nano=NOW + number * SECOND,
    )


def test_the_last_hundred_stay_quick_among_a_million(large: Path) -> None:
    """The aim is 5 ms; the bound tells a search from a scan on any machine."""
    wanted = (
        Filters(),
        Filters(channels=("jobs",)),
        Filters(severities=("success",)),
        Filters(kinds=("job_failed",), heroes=("dio",)),
        Filters(runs=("r7",), severities=("error",)),
        Filters(campaigns=("c3",), channels=("eval",)),
        Filters(until_unix_nano=NOW + 5000 * SECOND, channels=("eval", "checkpoint")),
    )
    with LogReader(large) as reader:
        for filters in wanted:
            times = []
            for _ in range(20):
                started = time.perf_counter()
                page = reader.now.page(filters, count=False)
                times.append(time.perf_counter() - started)
            assert len(page.rows) == 100
            assert sorted(times)[10] < 0.03


def test_counts_are_exact_among_a_million(large: Path) -> None:
    with LogReader(large) as reader:
        page = reader.now.page(Filters(kinds=("job_failed",), limit=1))
        assert (page.total, page.relation) == (ROWS // len(KINDS), "eq")
        since = NOW + 12_345 * SECOND
        page = reader.now.page(Filters(since_unix_nano=since, limit=1))
        assert (page.total, page.relation) == (ROWS - 12_345, "eq")
        assert reader.now.histogram(Filters(), 60).total == ROWS


def test_search_stays_quick_among_a_million(large: Path) -> None:
    index = SearchIndex(large, large.with_name("search.db"))
    while index.index_step(10_000):
        pass
    with LogReader(large) as reader:
        started = time.perf_counter()
        page = reader.now.page(Filters(q="started job"))
        assert time.perf_counter() - started < 0.2
        assert len(page.rows) == 100
        assert [row.cursor for row in reader.now.page(Filters(q="999990")).rows] == [999_990]


def test_a_million_older_rows_are_extended_without_a_copy(
    older: sqlite3.Connection, path: Path
) -> None:
    """No step keeps the file locked for as long as a copy of it would take."""
    older.executemany(
        OLDER_INSERT, (older_row(f"2025-11-29T00:00:00.{n:06d}Z") for n in range(ROWS))
    )
    older.commit()
    size = path.stat().st_size
    started = time.perf_counter()
    with LogWriter(path) as writer:
        assert time.perf_counter() - started < 30
        older.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < size * 1.01
        for _ in range(5):
            writer.backfill_step(1000)
        with LogReader(path) as reader:
            newest = reader.now.page(Filters(limit=3)).rows
            assert [row.cursor for row in newest] == [ROWS, ROWS - 1, ROWS - 2]
