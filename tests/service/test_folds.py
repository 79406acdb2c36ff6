"""A service and the snapshots that other versions of the package left."""

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.folds.state import FOLD_VERSION
from tests.waiting import wait_until

from .conftest import PRODUCER, asking, free_ports, serving


def post(client: httpx.Client, first: int, count: int) -> None:
    events = [
        {"kind": "job_started", "producer": PRODUCER, "number": number}
        | {"details": {"job_id": f"j{number}"}}
        for number in range(first, first + count)
    ]
    assert client.post("/api/v1/events", json={"events": events}).status_code == 200


def counted(client: httpx.Client) -> Any:
    wait_until(lambda: client.get("/ready").status_code == 200)
    return client.get("/api/state/jobs").json()["totals"]["job_started"]


def snapshot(home: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(home / "data" / "realm_state.db")) as connection:
        found: tuple[int, int] = connection.execute(
            "SELECT fold_version, cursor FROM realm_snapshot"
        ).fetchone()
        return found


def test_the_snapshot_of_a_newer_version_stays_and_retention_waits_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It would lack the rows that this service has seen and retention took away."""
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post(client, 1, 3)
        wait_until(lambda: counted(client) == 3)
    with closing(sqlite3.connect(tmp_path / "data" / "realm_state.db")) as connection, connection:
        connection.execute("UPDATE realm_snapshot SET fold_version = ?", (FOLD_VERSION + 1,))
    newer = snapshot(tmp_path)
    often = {"snapshot_interval_s": 0.05, "upkeep_interval_s": 0.05}
    settings = free_ports(tmp_path, retention_days=0.0, **often)
    with (
        caplog.at_level(logging.WARNING),
        serving(settings) as server,
        asking(server) as client,
    ):
        post(client, 4, 3)
        wait_until(lambda: counted(client) == 6)
        wait_until(lambda: "a newer version of this package has saved it" in caplog.text)
        time.sleep(0.5)  # ten steps of retention
    assert snapshot(tmp_path) == newer == (FOLD_VERSION + 1, 3)
    with closing(sqlite3.connect(tmp_path / "vault" / "jobs.db")) as connection:
        assert connection.execute("SELECT count(*) FROM battle_log").fetchone() == (6,)


def test_a_state_that_cannot_be_read_is_folded_again_and_replaced(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post(client, 1, 3)
        wait_until(lambda: counted(client) == 3)
    with closing(sqlite3.connect(tmp_path / "data" / "realm_state.db")) as connection, connection:
        connection.execute("UPDATE realm_snapshot SET state = x'c1'")
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        assert counted(client) == 3
        post(client, 4, 1)
        wait_until(lambda: counted(client) == 4)
    assert snapshot(tmp_path) == (FOLD_VERSION, 4)


def test_snapshots_are_where_the_settings_say(tmp_path: Path) -> None:
    state_path = tmp_path / "elsewhere" / "state.db"
    with serving(free_ports(tmp_path, state_path=state_path)) as server, asking(server) as client:
        post(client, 1, 3)
        wait_until(lambda: counted(client) == 3)
    assert {path.name for path in state_path.parent.iterdir()} == {
        "state.db",
        "realm_measures.db",
        "realm_curves.db",
    }
    with serving(free_ports(tmp_path, state_path=state_path)) as server, asking(server) as client:
        assert counted(client) == 3
    assert not (tmp_path / "data" / "realm_state.db").exists()
    assert not (tmp_path / "data" / "realm_measures.db").exists()
