"""Homes, events, and the real executable."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.event import Event
from realm_telemetry.log import LogReader, LogRow, LogWriter, ProducerInfo

EXECUTABLE = Path(sys.executable).with_name("realm")
NOW = 1_764_374_400_000_000_000
"""2025-11-29T00:00:00Z"""
SECOND = 1_000_000_000
PRODUCER = "00112233445566aa"
RESOURCE = {"service.name": "training_daemon", "host.name": "forge", "process.pid": 77}


def make_event(number: int = 1, **changes: Any) -> Event:
    """An event that differs from the others only in the given fields; one a second."""
    fields: dict[str, Any] = {
        "kind": "job_started",
        "channel": "jobs",
        "severity": "info",
        "message": f"Job {number} started",
        "details": {"step": number},
        "time_unix_nano": NOW + number * SECOND,
        "producer": PRODUCER,
        "number": number,
    }
    return Event(**{**fields, **changes})


class Home:
    """A REALM_HOME with its log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "vault" / "jobs.db"

    def store(self, events: Sequence[Event], **options: Any) -> None:
        with LogWriter(self.log) as writer:
            for start in range(0, len(events), 1000):
                writer.append(events[start : start + 1000], **options)

    def register(self, producer: str = PRODUCER, resource: dict[str, Any] = RESOURCE) -> None:
        with LogWriter(self.log) as writer:
            writer.register_producer(ProducerInfo(producer, "p1", resource))

    def rows(self) -> list[LogRow]:
        with LogReader(self.log) as reader:
            return reader.now.after(0, 1_000_000)

    def events(self) -> list[Event]:
        return [row.event for row in self.rows()]

    def resources(self) -> dict[str, dict[str, Any]]:
        with LogReader(self.log) as reader:
            return {info.producer: info.resource for info in reader.now.producers()}

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the installed executable here."""
        return subprocess.run(
            [str(EXECUTABLE), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment(),
            **options,
        )

    def environment(self) -> dict[str, str]:
        foreign = ("REALM_", "OTEL_", "NO_COLOR", "FORCE_COLOR")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
        return kept | {"REALM_HOME": str(self.path), "REALM_SERVICE_URL": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith(("REALM_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "home"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Home:
    return Home(tmp_path / "elsewhere")
