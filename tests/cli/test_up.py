"""`realm up` and `realm down`: the service in the background, found on any port."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path

import httpx
import pytest

from realm_telemetry.cli.up import UNIT
from realm_telemetry.home import running_service
from tests.waiting import wait_until

from .conftest import EXECUTABLE, run_realm
from .test_run_output import Terminal

pytestmark = pytest.mark.processes

ANY_PORTS = ("--", "--port", "0", "--battle-log-port", "0", "--ui-port", "0")


@pytest.fixture(autouse=True)
def _no_address(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings name no address; what was started is ended."""
    monkeypatch.delenv("REALM_SERVICE_URL")
    yield
    running = running_service(home)
    if running is not None:
        os.kill(running.pid, signal.SIGKILL)


def up(*arguments: str) -> dict[str, object]:
    done = run_realm("up", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def run_on_a_terminal(home: Path, table: str) -> str:
    """What a `realm run` shows on a terminal, in a home with so much in the table `[run]`."""
    ports = "port = 0\nbattle_log_port = 0\nui_port = 0\n"
    (home / "realm.toml").write_text(f"[service]\n{ports}[run]\n{table}")
    script = f"while [ ! -e {home}/seen ]; do sleep 0.1; done"
    terminal = Terminal([str(EXECUTABLE), "run", "--run-id", "r1", "--", "sh", "-c", script])
    if table == "serve = true":
        wait_until(lambda: running_service(home) is not None)
        terminal.wait_for(b"/runs/r1")
    (home / "seen").touch()
    while terminal.read():
        pass
    os.waitpid(terminal.pid, 0)
    return terminal.shown.decode()


def test_run_on_a_terminal_brings_the_service_up(home: Path) -> None:
    shown = run_on_a_terminal(home, "serve = true")
    running = running_service(home)
    assert running is not None, "it goes on after the command"
    assert f"completed, exit code 0 ({running.pages}/runs/r1)" in shown
    assert run_realm("down").returncode == 0, "no signal is blocked there"
    assert running_service(home) is None


def test_run_brings_no_service_up_where_nobody_wants_it(home: Path) -> None:
    assert "(realm show r1)" in run_on_a_terminal(home, "serve = false")
    assert "no service is started" in run_on_a_terminal(home, "serve = 7")
    (home / "realm.toml").unlink()
    assert run_realm("run", "--", "true").returncode == 0
    assert running_service(home) is None
    assert not (home / "logs" / "service.log").exists()


def test_up_starts_the_service_once_and_down_ends_it(home: Path) -> None:
    first = up(*ANY_PORTS)
    assert first["started"] is True
    assert httpx.get(f"{first['url']}/ready").status_code in (200, 503)
    assert httpx.get(f"{first['pages']}/health").status_code == 200
    again = up()
    assert again == {**first, "started": False}
    assert str(first["pages"]) in run_realm("up").stdout
    ended = run_realm("down")
    assert (ended.returncode, ended.stdout) == (
        0,
        f"The service at {first['url']} has ended.\n",
    )
    words = Path(f"/proc/{first['pid']}/cmdline")
    assert not words.exists() or words.read_bytes() == b"", "gone, or not yet taken notice of"
    assert running_service(home) is None
    nothing = run_realm("down")
    assert (nothing.returncode, nothing.stdout) == (0, f"No service runs on {home}.\n")


def test_it_outlives_the_terminal_and_commands_find_it(home: Path) -> None:
    script = f"realm up {' '.join(ANY_PORTS)}; kill -HUP -$$"
    subprocess.run(["bash", "-c", script], start_new_session=True, check=False, timeout=60)
    running = running_service(home)
    assert running is not None
    event_id = run_realm("emit", "note", "hello").stdout.strip()
    wait_until(lambda: event_id in run_realm("query", "--json").stdout)
    assert f"Reading the service at {running.url};" in run_realm("tail").stderr
    doctor = run_realm("doctor", "--no-round-trip")
    assert f"{running.url} serves this log" in doctor.stdout


def test_realm_run_says_where_the_page_of_the_run_is() -> None:
    service = up(*ANY_PORTS)
    done = run_realm("run", "--run-id", "a/b", "--", "false")
    address = f"{service['pages']}/runs/a%2Fb"
    assert f"run a/b: started ({address})" in done.stderr
    assert f"run a/b: failed, exit code 1 ({address})" in done.stderr
    wait_until(lambda: httpx.get(address).status_code == 200)


def test_after_a_kill_the_address_counts_no_more(home: Path) -> None:
    first = up(*ANY_PORTS)
    os.kill(int(str(first["pid"])), signal.SIGKILL)
    wait_until(lambda: running_service(home) is None)
    assert (home / "service.json").read_text() != "", "the file is still there"
    assert run_realm("down").stdout.startswith("No service runs")
    assert up(*ANY_PORTS)["started"] is True


def test_a_service_that_cannot_start_says_why(home: Path) -> None:
    done = run_realm("up", "--", "--host", "192.0.2.1", "--token-file", "/nowhere")
    assert done.returncode == 1
    assert "did not come up" in done.stderr
    assert "--token-file: /nowhere cannot be read" in done.stderr
    assert str(home / "logs" / "service.log") in done.stderr
    as_json = run_realm("up", "--json", "--", "--token-file", "/nowhere")
    assert json.loads(as_json.stderr)["error"] == "service_not_up"


def test_a_unit_for_systemd(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "100% of $HOME"
    monkeypatch.setenv("REALM_HOME", str(odd))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    done = run_realm("up", "--install", "--", "--port", "9866")
    assert f"systemctl --user enable --now {UNIT}" in done.stdout
    unit = RawConfigParser()
    unit.read(tmp_path / "config" / "systemd" / "user" / UNIT)
    quoted = str(odd).replace("%", "%%").replace("$", "$$")
    assert unit["Service"]["environment"] == f'"REALM_HOME={quoted}"'
    program, _, rest = unit["Service"]["execstart"].partition(" ")
    assert (Path(program).parent, rest) == (
        Path(sys.executable).parent,
        "-m realm_telemetry serve --port 9866",
    )
    assert running_service(odd) is None
    verify = shutil.which("systemd-analyze")
    if verify:
        path = tmp_path / "config" / "systemd" / "user" / UNIT
        checked = subprocess.run([verify, "verify", "--user", path], capture_output=True, text=True)
        assert UNIT not in checked.stderr
