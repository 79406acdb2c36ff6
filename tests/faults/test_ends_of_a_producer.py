"""However a producer ends, every event whose `emit` returned is in the log once, in order."""

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.shipper.overview import pipeline_directories
from realm_telemetry.shipper.ship_once import ship_once

SCRIPT = Path(__file__).parent / "acknowledging.py"


def start(home: Path, way: str, count: int) -> subprocess.Popen[str]:
    arguments = [str(home), str(home / "acknowledged"), way, str(count)]
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=60)
    return errors


def ship_all(home: Path) -> None:
    """Wait until the shipper, or we in its place, have everything in the log."""
    pipelines = pipeline_directories(home / "spool")
    results = ship_once(pipelines, 60)
    assert all(result.complete for result in results), results


def logged(home: Path, what: str = "kind = 'note'") -> Sequence[tuple[str, str]]:
    """(event id, producer) in log order."""
    with closing(sqlite3.connect(home / "vault" / "jobs.db")) as database:
        return database.execute(
            f"SELECT lower(hex(event_id)), producer FROM battle_log WHERE {what} ORDER BY id"
        ).fetchall()


def acknowledged(home: Path) -> list[str]:
    """The ids written down; a kill may have cut the last line."""
    text = (home / "acknowledged").read_text()
    return [line for line in text.split("\n") if len(line) == 32]


def check_once_and_in_order(home: Path) -> None:
    rows = logged(home)
    ids = [event_id for event_id, _ in rows]
    assert len(ids) == len(set(ids))
    assert set(acknowledged(home)) <= set(ids)
    for producer in {producer for _, producer in rows}:
        mine = [event_id for event_id in ids if event_id.startswith(producer)]
        assert mine == sorted(mine), "log order is the order of emission"


@pytest.mark.parametrize(
    ("way", "lost"),
    [
        ("exit", 0),
        ("exception", 0),
        ("os_exit", 1),
        ("SIGTERM", 1),
        ("SIGSEGV", 1),
        ("SIGKILL", 1),
    ],
)
def test_every_way_to_end_keeps_every_event(tmp_path: Path, way: str, lost: int) -> None:
    """Who could say goodbye is not reported as lost; who could not is, once."""
    process = start(tmp_path, way, 300)
    finish(process)
    ship_all(tmp_path)
    check_once_and_in_order(tmp_path)
    assert len(acknowledged(tmp_path)) == 600
    assert len(logged(tmp_path)) == 600
    assert len(logged(tmp_path, "kind = 'process_lost'")) == lost


@pytest.mark.parametrize(
    ("way", "expected"),
    [("fork", 3), ("spawn", 3), ("forkserver", 3), ("bare_fork", 3), ("exec", 2)],
)
def test_children_are_producers_of_their_own(tmp_path: Path, way: str, expected: int) -> None:
    """Forked, spawned, from a fork server or executed: nothing lost, nobody reported lost."""
    errors = finish(start(tmp_path, way, 100))
    ship_all(tmp_path)
    check_once_and_in_order(tmp_path)
    assert len(logged(tmp_path)) == expected * 100, errors
    producers = {producer for _, producer in logged(tmp_path)}
    assert len(producers) == (expected if way != "bare_fork" else 2)
    assert logged(tmp_path, "kind = 'process_lost'") == []


def test_children_follow_the_home_that_the_code_of_their_parent_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the one that the shell names, which the parent did not follow either."""
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "of_the_shell"))
    errors = finish(start(tmp_path, "spawn", 10))
    ship_all(tmp_path)
    check_once_and_in_order(tmp_path)
    assert len(logged(tmp_path)) == 30, errors
    assert not (tmp_path / "of_the_shell").exists()


def kill_at_random(home: Path, chance: random.Random, round_: int) -> None:
    process = start(home, "SIGKILL", 1_000_000)
    acknowledged_file = home / "acknowledged"
    size = acknowledged_file.stat().st_size if acknowledged_file.exists() else 0
    while not acknowledged_file.exists() or acknowledged_file.stat().st_size == size:
        assert process.poll() is None, f"round {round_}: {finish(process)}"
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.12))
    process.kill()
    finish(process)


@pytest.mark.parametrize(
    "rounds", [6, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_random_kills_lose_nothing(tmp_path: Path, rounds: int) -> None:
    """Two emitting threads, killed at any instant, with the shipper at work beside them."""
    chance = random.Random(rounds)
    for round_ in range(rounds):
        kill_at_random(tmp_path, chance, round_)
    ship_all(tmp_path)
    check_once_and_in_order(tmp_path)
    assert len(acknowledged(tmp_path)) > rounds * 20
    assert len(logged(tmp_path, "kind = 'process_lost'")) == rounds
