"""No query scans or sorts the table: SQLite's own plans are read."""

import itertools
import re
import sqlite3

import pytest

from realm_telemetry.log import Filters, LogReader, LogWriter
from realm_telemetry.log.fields import FIELDS
from realm_telemetry.log.has import Has

from .conftest import HOUR, NOW, make_event

ASKED = {
    **{field.plural: ("some",) for field in FIELDS},
    "channels": ("jobs", "eval"),
    "severities": ("info",),
    "kinds": ("job_started",),
    "heroes": ("dio", "ada"),
    "campaigns": ("c1",),
    "runs": ("r1",),
    "producers": ("00112233445566aa",),
    "not_kinds": ("job_failed",),
    "not_heroes": ("dio",),
    "since_unix_nano": NOW - 3 * HOUR // 2,
    "until_unix_nano": NOW + 3 * HOUR // 2,
    "has": (Has("step", "3"),),
    "q": "started",
}
MATRIX = [
    Filters(**{name: ASKED[name] for name in names}, limit=3)
    for size in (0, 1, 2, 3)
    for names in itertools.combinations(ASKED, size)
]


@pytest.fixture
def traced(writer: LogWriter, reader: LogReader) -> list[str]:
    writer.append(
        [
            make_event(
                number,
                channel=("jobs", "eval", "training")[number % 3],
                hero_id=("dio", None)[number % 2],
                campaign_id="c1",
                run_id="r1",
                time_unix_nano=NOW + (number - 20) * HOUR // 10,
            )
            for number in range(40)
        ]
    )
    statements: list[str] = []
    reader._connection().set_trace_callback(statements.append)
    return statements


def faults(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The lines of a statement's plan that would grow with the table."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    found = [line for line in plan if re.search(r"\bSCAN battle_log\b", line)]
    if any("battle_log" in line for line in plan):
        found += [line for line in plan if "TEMP B-TREE" in line]
    return found


def check(path_statements: list[str], reader: LogReader) -> None:
    statements = set(path_statements)
    reader._connection().set_trace_callback(None)
    assert any("battle_log" in statement for statement in statements)
    wrong = {
        statement: found
        for statement in statements
        if statement.lstrip().upper().startswith("SELECT")
        and (found := faults(reader._connection(), statement))
    }
    assert wrong == {}


def test_pages_of_any_filter_search_an_index(traced: list[str], reader: LogReader) -> None:
    for filters in MATRIX:
        page = reader.now.page(filters)
        if page.next_token:
            reader.now.page(Filters(limit=2, page_token=page.next_token), as_of=page.as_of - 5)
    assert len(MATRIX) > 200
    check(traced, reader)


def test_histograms_of_any_filter_search_an_index(traced: list[str], reader: LogReader) -> None:
    for filters in MATRIX:
        reader.now.histogram(filters, 5, as_of=30)
    check(traced, reader)


def test_all_other_reads_search_an_index(
    traced: list[str], reader: LogReader, writer: LogWriter
) -> None:
    writer.append([make_event(50)], pipeline="main")
    reader.now.after(3, 10)
    reader.now.after(3, 10, MATRIX[-1], webhooks=True)
    reader.now.follow(3, 10, pipeline="main", webhooks=True)
    reader.now.latest()
    reader.now.context(5)
    reader.now.get(make_event(5).id)
    reader.now.min_cursor()
    reader.now.max_cursor()
    reader.now.summary(("day", "kind"), NOW - HOUR // 2, NOW + HOUR // 2)
    reader.now.channels(NOW - 7)
    list(reader.export(MATRIX[1]))
    check(traced, reader)


def test_a_scan_would_be_noticed(reader: LogReader) -> None:
    """The check itself can fail."""
    connection = reader._connection()
    assert faults(connection, "SELECT * FROM battle_log WHERE message = 'x'")
    assert faults(connection, "SELECT id FROM battle_log WHERE id > 3 ORDER BY message")
    assert not faults(connection, "SELECT id FROM battle_log WHERE id > 3 ORDER BY id")
