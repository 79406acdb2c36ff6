"""Filters over an older table, and where no index helps."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from realm_telemetry.log import Filters, LogWriter, parse_filters
from realm_telemetry.log.sqlite import history
from realm_telemetry.log.sqlite.reader import LogReader

from .conftest import OLDER_INSERT, Clock, make_event, older_row


def test_sources_of_the_older_log_are_found(
    older: sqlite3.Connection, path: Path, clock: Clock
) -> None:
    older.execute(OLDER_INSERT, older_row(source="event.job_started"))
    older.execute(OLDER_INSERT, older_row(source="vault.sync"))
    older.commit()
    with LogWriter(path, clock_ns=clock) as writer, LogReader(path) as reader:
        while writer.backfill_step():
            pass
        for source, cursors in (("none", [1]), ("vault.sync", [2])):
            page = reader.now.page(parse_filters({"source": source}))
            assert [row.cursor for row in page.rows] == cursors


def test_a_search_of_a_trace_that_is_not_there_ends_with_a_token(
    writer: LogWriter, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan has a deadline; the pages that follow reach every row."""
    monkeypatch.setattr(history, "SCAN_BUDGET_S", 0.0)
    writer.append([make_event(1, trace_id="ab" * 16), *(make_event(n) for n in range(2, 1500))])
    filters, found, pages = Filters(traces=("ab" * 16,)), [], 0
    while True:
        page = reader.now.page(filters, count=False)
        found += [row.cursor for row in page.rows]
        pages += 1
        if page.next_token is None:
            break
        filters = msgspec.structs.replace(filters, page_token=page.next_token)
    assert found == [1]
    assert pages > 3
