"""Trainings that end in every way, at any moment: a confusion matrix of what is said of them.

The specific causes must be right, unknown is allowed sparingly, and nothing stays "running".
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.cli.sources import open_source
from realm_telemetry.config import load_settings
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.runs import RunsWanted
from tests.waiting import wait_until

pytestmark = pytest.mark.processes

PROGRAM = """
import os, signal, sys, time
import realm_telemetry as realm
way, after_s = sys.argv[1], float(sys.argv[2])
realm.configure(service_name="trainer")
realm.training_started(model="m")
begin = time.monotonic()
step = 0
while time.monotonic() - begin < after_s:
    step += 1
    realm.training_step(step=step, loss=1 / step)
    time.sleep(0.01)
if way == "raise": raise ValueError("broken")
if way == "completed": realm.training_completed(step=step, loss=0.1)
if way == "caught": realm.training_failed(error="no data")
if way == "_exit": os._exit(int(sys.argv[3]))
if way == "exit": sys.exit(int(sys.argv[3]))
if way == "self": os.kill(os.getpid(), int(sys.argv[3])); time.sleep(30)
if way == "wait": time.sleep(30)
"""
FROM_OUTSIDE = (
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGSEGV,
    signal.SIGABRT,
)
OF_SIGNALS = {
    signal.SIGKILL: "killed",
    signal.SIGTERM: "killed",
    signal.SIGHUP: "killed",
    signal.SIGINT: "cancelled",
    signal.SIGSEGV: "crashed",
    signal.SIGABRT: "crashed",
    signal.SIGBUS: "crashed",
    signal.SIGFPE: "crashed",
    signal.SIGXCPU: "killed",
}
WAYS: tuple[tuple[str, int], ...] = (
    *(("raise", 0), ("completed", 0), ("caught", 0), ("returns", 0)),
    *(("_exit", 0), ("_exit", 3), ("exit", 0), ("exit", 4), ("_exit", 143)),
    *(("self", int(number)) for number in OF_SIGNALS if number != signal.SIGINT),
    *(("wait", int(number)) for number in FROM_OUTSIDE),
)
AT_ONCE = 6
KNOWS_ENDS = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)
HUNDREDS = [pytest.mark.long, pytest.mark.endings, pytest.mark.timeout(900)]

# A shipper on a system that tells nobody of the ends of others' children.
BLIND = """
import sys
from realm_telemetry.shipper import process_end
process_end.ProcessWatch._of_descriptor = lambda self: process_end.ProcessEnd()
process_end.ProcessWatch._of_zombie = lambda self: (
    process_end.ProcessEnd(goes_on=True) if self.goes_on() else None
)
from realm_telemetry.shipper.__main__ import main
main(["--pipeline", sys.argv[1]])
"""


class Training:
    """One program, and how it ended."""

    def __init__(self, home: Path, run_id: str, chance: random.Random, shipper: str) -> None:
        self.run_id = run_id
        self.way, self.number = chance.choice(WAYS)
        environment = {name: value for name, value in os.environ.items() if name[:5] != "REALM"}
        environment |= {
            "REALM_HOME": str(home),
            "REALM_RUN_ID": run_id,
            "REALM_EXPORTERS": "battle_log",
            "REALM_SHIPPER": shipper,
        }
        after_s = chance.uniform(0.0, 0.6)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, self.way, str(after_s), str(self.number)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        # From before it is set up until after its last step.
        self.signal_at_s = time.monotonic() + chance.uniform(0.15, 1.2)

    def ends(self) -> bool:
        """Signal it when its time has come; whether it has ended."""
        if self.process.poll() is not None:
            return True
        if self.way == "wait" and time.monotonic() >= self.signal_at_s:
            self.process.send_signal(self.number)
            self.signal_at_s += 30
        return False

    @property
    def status(self) -> str:
        """What is right to say of it."""
        code = self.process.returncode
        if code < 0:
            return OF_SIGNALS[signal.Signals(-code)]
        if self.way in ("completed", "caught") and code == 0:
            return {"completed": "completed", "caught": "failed"}[self.way]
        if code == 143:
            return "killed"
        return "completed" if code == 0 else "failed"


def end_all(home: Path, count: int, chance: random.Random, shipper: str) -> list[Training]:
    """Run so many programs to their ends, a few at once."""
    running: list[Training] = []
    ended: list[Training] = []
    while len(ended) < count:
        while len(running) < AT_ONCE and len(running) + len(ended) < count:
            number = len(running) + len(ended)
            running.append(Training(home, f"run {number}", chance, shipper))
        over = [training for training in running if training.ends()]
        running = [training for training in running if training not in over]
        ended += over
        time.sleep(0.005)
    return ended


def runs_of(home: Path) -> dict[str, dict[str, Any]]:
    settings = load_settings({"home": home}, environ={})
    if not settings.log_path.exists():
        return {}
    with closing(open_source(settings, url=None, from_log=True, report=lambda _: None)) as source:
        return {run["run_id"]: run for run in source.runs(RunsWanted(limit=10_000))}


@contextmanager
def blind_shipper(home: Path) -> Iterator[None]:
    """Ships the home's pipeline whenever there is one."""
    process: subprocess.Popen[bytes] | None = None
    environment = {**os.environ, "REALM_HOME": str(home)}
    wait_until(lambda: any((home / "spool").glob("*/manifest.json")))
    (pipeline,) = (path.parent for path in (home / "spool").glob("*/manifest.json"))
    process = subprocess.Popen([sys.executable, "-c", BLIND, str(pipeline)], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def matrix_of(home: Path, trainings: list[Training]) -> Counter[tuple[str, str]]:
    """Count what is right to say, and what is said; a run that never began is left out."""
    found = runs_of(home)
    return Counter(
        (training.status, found[training.run_id]["status"])
        for training in trainings
        if training.run_id in found
    )


def wrong_in(matrix: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """What is neither right nor unknown; `sys.exit(4)` looks like a good end from inside."""
    unknown = {("failed", "completed"), *((right, "lost") for right, _ in matrix)}
    return {
        pair: number
        for pair, number in matrix.items()
        if pair[0] != pair[1] and pair not in unknown
    }


def settled(home: Path) -> bool:
    runs: dict[str, dict[str, Any]] = {}
    with suppress(LogUnavailableError):  # which is being made at this moment
        runs = runs_of(home)
    open_ones = [run for run in runs.values() if run["status"] in ("running", "stalled")]
    return bool(runs) and not open_ones


@pytest.mark.parametrize("count", [24, pytest.param(500, marks=HUNDREDS)])
def test_each_ending_is_called_what_it_was(tmp_path: Path, count: int) -> None:
    """None is wrong, few are unknown, none is still running a little later.

    Unknown is who ended before the shipper, which then begins to look at all at once, saw it live.
    """
    home = tmp_path / "home"
    trainings = end_all(home, count, random.Random(count), "process")
    wait_until(lambda: settled(home), explain=lambda: matrix_of(home, trainings))
    matrix = matrix_of(home, trainings)
    assert sum(matrix.values()) > count * 0.6
    assert wrong_in(matrix) == {}, matrix
    unknown = sum(number for (right, said), number in matrix.items() if right != said)
    assert unknown <= max(count * 0.1, AT_ONCE), matrix


@pytest.mark.parametrize("count", [12, pytest.param(500, marks=HUNDREDS)])
def test_where_the_system_says_nothing_unknown_is_said_and_nothing_wrong(
    tmp_path: Path, count: int
) -> None:
    """What a program says of its own end is right, and what its last stack does; else `lost`."""
    home = tmp_path / "home"
    first = Training(home, "first", random.Random(0), "none")
    wait_until(first.ends)
    with blind_shipper(home):
        trainings = end_all(home, count, random.Random(count), "none")
        wait_until(lambda: settled(home), 60, lambda: matrix_of(home, trainings))
    matrix = matrix_of(home, trainings)
    assert wrong_in(matrix) == {}, matrix
    assert sum(number for (right, said), number in matrix.items() if right == said) > 0


TOGETHER = """
import os, sys
import realm_telemetry as realm
realm.configure(service_name="trainer")
realm.training_started(model="m")
realm.training_step(step=1, loss=0.5)
sys.exit(3)
"""


@pytest.mark.skipif(not KNOWS_ENDS, reason="the kernel tells nobody how other processes ended")
def test_programs_that_begin_together_and_end_before_the_shipper_are_known(tmp_path: Path) -> None:
    """Each of them starts a shipper; all but one leave, and pass on whom they were started by."""
    home = tmp_path / "home"
    environ = {name: value for name, value in os.environ.items() if name[:5] != "REALM"}
    environ |= {"REALM_HOME": str(home), "REALM_EXPORTERS": "battle_log"}
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER], env={**environ, "REALM_RUN_ID": f"run {number}"}
        )
        for number in range(AT_ONCE)
    ]
    assert [program.wait(60) for program in programs] == [3] * AT_ONCE
    wait_until(lambda: settled(home) and len(runs_of(home)) == AT_ONCE, 30)

    def failed() -> bool:
        ends = {(run["status"], run["reason"]) for run in runs_of(home).values()}
        return ends == {("failed", "exit code 3")}

    wait_until(failed, 15, lambda: runs_of(home))
