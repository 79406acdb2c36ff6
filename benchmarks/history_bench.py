"""How fast files become history, and history files; and how much memory that takes.

Run: python -m benchmarks.history_bench --lines 1000000
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.measure import Figure, at_most, show

IMPORT_TARGET_S = 60.0
MEMORY_TARGET_MIB = 100.0


def write_older_file(path: Path, lines: int) -> None:
    """Write an older status/events.jsonl: five fields, ten events a second."""
    began = datetime(2025, 1, 1)
    with path.open("w") as file:
        for number in range(lines):
            stamp = (began + timedelta(milliseconds=100 * number, microseconds=7)).isoformat()
            kind = "checkpoint_saved" if number % 10 == 0 else "training_step"
            file.write(
                f'{{"ts": "{stamp}", "kind": "{kind}", "step": {number}, "loss": 0.234,'
                f' "path": "ckpt/{number}", "hero_id": "dio", "lr": 0.001}}\n'
            )


def measure(home: Path, *command: str) -> tuple[float, float, float]:
    """Run a command of `realm`: seconds, seconds of a core, and the most MiB it held."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "realm_telemetry", *command],
        env=os.environ | {"REALM_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Its usage at the end would count the benchmark's memory too, from which it was forked.
    held = re.compile(r"VmHWM:\s+(\d+)")
    peak_kib = pid = 0
    while not pid:
        if found := held.search(Path(f"/proc/{process.pid}/status").read_text()):
            peak_kib = int(found[1])
        time.sleep(0.02)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    taken = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"realm {command[0]} ended with {process.returncode}")
    return taken, usage.ru_utime + usage.ru_stime, peak_kib / 1024


def figures(lines: int = 1_000_000) -> list[Figure]:
    """Import of an older file, the same again, export, and import of the export elsewhere."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        older, exported = root / "events.jsonl", root / "exported.jsonl"
        write_older_file(older, lines)
        runs = {
            "import": (root / "home", "import", str(older)),
            "import again": (root / "home", "import", str(older)),
            "export": (root / "home", "export", "--output", str(exported)),
            "import of the export": (root / "other", "import", str(exported)),
        }
        measured = {name: measure(*run) for name, run in runs.items()}
    found = []
    for name, (seconds, core_s, mib) in measured.items():
        note = f"{core_s:.0f} s of a core"
        found.append(at_most(f"{name}, {lines:,} lines", seconds, IMPORT_TARGET_S, "s", note))
        found.append(at_most("... memory", mib, MEMORY_TARGET_MIB, "MiB"))
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    show("history", figures(parser.parse_args().lines))


if __name__ == "__main__":
    main()
