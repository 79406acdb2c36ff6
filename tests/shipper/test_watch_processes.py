"""The watch over real programs: a loss that is none, a hang, a stop, and wrong settings."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.reader import LogReader

pytestmark = [pytest.mark.processes]

PROGRAM = """
import sys, time
import realm_telemetry as realm
realm.configure(service_name="trainer", exporters=["battle_log"], run_id="r7")
realm.run_started(command="train")
for step in range(12):
    realm.training_step(step=step, loss=float("nan") if step == 11 else 0.5)
    time.sleep(0.05)
sys.stdin.readline()
realm.training_step(step=12, loss=0.5)
sys.stdin.readline()
"""
QUICK = "[watch]\nstall_min_s = 2\n"


@pytest.fixture
def train(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the program in a home with these settings."""
    started = []

    def start(settings: str, code: str = PROGRAM) -> subprocess.Popen[str]:
        (tmp_path / "realm.toml").write_text(settings)
        environment = {name: value for name, value in os.environ.items() if name[:5] != "REALM"}
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**environment, "REALM_HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def logged(home: Path, kind: str) -> list[LogRow]:
    try:
        with LogReader(home / "vault" / "jobs.db") as reader:
            return [row for row in reader.now.after(0, 1000) if row.event.kind == kind]
    except LogUnavailableError:  # it is being made
        return []


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_hang_and_a_loss_that_is_none_are_found_while_the_program_runs(
    tmp_path: Path, train: Any, eventually: Any
) -> None:
    process = train(QUICK)
    eventually(lambda: logged(tmp_path, "run_stalled"))
    (stalled,) = logged(tmp_path, "run_stalled")
    assert stalled.event.run_id == "r7"
    assert stalled.event.details["last_step"] == 11
    (lost,) = logged(tmp_path, "loss_not_finite")
    assert lost.event.details == {"field": "loss", "value": "NaN", "step": 11}
    eventually(lambda: logged(tmp_path, "stack_captured"))
    (captured,) = logged(tmp_path, "stack_captured")
    assert captured.event.run_id == "r7"
    stack = captured.event.details["stack"]
    assert stack.startswith("Thread MainThread:")
    assert "sys.stdin.readline()" in stack or 'File "<string>", line 9' in stack
    # The keeper's answer is no step.
    time.sleep(2.5)
    assert logged(tmp_path, "run_resumed_progress") == []
    go_on(process)
    eventually(lambda: logged(tmp_path, "run_resumed_progress"))
    assert process.poll() is None


@pytest.mark.long
def test_a_program_that_is_stopped_on_purpose_has_not_stalled(
    tmp_path: Path, train: Any, eventually: Any
) -> None:
    process = train("[watch]\nstall_min_s = 5\n")
    eventually(lambda: len(logged(tmp_path, "training_step")) == 12)
    process.send_signal(signal.SIGSTOP)
    time.sleep(8)
    assert logged(tmp_path, "run_stalled") == []
    process.send_signal(signal.SIGCONT)
    eventually(lambda: logged(tmp_path, "run_stalled"))


def test_settings_that_cannot_be_read_are_reported_and_harm_nothing(
    tmp_path: Path, train: Any, eventually: Any
) -> None:
    process = train('[watch]\nstall_min_s = "soon"\n')
    eventually(lambda: len(logged(tmp_path, "training_step")) == 12)
    eventually(lambda: logged(tmp_path, "loss_not_finite"))
    assert process.poll() is None
    logs = "".join(path.read_text() for path in (tmp_path / "logs").glob("shipper-*.log"))
    assert "[watch] in realm.toml" in logs
    assert "stall_min_s" in logs


HELD = """
import ctypes, time
import realm_telemetry as realm
realm.configure(service_name="trainer", exporters=["battle_log"], run_id="r7")
def exchange_gradients():
    ctypes.PyDLL(None).sleep(120)  # keeps the interpreter lock
for step in range(12):
    realm.training_step(step=step, loss=0.5)
    time.sleep(0.02)
exchange_gradients()
"""


def test_a_hang_that_holds_the_interpreter_lock_shows_its_stack_all_the_same(
    tmp_path: Path, train: Any, eventually: Any
) -> None:
    process = train(QUICK, HELD)
    eventually(lambda: logged(tmp_path, "stack_captured"))
    (captured,) = logged(tmp_path, "stack_captured")
    assert captured.event.details["method"] == "py-spy"
    assert captured.event.details["threads"] >= 1
    assert "exchange_gradients (<string>:" in captured.event.details["stack"]
    assert captured.event.run_id == "r7"
    assert process.poll() is None


LINGERS = """
import threading, time
import realm_telemetry as realm
realm.configure(service_name="trainer", exporters=["battle_log"], run_id="r7")
def write_checkpoint():
    time.sleep(120)
realm.training_step(step=1, loss=0.5)
threading.Thread(target=write_checkpoint).start()
raise ValueError("bad batch")
"""


def test_a_program_that_hangs_in_its_exit_is_found(
    tmp_path: Path, train: Any, eventually: Any
) -> None:
    process = train("[watch]\nstall_exit_s = 2\n", LINGERS)
    eventually(lambda: logged(tmp_path, "stack_captured"))
    (stalled,) = logged(tmp_path, "run_stalled")
    assert stalled.event.details["error"] == "ValueError: bad batch"
    (captured,) = logged(tmp_path, "stack_captured")
    assert "in write_checkpoint" in captured.event.details["stack"]
    assert process.poll() is None


RANKS = """
import os, sys, time
import realm_telemetry as realm
realm.configure(service_name="trainer", exporters=["battle_log"], run_id="r7")
rank = int(os.environ["RANK"])

def step(number):
    if rank == 0:
        realm.log({"loss": 0.5}, step=number)
    else:
        realm.progress(number)

def waits_for_the_others():
    sys.stdin.readline()

def is_stuck():
    sys.stdin.readline()

for number in range(1, 60 + (rank == 0)):
    step(number)
    time.sleep(0.05)
(waits_for_the_others if rank == 0 else is_stuck)()
step(61)
sys.stdin.readline()
"""


def test_of_two_ranks_the_stuck_one_is_named_and_both_show_their_stacks(
    tmp_path: Path, eventually: Any
) -> None:
    (tmp_path / "realm.toml").write_text(QUICK)
    environment = {name: value for name, value in os.environ.items() if name[:5] != "REALM"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS],
            env={**environment, "REALM_HOME": str(tmp_path), "RANK": str(rank)},
            stdin=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        eventually(lambda: len(logged(tmp_path, "stack_captured")) >= 2)
        found = logged(tmp_path, "run_stalled")
        assert found
        assert all(row.event.details["behind"] == [1] for row in found)
        stacks = {row.event.rank: row.event for row in logged(tmp_path, "stack_captured")}
        assert "waits_for_the_others" in stacks[0].details["stack"]
        assert "is_stuck" in stacks[1].details["stack"]
        assert logged(tmp_path, "run_resumed_progress") == []
        for process in ranks:
            go_on(process)
        eventually(lambda: logged(tmp_path, "run_resumed_progress"))
        # The steps of the second rank were no events.
        assert {row.event.rank for row in logged(tmp_path, "training_step")} == {0}
    finally:
        for process in ranks:
            process.kill()
            process.communicate()


@pytest.mark.long
def test_a_program_that_used_up_its_processor_time_was_killed_by_that(
    tmp_path: Path, train: Any, eventually: Any
) -> None:
    """It sets the limit itself, where its shipper has begun to look, and nobody else knows."""
    spins = (
        PROGRAM.partition("sys.stdin")[0]
        + "import resource\nrealm.flush(20)\nresource.setrlimit(resource.RLIMIT_CPU, (2, 2))\n"
        + "while True: pass\n"
    )
    process = train("", spins)
    assert process.wait(60) == -signal.SIGKILL
    eventually(lambda: logged(tmp_path, "run_ended"))
    (ended,) = logged(tmp_path, "run_ended")
    assert "time limit of the processor (" in ended.event.details["reason"]
    evidence = ended.event.details["evidence"]
    assert (evidence["signal"], evidence["cpu_limit_s"]) == ("SIGKILL", 2.0)
    assert evidence["cpu_used_s"] > 1.4
