"""What `realm run`, the watch and the sampler cost: beside the bare command, in the same run.

python -m benchmarks.run_bench [rounds]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
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
COUNT = """
import sys, time, realm_telemetry as realm
realm.configure(service_name="bench", home=sys.argv[1], shipper="none")
took = []
for numbers in (range(200_000), realm.steps(range(200_000))):
    began = time.process_time()
    for _ in numbers:
        pass
    took.append(time.process_time() - began)
print((took[1] - took[0]) / 200_000 * 1e6)
"""
OUTPUT_BYTES = 100_000_000
PRINT = "import os, sys; size = int(sys.argv[1]); line = b'x' * (size - 1) + b'\\n'"
PRINT += f"; any(os.write(1, line) == 0 for _ in range({OUTPUT_BYTES} // size))"


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


def printed_s(command: list[str], environment: dict[str, str], *, terminal: bool) -> float:
    """How long a command takes whose output goes through a pipe, or a terminal, to a reader."""
    source, target = os.openpty() if terminal else os.pipe()
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=target, stderr=subprocess.DEVNULL)
    os.close(target)
    with suppress(OSError):  # so a terminal ends
        while os.read(source, 65_536):
            pass
    process.wait()
    os.close(source)
    return time.perf_counter() - began


def printing(size: int, rounds: int, *, terminal: bool) -> float:
    """100 MB in writes of one size, below `realm run` over bare: the median of pairs."""
    command = [sys.executable, "-I", "-S", "-c", PRINT, str(size)]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "REALM_HOME": home, "REALM_EXPORTERS": "battle_log"}
        under = [REALM, "run", "-q", "--", *command]
        return statistics.median(
            printed_s(under, environment, terminal=terminal)
            / printed_s(command, environment, terminal=terminal)
            for _ in range(rounds)
        )


def step_us() -> float:
    """Processor time that `realm.steps` adds to a step, in a process of its own."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-c", COUNT, home]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(found.stdout)


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
        *(
            at_most(f"realm run, 100 MB in {what}", printing(size, 3, terminal=terminal), most, "x")
            for what, size, terminal, most in (
                ("lines of 100 bytes to a pipe", 100, False, 2.0),
                ("writes of 4 KB to a pipe", 4_096, False, 2.0),
                ("writes of 4 KB to a terminal", 4_096, True, 1.1),
            )
        ),
        at_most("a step of realm.steps, ten events a second included", step_us(), 15.0, "us"),
        at_most("a sample of the machine", sample * 1e3, 2.0, "ms"),
        at_most("sampling, every 10 s", sample / SAMPLE_S * 100, 0.2, "% of a core"),
        at_most("the watch, for a step", watching_s() * 1e6, 10, "us"),
    ]


if __name__ == "__main__":
    show("run", figures(*map(int, sys.argv[1:2])))
