"""Summaries against SQL over the rows, and in a file of an older version."""

import random

import pytest
from msgspec.structs import replace

from realm_telemetry.event import format_time
from realm_telemetry.log import LogReader, LogWriter

from .conftest import HOUR, NOW, SECOND, make_event, scattered, take_back

COLUMNS = {
    "channel": "channel",
    "severity": "severity",
    "kind": "kind",
    "run": "run_id",
    "day": "date(timestamp)",
    "hour": "strftime('%Y-%m-%dT%H:00:00Z', timestamp)",
}


@pytest.mark.parametrize("by", [*((name,) for name in COLUMNS), ("run", "kind"), ("day", "run")])
def test_a_summary_has_the_numbers_of_the_documented_sql(
    by: tuple[str, ...], writer: LogWriter, reader: LogReader
) -> None:
    dice = random.Random(5)
    events = [replace(event, run_id=dice.choice(["r1", "r2", None])) for event in scattered(300)]
    for start in range(0, 300, 50):
        writer.append(events[start : start + 50])
    since, until = NOW - 20 * HOUR - 7 * SECOND, NOW - HOUR // 3
    names = ", ".join(COLUMNS[name] for name in by)
    sql = (
        f"SELECT {names}, COUNT(*) FROM battle_log WHERE timestamp >= ? AND timestamp < ?"
        f" GROUP BY {names} ORDER BY {names}"
    )
    with writer.transaction() as connection:
        expected = connection.execute(sql, (format_time(since), format_time(until))).fetchall()
    assert expected
    assert [tuple(row.values()) for row in reader.now.summary(by, since, until)] == expected


def test_events_from_before_runs_were_counted_are_counted(
    writer: LogWriter, reader: LogReader
) -> None:
    writer.append([make_event(number, run_id="r1") for number in range(1, 4)])
    before = reader.now.summary(("run", "hour"))
    assert [row["count"] for row in before] == [3]
    with writer.transaction() as connection:
        connection.execute("DROP TABLE realm_run_counts")
        take_back(connection, 10)
    LogWriter(writer.path).close()
    assert reader.now.summary(("run", "hour")) == before
