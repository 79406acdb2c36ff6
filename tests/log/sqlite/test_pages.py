"""What SQLite does to read a page: how long it looks, and what it holds up."""

import pytest

from realm_telemetry.log import Filters, LogReader, LogWriter
from realm_telemetry.log.has import Has
from realm_telemetry.log.sqlite import history as pages_module

from .conftest import NOW, all_pages, make_event


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
    page = reader.now.page(filters)
    assert page.rows == []
    assert page.next_token is not None
    assert page.relation == "gte"
    assert all_pages(reader, filters) == [3]


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
