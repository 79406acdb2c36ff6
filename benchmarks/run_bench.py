"""What `realm run`, the watch and the sampler cost: beside the bare command, in the same run.

python -m benchmarks.run_bench [rounds]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Figure, at_most, show
from realm_telemetry.event import Event
from realm_telemetry.shipper.sampler import SAMPLE_S
from realm_telemetry.shipper.samples import (
    Gpus,
    HostProcessors,
    Usage,
    container_memory,
    disk_free,
    filesystems,
    host_memory,
    memory_stall_percent,
    peak_rss_bytes,
    processors_of,
    tree_of,
)
from realm_telemetry.shipper.watch import Backtest, WatchSettings

ROUNDS = 5
LONG_S = 5.0
REALM = str(Path(sys.executable).with_name("realm"))
LONG = [sys.executable, "-c", f"import time; time.sleep({LONG_S})"]
SHORT = [sys.executable, "-c", ""]


def wall_s(command: list[str], environment: dict[str, str]) -> float:
    """How long a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return time.perf_counter() - began


def beside_bare(command: list[str], rounds: int) -> tuple[float, float]:
    """Median wall times, in turn: bare, and below `realm run`."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "REALM_HOME": home, "REALM_EXPORTERS": "battle_log"}
        under = [REALM, "run", "-q", "--", *command]
        wall_s(under, environment)
        pairs = [(wall_s(command, environment), wall_s(under, environment)) for _ in range(rounds)]
    return statistics.median(bare for bare, _ in pairs), statistics.median(run for _, run in pairs)


def sampling_s(rounds: int = 200) -> float:
    """Processor time of a sample of this process."""
    usage, gpus, processors, pid = Usage(), Gpus(), HostProcessors(), os.getpid()
    gpus.take()
    began = time.process_time()
    for number in range(rounds):
        usage.take(tree_of(pid), float(number))
        host_memory(), container_memory(pid), memory_stall_percent(), gpus.take()
        disk_free({"home": "/"}), peak_rss_bytes(pid)
        processors.take(), processors_of(pid), filesystems({"home": "/"})
    return (time.process_time() - began) / rounds


def watching_s(steps: int = 50_000) -> float:
    """Processor time of the rules for a step with five numbers."""
    backtest = Backtest(WatchSettings())
    events = [
        Event(
            "training_step", "training", "info", "", details, number * 10**9, "a" * 16, number,
            run_id="r",
        )
        for number in range(1, steps)
        for details in [{"step": number, "loss": 2.0 - number * 1e-6, "a": 1.0, "b": 2, "c": 3.0}]
    ]  # fmt: skip
    began = time.process_time()
    for event in events:
        for _ in backtest.read(event):
            pass
    return (time.process_time() - began) / len(events)


def figures(rounds: int = ROUNDS) -> list[Figure]:
    """The table of this module."""
    bare, under = beside_bare(LONG, rounds)
    bare_short, under_short = beside_bare(SHORT, rounds * 2)
    more_ms, sample = (under_short - bare_short) * 1e3, sampling_s()
    return [
        at_most("realm run beside a command of 5 s", under / bare, 1.02, "x"),
        at_most("realm run beside a command that does nothing", more_ms, 500, "ms more"),
        at_most("a sample of the machine", sample * 1e3, 2.0, "ms"),
        at_most("sampling, every 10 s", sample / SAMPLE_S * 100, 0.2, "% of a core"),
        at_most("the watch, for a step", watching_s() * 1e6, 10, "us"),
    ]


if __name__ == "__main__":
    show("run", figures(*map(int, sys.argv[1:2])))
