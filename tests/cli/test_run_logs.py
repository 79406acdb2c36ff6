"""`realm logs`, and the end of `realm show`: what a run printed, from the home and a service."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from realm_telemetry.spool.output import KeptOutput
from tests.waiting import wait_until

from .conftest import EXECUTABLE, Running, make_event, store

Invoke = Callable[..., Result]
ODD = "lab a/b 🐉"


@pytest.fixture(params=["the home", "a service"])
def printed(request: pytest.FixtureRequest, filled: Path) -> KeptOutput:
    """What a run has printed that failed; the run r7 is known and printed nothing."""
    end = {"status": "failed", "reason": "exit code 3", "evidence": {"exit_code": 3}}
    events = [
        make_event(40, "run_started", details={"command": "train"}, run_id=ODD, producer="a" * 16),
        make_event(41, "run_ended", details=end, run_id=ODD, producer="a" * 16),
    ]
    store(filled, events)
    kept = KeptOutput(filled, ODD)
    kept.append([*(f"line {number}" for number in range(200)), "odd \x1b[31m\ttext"])
    if request.param == "a service":
        request.getfixturevalue("service")
    return kept


def test_the_last_lines_are_printed(printed: KeptOutput, invoke: Invoke) -> None:
    lines = invoke("logs", ODD, "--tail", "2").stdout.splitlines()
    assert lines == ["line 199", "odd \\x1b[31m   text"]
    assert len(invoke("logs", ODD).stdout.splitlines()) == 100
    assert invoke("logs", ODD, "-n", "0").stdout == ""


def test_a_run_that_has_ended_is_not_waited_for(printed: KeptOutput, invoke: Invoke) -> None:
    """Nothing writes any more: a process does not see a lock of its own."""
    printed.close()
    assert len(invoke("logs", ODD, "-f", "-n", "7").stdout.splitlines()) == 7


def test_a_run_that_failed_is_shown_with_its_last_lines(
    printed: KeptOutput, invoke: Invoke
) -> None:
    text = invoke("show", ODD).stdout
    assert "The last lines of its output:\nline 181\n" in text
    assert text.endswith("text\n")
    assert "output:" not in invoke("show", "r7").stdout
    json.loads(invoke("show", ODD, "--json").stdout)


def test_what_is_not_there_is_said(printed: KeptOutput, invoke: Invoke) -> None:
    result = invoke("logs", "r7")
    assert result.exit_code == 1
    assert "Nothing that the run 'r7' printed is kept here." in result.stderr
    result = invoke("logs", "r")
    assert result.exit_code == 1
    assert "There is no run 'r'. Did you mean r7" in result.stderr


@pytest.mark.processes
def test_a_run_is_followed_to_its_end(filled: Path, start: Callable[..., Running]) -> None:
    script = "echo first; read x; echo last"
    run = subprocess.Popen(
        [str(EXECUTABLE), "run", "-q", "--run-id", "r9", "--", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert run.stdin is not None
    assert run.stdout is not None
    kept = filled / "runs" / "r9" / "output.log"
    wait_until(lambda: kept.exists() and kept.read_text() == "first\n")
    logs = start("logs", "r9", "-f", "--log")
    logs.wait_for("first")
    run.stdin.write(b"\n")
    run.stdin.close()
    assert run.wait(60) == 0
    run.stdout.close()
    logs.wait_for("last")
    assert logs.process.wait(60) == 0
