"""What a lab costs while nothing happens, and how soon it is awake: real processes, one event.

    python -m benchmarks.idle_bench [seconds] [events]

A wake-up is a voluntary context switch. Before each timed event nothing happens for ten seconds.
"""

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.measure import Figure, at_most, show
from benchmarks.service_bench import service
from benchmarks.shipper_bench import cpu_seconds

SECONDS = 60.0
EVENTS = 20
SILENCE_S = 10.0
SETTLE_S = 35.0
"""From the start until the first snapshots are saved and upkeep has nothing to do."""

PRODUCER = """
import sys, time, realm_telemetry as realm
home, url = sys.argv[1:]
realm.configure(service_name="bench", home=home, service_url=url)
realm.emit("note", "hello")
realm.flush(10)
for _ in sys.stdin:
    began = time.perf_counter_ns()
    realm.emit("note", "after a silence")
    print(time.time_ns(), time.perf_counter_ns() - began, flush=True)
"""


class Lab(NamedTuple):
    """Process ids, and what the producer is told and says."""

    shipper: int
    service: int
    port: int
    producer: "subprocess.Popen[str]"


@contextmanager
def lab() -> Iterator[Lab]:
    """A service, a producer that has emitted once, and its shipper."""
    with tempfile.TemporaryDirectory() as home, service(Path(home)) as (process, port):
        command = [sys.executable, "-c", PRODUCER, home, f"http://127.0.0.1:{port}"]
        producer = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        pattern = f"realm_telemetry.shipper --pipeline {home}"
        found = ""
        while not found:
            time.sleep(0.2)
            found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True).stdout
        try:
            yield Lab(int(found.split()[0]), process, port, producer)
        finally:
            producer.communicate()


def wake_ups(pid: int) -> int:
    """Voluntary context switches of all threads of a process so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)
        total += int(found[1]) if found else 0
    return total


def at_rest(pids: list[int], seconds: float) -> list[tuple[float, float]]:
    """Of each process the share of a core in percent, and its wake-ups a second."""
    before = [(cpu_seconds(pid), wake_ups(pid)) for pid in pids]
    time.sleep(seconds)
    after = [(cpu_seconds(pid), wake_ups(pid)) for pid in pids]
    return [
        ((cpu - cpu_before) / seconds * 100, (woken - woken_before) / seconds)
        for (cpu_before, woken_before), (cpu, woken) in zip(before, after, strict=True)
    ]


def after_silence(lab: Lab, events: int) -> tuple[list[float], list[float]]:
    """Sorted milliseconds from `emit` to an SSE client, and microseconds that `emit` took."""
    arrived: list[int] = []
    came = threading.Event()

    def listen() -> None:
        with httpx.stream(
            "GET", f"http://127.0.0.1:{lab.port}/api/events/stream", timeout=None
        ) as s:
            for line in s.iter_lines():
                if line.startswith("data:") and "after a silence" in line:
                    arrived.append(time.time_ns())
                    came.set()

    threading.Thread(target=listen, daemon=True).start()
    stdin, stdout = lab.producer.stdin, lab.producer.stdout
    assert stdin is not None
    assert stdout is not None
    latencies, emits = [], []
    for _ in range(events):
        came.clear()
        time.sleep(SILENCE_S)
        stdin.write("now\n")
        stdin.flush()
        emitted, took = map(int, stdout.readline().split())
        came.wait(5)
        latencies.append((arrived[-1] - emitted) / 1e6)
        emits.append(took / 1e3)
    return sorted(latencies), sorted(emits)


def figures(seconds: float = SECONDS, events: int = EVENTS) -> list[Figure]:
    """A minute of rest, then some events after silences."""
    with lab() as running:
        time.sleep(SETTLE_S)
        rest = at_rest([running.shipper, running.service], seconds)
        latencies, emits = after_silence(running, events)
    (shipper_cpu, shipper_woken), (service_cpu, service_woken) = rest
    return [
        at_most("idle shipper", shipper_cpu, 0.1, "% of a core"),
        at_most("idle shipper", shipper_woken, 2.0, "wake-ups/s"),
        at_most("idle service", service_cpu, 0.1, "% of a core"),
        at_most("idle service", service_woken, 2.0, "wake-ups/s"),
        at_most("emit -> SSE client after 10 s of silence, slowest", latencies[-1], 60.0, "ms",
                f"of {events}; median {latencies[len(latencies) // 2]:.0f} ms"),
        Figure("emit that rings", f"{emits[len(emits) // 2]:.0f} us", "", None,
               f"median; slowest {emits[-1]:.0f} us"),
    ]  # fmt: skip


def main() -> None:
    """Measure everything and print a table."""
    given = sys.argv[1:]
    show("Idle", figures(*(float(given[0]), int(given[1])) if given else (SECONDS, EVENTS)))


if __name__ == "__main__":
    main()
