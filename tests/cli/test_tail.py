"""`realm tail`: the end of the log, following, and how it ends."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from .conftest import EXECUTABLE, Running, make_event, run_realm, serve, store

Invoke = Callable[..., Result]
Start = Callable[..., Running]


def test_the_last_events_come_oldest_first(filled: Path, invoke: Invoke) -> None:
    result = invoke("tail", "-n", "3")
    assert [line.split()[3] for line in result.stdout.splitlines()] == [
        "checkpoint_saved",
        "checkpoint_saved",
        "job_failed",
    ]
    zone = time.tzname[0]
    assert result.stderr == f"Reading the log {filled / 'vault' / 'jobs.db'}; times in {zone}.\n"


def test_json_is_an_object_a_line(filled: Path, invoke: Invoke) -> None:
    result = invoke("tail", "--json", "--kind", "training_step", "-n", "5")
    shapes = [json.loads(line) for line in result.stdout.splitlines()]
    assert [shape["details"]["step"] for shape in shapes] == [16, 17, 18, 19, 20]


def test_details_are_shown_when_asked_for(filled: Path, invoke: Invoke) -> None:
    assert "\n    job_id: j1\n" in invoke("tail", "-n1", "-d").stdout
    assert "\n    job_id: j1\n" not in invoke("tail", "-n1").stdout


def test_none_of_the_last_events_may_be_asked_for(filled: Path, invoke: Invoke) -> None:
    assert invoke("tail", "-n", "0").stdout == ""


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_and_for_who_forces_them(
    environment: dict[str, str], coloured: bool, filled: Path
) -> None:
    for arguments in (("tail",), ("query",), ("stats",), ("doctor", "--no-round-trip")):
        result = run_realm(*arguments, env={**os.environ, **environment})
        assert ("\x1b[" in result.stdout) is coloured, arguments
        assert "\x1b[" not in result.stderr


def test_a_reader_that_has_enough_ends_it_quietly(home: Path) -> None:
    store(home, [make_event(n, "note", message="x" * 500) for n in range(1, 2001)])
    for command in ("tail -n 2000", "query -n 2000 --jsonl", "query -n 2000"):
        line = f"set -o pipefail; {EXECUTABLE} {command} | head -n 2"
        result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, command
        assert len(result.stdout.splitlines()) == 2
        assert "Error" not in result.stderr
        assert "Broken pipe" not in result.stderr


def test_following_ends_with_its_reader_though_nothing_comes(filled: Path) -> None:
    line = f"set -o pipefail; {EXECUTABLE} tail -f -n 1 | head -n 1"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert "job_failed" in result.stdout


def test_following_the_log_shows_what_comes_until_ctrl_c(filled: Path, start: Start) -> None:
    running = start("tail", "-f", "-n", "1", "--channel", "jobs,guild")
    running.wait_for("job_failed")
    events = [make_event(n, "note", channel="debug", message="hidden") for n in range(31, 700)]
    store(filled, [*events, make_event(700, "title_earned", message="Slayer of plateaus")])
    running.wait_for("Slayer of plateaus")
    store(filled, [make_event(701, "title_earned", message="Twice")])
    running.wait_for("Twice")
    assert running.interrupt() == 0
    assert "Traceback" not in running.output
    assert "hidden" not in running.output
    assert running.output.count("job_failed") == 1


def test_following_waits_for_a_log_that_is_not_there_yet(home: Path, start: Start) -> None:
    running = start("tail", "-f")
    running.wait_for("waiting for its first event")
    store(home, [make_event(1, "note", message="The first")])
    running.wait_for("The first")
    assert running.interrupt() == 0


def test_following_a_service_goes_on_after_its_restart(
    filled: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = serve(start)
    monkeypatch.setenv("REALM_SERVICE_URL", url)
    running = start("tail", "-f", "-n", "2", "--json")
    running.wait_for(f"Reading the service at {url}.")
    store(filled, [make_event(31, "note", message="before")])
    running.wait_for("before")
    assert server.interrupt() == 0
    store(filled, [make_event(32, "note", message="meanwhile")])
    serve(start, port=int(url.rpartition(":")[2]))
    store(filled, [make_event(33, "note", message="after")])
    running.wait_for("after", 40.0)
    assert running.interrupt() == 0
    shapes = [json.loads(line) for line in running.output.splitlines() if line.startswith("{")]
    assert [shape["cursor"] for shape in shapes] == [29, 30, 31, 32, 33]


def test_the_log_is_read_beside_a_running_service_when_asked_for(
    service: str, invoke: Invoke
) -> None:
    assert "the service at" in invoke("tail").stderr
    assert "the log" in invoke("tail", "--log").stderr
    assert invoke("tail", "--log").stdout == invoke("tail").stdout


def test_a_service_of_another_log_is_read_where_the_settings_name_it(
    service: str, filled: Path, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    store(other, [make_event(1, "note", message="of the other log")])
    assert "job_failed" in invoke("--home", str(other), "tail").stdout
    monkeypatch.setattr("realm_telemetry.cli.sources.DEFAULT_SERVICE_URL", service)
    assert "of the other log" in invoke("--home", str(other), "tail").stdout
