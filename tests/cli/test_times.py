"""All commands print times in one zone, and name it; what they read without one is of it too."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from realm_telemetry.cli.times import Times

from .conftest import make_event, store

Invoke = Callable[..., Result]
NOON_NS = 1_764_417_600_000_000_000
"""2025-11-29T12:00:00Z, in New York 07:00 EST."""

HOUR_NS = 3_600_000_000_000


@pytest.fixture(autouse=True)
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


def test_a_time_is_local_and_of_today_has_no_date() -> None:
    times = Times(utc=False, now_ns=NOON_NS)
    assert (times.zone, times.short(NOON_NS)) == ("EST", "07:00:00")
    assert times.short(NOON_NS - 8 * HOUR_NS) == "2025-11-28 23:00:00"
    assert times.full("2025-07-01T12:00:00.000000Z") == "2025-07-01 08:00:00 EDT"
    assert Times(utc=True, now_ns=NOON_NS).full(NOON_NS) == "2025-11-29 12:00:00 UTC"


def test_a_column_has_dates_where_one_row_needs_one_and_zones_where_a_clock_was_set() -> None:
    times = Times(utc=False, now_ns=NOON_NS)
    assert times.column("time", [NOON_NS]) == ("time (EST)", ["07:00:00"])
    heading, cells = times.column("time", [NOON_NS, NOON_NS - 8 * HOUR_NS])
    assert (heading, cells) == ("time (EST)", ["2025-11-29 07:00:00", "2025-11-28 23:00:00"])
    heading, cells = times.column("time", [NOON_NS, "2025-07-01T12:00:00Z"])
    assert (heading, cells[1]) == ("time", "2025-07-01 08:00:00 EDT")
    assert times.column("time", []) == ("time (EST)", [])


@pytest.mark.parametrize("nanos", [-(2**63), 2**63 - 1])
def test_any_time_of_the_log_is_printed(nanos: int) -> None:
    assert Times(utc=False, now_ns=NOON_NS).full(nanos)


def test_a_zone_without_a_name_is_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    # In a context: undone later, it would put back the zone that the fixture has set.
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Dubai")
        time.tzset()
        assert Times(utc=False, now_ns=NOON_NS).zone == "UTC+04"


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("2025-11-29", NOON_NS - 7 * HOUR_NS),
        ("2025-11-29 07:00:00", NOON_NS),
        ("2025-11-29T12:00:00Z", NOON_NS),
        ("1h", NOON_NS - HOUR_NS),
        ("1764417600", NOON_NS),
    ],
)
def test_a_time_that_is_given_without_a_zone_is_of_the_one_that_is_printed(
    text: str, nanos: int
) -> None:
    assert Times(utc=False, now_ns=NOON_NS).read("since", text) == nanos


OF_TIMES = (
    ("query",),
    ("query", "--details"),
    ("tail",),
    ("runs", "--log"),
    ("show", "r7", "--log"),
    ("show", f"{'c' * 16}{1:016x}", "--log"),
    ("state", "training", "--log"),
    ("alerts", "mute", "stalled"),
)


@pytest.mark.parametrize("arguments", OF_TIMES, ids=" ".join)
def test_every_command_prints_the_same_zone_and_names_it(
    arguments: tuple[str, ...], filled: Path, invoke: Invoke
) -> None:
    local, utc = invoke(*arguments), invoke(*arguments, "--utc")
    zone = time.strftime("%Z")
    assert local.exit_code == utc.exit_code == 0, local.output
    assert zone in local.output
    assert "UTC" not in local.output
    assert "UTC" in utc.output
    assert zone not in utc.output


def test_what_a_command_printed_can_be_given_to_it(home: Path, invoke: Invoke) -> None:
    """A time in the table finds the event again, with the option's zone as the table's."""
    store(home, [make_event(1, "note", 3 * 86_400)])
    for zone in ((), ("--utc",)):
        day, clock = invoke("query", *zone).stdout.splitlines()[1].split()[:2]
        found = invoke("query", "--jsonl", "--since", f"{day} {clock}", *zone).stdout
        assert len(found.splitlines()) == 1
        assert json.loads(found)["timestamp"].endswith("Z")
        assert invoke("query", "--jsonl", "--until", f"{day} {clock}", *zone).stdout == ""


BELOW = (
    "rank: 3",
    "job_id: j1",
    "traceback:",
    "    Traceback (most recent call last):",
    '      File "x.py"',
    "    ValueError: \\x1b[31m\\u202e",
    "at\\x9b:",
    "    a: [1,2]",
    "    b: 日本",
)


def test_details_are_lines_and_tracebacks_too(home: Path, invoke: Invoke) -> None:
    """What would drive a terminal is shown as marks, also in a traceback."""
    lines = ("Traceback (most recent call last):", '  File "x.py"', "ValueError: \x1b[31m\u202e")
    details = {"job_id": "j1", "traceback": "\n".join(lines), "at\x9b": {"a": [1, 2], "b": "日本"}}
    store(home, [make_event(1, "job_failed", details=details, run_id="r7", rank=3)])
    long = "x" * 500
    store(home, [make_event(2, "note", message=long)])
    for command in ("query", "tail"):
        printed = invoke(command, "--details").stdout
        assert long in printed
        below = "\n".join(f"    {text}" for text in (f"id: {'c' * 16}{1:016x}", *BELOW))
        assert f"\n{below}\n" in printed


HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eevil\u2066\u200b"


@pytest.mark.parametrize(
    "arguments",
    [
        ("query",),
        ("query", "--details"),
        ("tail", "--details"),
        ("runs", "--log"),
        ("show", HOSTILE, "--log"),
        ("report", HOSTILE, "--log"),
        ("stats", "--by", "kind,run"),
        ("state", "--log"),
        ("kinds",),
        ("show", "owned", "--log"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_lets_an_event_drive_the_terminal(
    arguments: tuple[str, ...], home: Path, invoke: Invoke
) -> None:
    event = make_event(
        1,
        "uncaught_exception",
        details={"error": HOSTILE, "traceback": f"a\n{HOSTILE}", HOSTILE: [HOSTILE]},
        message=HOSTILE,
        run_id=HOSTILE,
        hero_id=HOSTILE,
        source=HOSTILE,
    )
    started = make_event(2, "run_started", details={"command": HOSTILE}, run_id=HOSTILE)
    store(home, [event, started])
    result = invoke(*arguments)
    assert "\\u202e" in result.output or arguments[0] == "kinds"
    assert not set(result.output) & set("\x1b\x07\x9b\u202e\u2066\u200b")


def test_doctor_takes_the_option_and_no_colour_where_none_is_wanted(
    filled: Path, invoke: Invoke
) -> None:
    result = invoke("doctor", "--no-round-trip", "--utc", env={**os.environ, "NO_COLOR": "1"})
    assert "\x1b" not in result.output
