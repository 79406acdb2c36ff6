"""`realm stats` and `realm state`: what the log adds up to."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.cli.state import outline
from realm_telemetry.cli.terminal import bar

MANUAL = Path(__file__).parents[2] / "docs" / "cli.md"
LOOSE = "datetime('now', '-7 days')"

Invoke = Callable[..., Result]


def test_counts_are_by_day_and_channel_with_bars(filled: Path, invoke: Invoke) -> None:
    result = invoke("stats")
    training = next(line for line in result.stdout.splitlines() if "training" in line)
    checkpoint = next(line for line in result.stdout.splitlines() if "checkpoint" in line)
    assert training.count("█") == 40
    assert checkpoint.count("█") == 18
    assert result.stderr.startswith("30 events since ")


def test_counts_may_be_by_anything_and_for_a_program(filled: Path, invoke: Invoke) -> None:
    rows = json.loads(invoke("stats", "--by", "severity,kind", "--json").stdout)
    assert {"severity": "error", "kind": "job_failed", "count": 1} in rows
    assert sum(row["count"] for row in rows) == 30


def test_the_numbers_are_those_of_the_documented_sql(filled: Path, invoke: Invoke) -> None:
    (query,) = re.findall(r"```sql\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    with closing(sqlite3.connect(filled / "vault" / "jobs.db")) as connection:
        rows = connection.execute(query).fetchall()
        loose = connection.execute(re.sub(r"strftime\(.*?\)", LOOSE, query)).fetchall()
    counted = json.loads(invoke("stats", "--by", "channel,day", "--json").stdout)
    assert {(row["channel"], row["count"], row["day"]) for row in counted} == set(rows)
    assert loose == rows
    assert LOOSE in MANUAL.read_text()


def test_hours_are_shown_as_hours(filled: Path, invoke: Invoke) -> None:
    line = invoke("stats", "--by", "hour", "--since", "24h").stdout.splitlines()[1]
    assert line[10] == " "
    assert line[13:16] == ":00"


def test_a_log_without_events_in_the_span_has_no_table(filled: Path, invoke: Invoke) -> None:
    result = invoke("stats", "--since", "3d", "--until", "2d")
    assert result.stdout == ""
    assert result.stderr.startswith("0 events")


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(8, 80))
def test_a_bar_is_never_wider_than_its_columns(count: int, most: int, columns: int) -> None:
    text = bar(min(count, most), most, columns)
    assert len(text) <= columns
    assert bool(text) == bool(count)


def test_the_state_is_folded_from_the_log(filled: Path, invoke: Invoke) -> None:
    shape = json.loads(invoke("state", "--json").stdout)
    assert shape["checkpoints"]["latest"]["step"] == 29_000
    assert "step: 29000" in invoke("state", "checkpoints").stdout


def test_the_state_of_a_service_is_the_same(service: str, invoke: Invoke) -> None:
    result = invoke("state", "training", "--json")
    assert result.stderr == f"Reading the service at {service}.\n"
    from_log = invoke("state", "training", "--json", "--log")
    assert json.loads(result.stdout) == json.loads(from_log.stdout)


def test_an_outline_leaves_out_what_is_empty_and_cuts_what_is_long() -> None:
    value = {"a": None, "totals": {"x": 0, "y": 2}, "zero": {"x": 0}, "jobs": {}, "loss": 0}
    assert list(outline(value)) == ["totals:", "  y: 2", "loss: 0"]
    lines = list(outline({"items": list(range(25))}))
    assert len(lines) == 22
    assert lines[-1] == "  ... and 5 more"


def test_a_section_without_anything_says_so(filled: Path, invoke: Invoke) -> None:
    assert invoke("state", "guild").stdout == "nothing yet\n"
