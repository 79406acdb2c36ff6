"""What goes wrong is one readable message and an exit code, or one JSON object."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from realm_telemetry.testing import BrokenServer

from .conftest import EXECUTABLE, NOBODY, Running, run_realm

Invoke = Callable[..., Result]

CASES = [
    (("query",), 1, "log", "there is no log at"),
    (("query", "--since", "soon"), 2, "invalid_parameter", "--since: 'soon' is not a time"),
    (("query", "--channel", "nowhere"), 2, "invalid_parameter", "--channel"),
    (("query", "--url", NOBODY), 1, "unreachable", "No RealmService answers"),
    (("query", "--colour"), 2, "usage", "No such option"),
    (("stats", "--by", "hero"), 2, "invalid_parameter", "--by: cannot count by 'hero'"),
    (("ship",), 2, "usage", "Say --once or --status."),
    (("state", "nowhere"), 2, "usage", "nowhere"),
    (("emit",), 2, "usage", "KIND"),
]


@pytest.mark.parametrize(("arguments", "code", "error", "message"), CASES)
def test_an_error_is_one_message_without_traceback(
    arguments: tuple[str, ...], code: int, error: str, message: str, invoke: Invoke
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("realm: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("arguments", "code", "error", "message"), CASES)
def test_with_json_an_error_is_an_object_on_stderr(
    arguments: tuple[str, ...], code: int, error: str, message: str, invoke: Invoke
) -> None:
    result = invoke(*arguments, "--json")
    shape = json.loads(result.stderr)
    assert result.exit_code == code
    assert result.stdout == ""
    assert set(shape) == {"error", "message", "hint"}
    assert shape["error"] == error
    assert message in shape["message"]


def test_a_setting_that_is_wrong_is_named_with_its_fix(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_SERVICE_URL", "localhost:8866")
    result = invoke("query")
    assert result.exit_code == 2
    assert "REALM_SERVICE_URL" in result.stderr


def test_a_corrupt_log_is_reported_with_the_fix(home: Path, invoke: Invoke) -> None:
    (home / "vault").mkdir()
    (home / "vault" / "jobs.db").write_bytes(b"no database at all" * 100)
    result = invoke("tail", "--log")
    assert result.exit_code == 1
    assert "is not an SQLite database" in result.stderr


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_serve_without_the_extra_says_what_to_install(package: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None;"
        "from realm_telemetry.cli import main; sys.exit(main(['serve']))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == (
        f"realm: `realm serve` needs {package}, which is not installed."
        " pip install 'realm-telemetry[service]'\n"
    )


def test_output_that_a_terminal_cannot_show_does_not_fail(filled: Path) -> None:
    result = run_realm("tail", "--log", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0
    assert "Checkpoint 29,000 saved" in result.stdout


def test_ctrl_c_before_the_end_is_an_exit_code_of_its_own(
    home: Path, start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_SHIPPER", "none")
    running = start("emit", "note", "x", "--wait", "--timeout", "60")
    while not list(home.glob("spool/*/*/control")):
        time.sleep(0.02)
    time.sleep(0.3)
    assert running.interrupt() == 130
    assert "Traceback" not in running.output


def test_without_a_log_the_error_says_that_the_service_wants_a_token(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BrokenServer() as broken:
        broken.health_mode = "401"
        monkeypatch.setenv("REALM_SERVICE_URL", broken.url)
        result = invoke("tail", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stderr)["error"] != "log"


@pytest.mark.parametrize("arguments", [("state", "J\udcf6"), ("J\udcf6",), ("import", "J\udcf6")])
@pytest.mark.parametrize("as_json", [False, True])
def test_arguments_that_are_not_utf_8_can_be_reported(
    arguments: tuple[str, ...], as_json: bool, invoke: Invoke
) -> None:
    result = invoke(*arguments, *["--json"] * as_json)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    if as_json:
        assert "J" in json.loads(result.stderr)["message"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("query", "--run"), "See: realm query --help"),
        (("query", "--nope"), "See: realm query --help"),
        (("alerts", "mute"), "See: realm alerts mute --help"),
    ],
)
def test_wrong_usage_leads_to_the_help_of_the_command(
    arguments: tuple[str, ...], hint: str, invoke: Invoke
) -> None:
    assert hint in invoke(*arguments).stderr


@pytest.mark.processes
def test_a_command_whose_output_is_closed_does_its_work(home: Path) -> None:
    """As in a shell after `>&-`; the log is not opened where the output would be."""
    command = f"{EXECUTABLE} emit note hello --wait <&- >&- 2>&-; echo $?; {EXECUTABLE} query >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout == "0\n"
    assert "Traceback" not in done.stderr
    assert "hello" in run_realm("query").stdout


@pytest.mark.parametrize("command", [("runs",), ("query",), ("compare", "a", "b"), ("up",)])
def test_a_home_that_is_a_file_is_said_to_be_one(
    command: tuple[str, ...], home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not a log that comes with the first event."""
    (home / "notes").write_text("x")
    monkeypatch.setenv("REALM_HOME", str(home / "notes"))
    result = invoke(*command)
    assert result.exit_code in (1, 2)
    assert f"{home / 'notes'} is a file" in result.stderr
    assert "first event" not in result.stderr
