"""`realm query`: the common filters, three ways to print, from log and service."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from realm_telemetry.cli.query import query
from realm_telemetry.log.fields import FILTER_PARAMETERS

from .conftest import make_event, store

Invoke = Callable[..., Result]


def test_the_options_are_the_filters_of_the_http_api() -> None:
    own = {"limit", "as_json", "jsonl", "url", "log_url", "details", "utc"}
    names = {option.name for option in query.params} - own - {"home"}
    assert names == set(FILTER_PARAMETERS) - {"limit", "cursor"}


def test_events_are_printed_newest_first_with_total_and_as_of(filled: Path, invoke: Invoke) -> None:
    result = invoke("query", "-n", "3")
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["time", f"({time.tzname[0]})"]
    assert "job_failed" in lines[1]
    assert "Checkpoint 29,000 saved" in lines[2]
    assert len(lines) == 4
    assert result.stderr == "3 of 30 events, as of cursor 30\n"


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("--channel", "training,jobs"), 21),
        (("--channel", "training", "--channel", "jobs"), 21),
        (("--kind", "checkpoint_saved"), 9),
        (("--severity", "error"), 1),
        (("--hero", "dio"), 9),
        (("--campaign", "c1"), 0),
        (("--run", "r1"), 0),
        (("--producer", "c" * 16), 30),
        (("--since", "24h"), 30),
        (("--until", "24h"), 0),
        (("--q", "out of memory"), 1),
        (("--has", "step:7"), 1),
        (("--kind", "training_step", "--not", "step:7"), 19),
        (("--kind", "!training_step"), 10),
        (("--channel", "training,jobs,!jobs"), 20),
        (("--hero", "!dio"), 21),
    ],
)
def test_every_filter_filters(
    arguments: tuple[str, ...], count: int, filled: Path, invoke: Invoke
) -> None:
    result = invoke("query", *arguments, "--jsonl")
    assert len(result.stdout.splitlines()) == count
    assert result.stderr.startswith(f"{count} of {count} events")


def test_json_is_one_array_of_the_shape_that_http_gives(filled: Path, invoke: Invoke) -> None:
    shapes = json.loads(invoke("query", "-n", "2", "--json").stdout)
    assert [shape["cursor"] for shape in shapes] == [30, 29]
    assert shapes[0]["details"] == {"job_id": "j1", "error": "out of memory"}


def test_no_event_is_an_empty_array_and_an_empty_table(filled: Path, invoke: Invoke) -> None:
    assert json.loads(invoke("query", "--hero", "nobody", "--json").stdout) == []
    assert invoke("query", "--hero", "nobody").stdout == ""


def test_json_and_jsonl_exclude_each_other(filled: Path, invoke: Invoke) -> None:
    assert invoke("query", "--json", "--jsonl").exit_code == 2


def test_more_than_a_page_is_fetched_page_by_page(home: Path, invoke: Invoke) -> None:
    store(home, [make_event(number, "note", message=str(number)) for number in range(1, 2501)])
    result = invoke("query", "-n", "2200", "--jsonl")
    cursors = [json.loads(line)["cursor"] for line in result.stdout.splitlines()]
    assert cursors == list(range(2500, 300, -1))
    assert result.stderr == "2,200 of 2,500 events, as of cursor 2500\n"


def test_a_service_gives_the_same_as_the_log(service: str, invoke: Invoke) -> None:
    for arguments in ((), ("--not", "step:7", "-n", "25"), ("--q", "memory"), ("--since", "1h")):
        from_log = invoke("query", "--jsonl", *arguments)
        from_service = invoke("query", "--jsonl", "--url", service, *arguments)
        assert from_service.stdout == from_log.stdout
        assert from_service.stderr == from_log.stderr


def test_more_than_a_page_of_a_service_is_fetched_too(
    service: str, filled: Path, invoke: Invoke
) -> None:
    store(filled, [make_event(n, "note", message=str(n)) for n in range(31, 1300)])
    result = invoke("query", "-n", "1100", "--jsonl", "--url", service, "--kind", "note")
    cursors = [json.loads(line)["cursor"] for line in result.stdout.splitlines()]
    assert cursors == list(range(1299, 199, -1))
    assert result.stderr == "1,100 of 1,269 events, as of cursor 1299\n"


def test_a_message_cannot_drive_the_terminal(home: Path, invoke: Invoke) -> None:
    store(home, [make_event(1, "note", message="\x1b[2J[bold]wiped")])
    result = invoke("query")
    assert "\\x1b[2J[bold]wiped" in result.stdout
    assert "\x1b" not in result.stdout
