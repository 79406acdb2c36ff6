"""A service and the snapshots that other versions of the package left."""

import asyncio
import logging
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.cli.sources import LogBackend
from realm_telemetry.config import load_settings
from realm_telemetry.event import Event
from realm_telemetry.folds.runs import RunsRunner
from realm_telemetry.folds.state import FOLD_VERSION
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.log.snapshots import FoldSnapshot
from realm_telemetry.service import ServiceSettings
from realm_telemetry.service.folds import RunsKeeper
from realm_telemetry.service.reader_pool import ReaderPool
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


def test_a_home_without_a_service_finds_the_curves_where_its_service_keeps_them(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere" / "state.db"
    (tmp_path / "realm.toml").write_text(f'[service]\nstate_path = "{elsewhere}"\n')
    settings = load_settings({"home": tmp_path}, environ={})
    assert ServiceSettings.of(settings).state_path == settings.state_path == elsewhere
    with serving(free_ports(tmp_path, state_path=elsewhere)) as server, asking(server) as client:
        post(client, 1, 3)
        wait_until(lambda: counted(client) == 3)
    backend = LogBackend(settings)
    assert backend.log.curves(backend.reader.log_id).mark() is not None
    backend.close()


class SlowRunner(RunsRunner):
    """Waits in the first saving until it is let go; notes two savings at once."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.began, self.let_go = threading.Event(), threading.Event()
        self.running = self.most_at_once = self.savings = 0

    def save(self, snapshot: FoldSnapshot | None = None) -> None:
        self.running += 1
        self.savings += 1
        self.most_at_once = max(self.most_at_once, self.running)
        self.began.set()
        assert self.let_go.wait(60)
        super().save(snapshot)
        self.running -= 1


@pytest.mark.anyio
async def test_the_last_saving_waits_for_one_that_was_cancelled(tmp_path: Path) -> None:
    """Its thread goes on: two at once would store a layer twice, or none."""
    log = open_log(tmp_path / "jobs.db")
    with log.writer() as writer:
        writer.append([Event("run_started", "system", "info", "", {}, 1, PRODUCER, 1, run_id="r")])
    runner = SlowRunner(log)
    readers = ReaderPool(log, 1, 60.0)
    keeper = RunsKeeper(readers, runner, lambda _: None)
    await keeper.fold(1)
    task = asyncio.create_task(keeper.save_every(0.001))
    await asyncio.to_thread(runner.began.wait, 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    last = asyncio.create_task(keeper.save())
    await asyncio.sleep(0.2)
    assert runner.savings == 1
    runner.let_go.set()
    await last
    assert runner.most_at_once == 1
    readers.close()
    with log.reader() as reader:
        assert reader.now.run("r") is not None
