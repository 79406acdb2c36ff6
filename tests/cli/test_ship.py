"""`realm ship`: what waits, and shipping it by hand."""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from realm_telemetry.log import LogReader

from .conftest import run_realm


@pytest.fixture
def waiting(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two events in spools that nobody ships."""
    monkeypatch.setenv("REALM_SHIPPER", "none")
    for text in ("one", "two"):
        assert run_realm("emit", "note", text).returncode == 0
    return home


def test_status_shows_what_waits(waiting: Path) -> None:
    result = run_realm("ship", "--status")
    assert result.returncode == 0
    assert "no shipper runs" in result.stdout
    assert result.stdout.count("ended: 1 to store") == 2
    (pipeline,) = json.loads(run_realm("ship", "--status", "--json").stdout)
    assert pipeline["pending"] == 2
    assert len(pipeline["spools"]) == 2


def test_once_ships_it_and_says_so(waiting: Path) -> None:
    result = run_realm("ship", "--once")
    assert result.returncode == 0, result.stderr
    assert "all shipped" in result.stdout
    with LogReader(waiting / "vault" / "jobs.db") as reader:
        assert [row.event.message for row in reader.now.after(0)] in (
            ["one", "two"],
            ["two", "one"],
        )
    assert json.loads(run_realm("ship", "--once", "--json").stdout)[0]["pending"] == 0


def test_a_spool_from_elsewhere_can_be_shipped(waiting: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "copy"
    shutil.copytree(waiting / "spool", elsewhere)
    shutil.rmtree(waiting / "spool")
    assert "nothing to ship" in run_realm("ship", "--once").stdout
    result = run_realm("ship", "--once", "--spool", str(elsewhere))
    assert result.returncode == 0, result.stderr
    with LogReader(waiting / "vault" / "jobs.db") as reader:
        assert len(reader.now.after(0)) == 2


def test_what_cannot_be_shipped_in_time_is_reported(waiting: Path) -> None:
    (waiting / "vault").mkdir(exist_ok=True)
    (waiting / "vault" / "jobs.db").write_bytes(b"no database at all" * 100)
    result = run_realm("ship", "--once", "--timeout", "1")
    assert result.returncode == 1
    assert "2 events left to store" in result.stdout
    assert "is not an SQLite database" in result.stdout


def test_a_home_without_pipelines_has_nothing_to_show(home: Path) -> None:
    result = run_realm("ship", "--status")
    assert result.returncode == 0
    assert "There is no pipeline" in result.stdout


def test_a_pipeline_that_cannot_be_read_is_not_passed_over(waiting: Path) -> None:
    """Exit code 1, with the reason; "nothing to ship" would be wrong."""
    (manifest,) = (waiting / "spool").glob("*/manifest.json")
    manifest.write_text("{")
    for option in ("--once", "--status"):
        result = run_realm("ship", option)
        assert result.returncode == 1
        assert "is not a manifest" in result.stdout


def test_the_spools_of_the_setting_are_shipped_too(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_SHIPPER", "none")
    monkeypatch.setenv("REALM_SPOOL", str(tmp_path / "chosen"))
    assert run_realm("emit", "note", "one").returncode == 0
    assert run_realm("ship", "--once").returncode == 0
    with LogReader(home / "vault" / "jobs.db") as reader:
        assert [row.event.message for row in reader.now.after(0)] == ["one"]


@pytest.mark.processes
def test_status_and_doctor_say_why_an_exporter_waits(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its receiver sends headers for ever."""

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listening.accept()[0],), daemon=True).start()

    reason = "no answer within 0.5 s: the answer's headers took longer"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        (home / "realm.toml").write_text("[options.realm_service]\ntimeout_s = 0.5\n")
        monkeypatch.setenv("REALM_EXPORTERS", "battle_log,realm_service")
        monkeypatch.setenv("REALM_SERVICE_URL", url)
        assert run_realm("emit", "note", "waits").returncode == 0
        deadline_s = time.monotonic() + 60
        while reason not in (shown := run_realm("ship", "--status").stdout):
            assert time.monotonic() < deadline_s, shown
        assert reason in run_realm("doctor", "--no-round-trip", "--timeout", "1").stdout
        (pipeline,) = json.loads(run_realm("ship", "--status", "--json").stdout)
        os.kill(pipeline["pid"], signal.SIGTERM)
        listening.shutdown(socket.SHUT_RDWR)


def test_no_command_shows_the_password_of_an_address(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_SERVICE_URL", "http://bob:hunter2x@127.0.0.1:1/?token=abc1")
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log,realm_service")
    assert run_realm("emit", "note", "one").returncode == 0
    shown = [
        run_realm(*arguments)
        for arguments in (
            ("ship", "--once", "--timeout", "2"),
            ("ship", "--status"),
            ("ship", "--status", "--json"),
            ("doctor",),
            ("doctor", "--json"),
            ("state", "--url", "http://bob:hunter2x@127.0.0.1:1"),
            ("replay", "--to", "http://bob:hunter2x@127.0.0.1:1"),
        )
    ]
    printed = "".join(result.stdout + result.stderr for result in shown)
    assert "bob:[redacted]@127.0.0.1:1" in printed
    logs = "".join(path.read_text() for path in (home / "logs").glob("*.log*"))
    for text in (printed, logs):
        assert "hunter2x" not in text
        assert "abc1" not in text
