"""Killed at a random moment, a program loses no record whose `emit` returned."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

pytestmark = pytest.mark.processes

SCRIPT = Path(__file__).parent / "emitting.py"


def start(home: Path, endpoint: str, kind: str, count: int) -> subprocess.Popen[bytes]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REALM_", "OTEL_", "PYTEST"))}
    arguments = [endpoint, kind, str(home / "notes"), str(count)]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], env=clean | {"REALM_HOME": str(home)}
    )


def noted(home: Path) -> list[str]:
    """What was written down; a kill may have cut the last line."""
    path = home / "notes"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def run_and_kill(home: Path, endpoint: str, kind: str, chance: random.Random) -> None:
    before = len(noted(home))
    process = start(home, endpoint, kind, 1_000_000)
    while len(noted(home)) == before:
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(chance.random() * 0.4)
    process.send_signal(signal.SIGKILL)
    process.wait(60)


def adopt_the_rest(home: Path, collector: Any) -> None:
    """Programs that emit nothing themselves export what others left."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        process = start(home, collector.endpoint, "durable", 0)
        assert process.wait(30) == 0
        if not list((home / "spool" / "otel" / "collector" / "spool").iterdir()):
            return


def check_nothing_is_lost(home: Path, collector: Any) -> None:
    adopt_the_rest(home, collector)
    names, arrived = noted(home), collector.bodies
    assert len(names) > 100
    assert not set(names) - set(arrived)
    # At least once: of each kill, no more than the batch in flight comes twice.
    twice = len(arrived) - len(set(arrived))
    assert twice <= 512 * len({name.split("-")[0] for name in names})


def test_a_killed_program_loses_nothing(tmp_path: Path, collector: Any) -> None:
    """Five random moments; the next process exports what was left."""
    chance = random.Random(73)
    for _ in range(5):
        run_and_kill(tmp_path, collector.endpoint, "durable", chance)
    check_nothing_is_lost(tmp_path, collector)


def test_several_processes_of_one_name_lose_nothing(tmp_path: Path, collector: Any) -> None:
    """Three at once, one of them killed: each exports its own, and one adopts the dead one's."""
    processes = [start(tmp_path, collector.endpoint, "durable", n) for n in (2_000, 2_000, 10**6)]
    while len({name.split("-")[0] for name in noted(tmp_path)}) < 3:
        time.sleep(0.005)
    processes[-1].send_signal(signal.SIGKILL)
    assert [process.wait(30) for process in processes] == [0, 0, -signal.SIGKILL]
    check_nothing_is_lost(tmp_path, collector)


@pytest.mark.long
def test_a_hundred_kills_lose_nothing(tmp_path: Path, collector: Any) -> None:
    chance = random.Random(74)
    for _ in range(100):
        run_and_kill(tmp_path, collector.endpoint, "durable", chance)
    check_nothing_is_lost(tmp_path, collector)


def test_the_batch_processor_of_the_sdk_loses_its_queue(tmp_path: Path, collector: Any) -> None:
    """The same program with the SDK's processor: what the test above rules out does happen."""
    run_and_kill(tmp_path, collector.endpoint, "batch", random.Random(73))
    time.sleep(0.5)  # a request may still be on its way
    assert set(noted(tmp_path)) - set(collector.bodies)


def test_what_a_collector_that_is_away_missed_comes_later(tmp_path: Path, collector: Any) -> None:
    """Nobody listens in the first run, which ends by itself and in time; the second delivers."""
    process = start(tmp_path, f"http://127.0.0.1:{free_port()}/v1/logs", "durable", 500)
    assert process.wait(30) == 0
    check_nothing_is_lost(tmp_path, collector)
