"""A real service in a thread, on free ports, and what tests ask it with."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.event import Event
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service import RealmServer, ServiceSettings
from tests.waiting import wait_until

PRODUCER = "00000000000000aa"


def make_event(number: int, **fields: Any) -> Event:
    """An event of one producer."""
    given: dict[str, Any] = {
        "kind": "note",
        "channel": "system",
        "severity": "info",
        "message": f"Note {number}",
        "details": {"step": number},
        "time_unix_nano": time.time_ns(),
        "producer": PRODUCER,
        "number": number,
    }
    return Event(**(given | fields))


def free_ports(home: Path, **options: Any) -> ServiceSettings:
    """Settings on ports that the system chooses."""
    ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
    return ServiceSettings.for_home(home, **(ports | options))


@contextmanager
def serving(settings: ServiceSettings) -> Iterator[RealmServer]:
    """Run a service in a thread until the block ends."""
    server = RealmServer(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.started.wait(60)
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive(), "the service did not stop"


@contextmanager
def asking(server: RealmServer, **options: Any) -> Iterator[httpx.Client]:
    """A client of a running service."""
    with httpx.Client(base_url=server.url, timeout=20, **options) as client:
        yield client


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the service runs on."""
    return "asyncio"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealmServer]:
    """A service with default settings."""
    with serving(free_ports(tmp_path)) as running:
        yield running


@pytest.fixture
def client(server: RealmServer) -> Iterator[httpx.Client]:
    """A client of that service."""
    with asking(server) as made:
        yield made


def post_notes(client: httpx.Client, first: int, last: int, **fields: Any) -> dict[str, Any]:
    """Store numbered notes over HTTP."""
    shapes = [
        {"kind": "note", "message": f"Note {n}", "producer": PRODUCER, "number": n, **fields}
        for n in range(first, last + 1)
    ]
    response = client.post("/api/v1/events", json={"events": shapes})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


HEAVY = "/api/battle_log/series?fields=step&" + "&".join(f"not=a{n}.b.c:x" for n in range(16))
"""A query that takes seconds of the log that `heavy` makes."""


@contextmanager
def heavy(tmp_path: Path, **options: Any) -> Iterator[RealmServer]:
    """A service with one thread for queries, on a log whose details are long."""
    settings = free_ports(tmp_path, query_threads=1, **options)
    shutil.copytree(_heavy_vault(tmp_path.parent), settings.log_path.parent, dirs_exist_ok=True)
    with serving(settings) as server, asking(server) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        # The other folds read the log with the same thread.
        service = server.app.state.service
        wait_until(lambda: service.metrics.ready and service.runs.ready)
        yield server


@cache
def _heavy_vault(directory: Path) -> Path:
    """A directory with that log, which takes seconds to write."""
    vault = directory / "heavy" / "vault"
    details = {f"a{n}": {"b": {"c": "y", "d": "z" * 600}} for n in range(40)}
    events = [make_event(number, details=details) for number in range(1, 1_501)]
    with LogWriter(vault / "jobs.db") as writer:
        for start in range(0, len(events), 500):
            writer.append(events[start : start + 500])
    return vault
