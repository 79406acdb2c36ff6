"""Homes, the real executable, and a real service."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

from realm_telemetry.cli.group import realm
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.log import LogWriter

EXECUTABLE = Path(sys.executable).with_name("realm")
NOBODY = "http://127.0.0.1:9"
"""Nothing listens on the discard port."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own; no setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith(("REALM_", "OTEL_")) or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("REALM_HOME", str(home))
    monkeypatch.setenv("REALM_SERVICE_URL", NOBODY)
    # Shippers that tests start have then nothing to wait for, and leave.
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log")
    monkeypatch.setenv("PATH", f"{EXECUTABLE.parent}:{os.environ['PATH']}")
    return home


def make_event(number: int, kind: str, age_s: float = 0.0, **fields: Any) -> Event:
    details = fields.pop("details", {})
    channel, severity = resolve(kind, fields.pop("channel", None), fields.pop("severity", None))
    return Event(
        kind=kind,
        channel=channel,
        severity=severity,
        message=fields.pop("message", None) or render(kind, details),
        details=details,
        time_unix_nano=time.time_ns() - int(age_s * 1e9),
        producer=fields.pop("producer", "c" * 16),
        number=number,
        **fields,
    )


def store(home: Path, events: list[Event]) -> None:
    """Write events to a home's log."""
    log = LogWriter(home / "vault" / "jobs.db")
    log.append(events)
    log.close()


@pytest.fixture
def filled(home: Path) -> Path:
    """A home with 30 events: 20 steps (19 of r7, 1 of night-1), 9 checkpoints, a failed job."""
    steps = [
        make_event(
            number,
            "training_step",
            100 - number,
            details={"step": number, "loss": 0.5},
            run_id="r7" if number > 1 else "night-1",
        )
        for number in range(1, 21)
    ]
    checkpoints = [
        make_event(
            number,
            "checkpoint_saved",
            100 - number,
            details={"step": number * 1000, "loss": 0.25, "path": f"ckpt/{number}"},
            hero_id="dio",
        )
        for number in range(21, 30)
    ]
    failed = make_event(30, "job_failed", 10, details={"job_id": "j1", "error": "out of memory"})
    store(home, [*steps, *checkpoints, failed])
    return home


@pytest.fixture
def invoke() -> Callable[..., click.testing.Result]:
    """Runs a command in this process."""

    def run(*arguments: str, **options: Any) -> click.testing.Result:
        return click.testing.CliRunner().invoke(realm, list(arguments), **options)

    return run


def run_realm(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the installed executable."""
    command = [str(EXECUTABLE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


class Running:
    """A command that goes on until it is ended; its output is collected."""

    def __init__(self, command: list[str] | str, **options: Any) -> None:
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )
        self.output = ""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.output += text

    def wait_for(self, text: str, timeout_s: float = 60.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while text not in self.output:
            ended = self.process.poll() is not None and not self._thread.is_alive()
            assert not ended or text in self.output, f"ended without {text!r}: {self.output}"
            assert time.monotonic() < deadline_s, f"no {text!r} in: {self.output}"
            time.sleep(0.02)

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(60)
        self._thread.join(60)
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        self._thread.join(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Starts the executable, or a shell's command line, in the background."""
    running: list[Running] = []

    def begin(*arguments: str, shell: str | None = None, **options: Any) -> Running:
        command = ["bash", "-c", shell] if shell else [str(EXECUTABLE), *arguments]
        running.append(Running(command, **options))
        return running[-1]

    yield begin
    for each in running:
        each.end()


@pytest.fixture
def service(filled: Path, start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a real service of the filled home, which the settings name."""
    url = serve(start)[0]
    monkeypatch.setenv("REALM_SERVICE_URL", url)
    return url


def serve(start: Callable[..., Running], port: int = 0, **options: Any) -> tuple[str, Running]:
    """Start `realm serve` on free ports; its address and process."""
    ports = ("--port", str(port), "--battle-log-port", "0", "--ui-port", "0")
    running = start("serve", *ports, **options)
    running.wait_for("  log  ")
    line = next(text for text in running.output.splitlines() if "RealmService  " in text)
    return line.split()[-1], running
