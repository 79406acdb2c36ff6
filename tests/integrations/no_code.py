"""Programs run by `opentelemetry-instrument`, and what of them is in the log."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from realm_telemetry import Event
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.reader import LogReader


class Run(NamedTuple):
    """A program that has ended."""

    home: Path
    returncode: int
    out: str
    err: str

    def events(self) -> list[Event]:
        """What is in its home's log, oldest first."""
        path = self.home / "vault" / "jobs.db"
        if not path.exists():
            return []
        with LogReader(path) as log:
            return [row.event for row in log.now.page(Filters(limit=1000)).rows][::-1]


def instrument(home: Path, program: str, *site: Path, **variables: Any) -> Run:
    """Run a program without code of ours, its events shipped before it ends.

    site: directories with distributions to find.
    """
    home.mkdir(exist_ok=True)
    script = home / "train.py"
    script.write_text(dedent(program) + "\nimport realm_telemetry\nrealm_telemetry.flush(60)\n")
    dropped = ("REALM_", "OTEL_", "PYTEST", "PYTHONPATH")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    environment = clean | {
        "REALM_HOME": str(home),
        "REALM_SHIPPER": "thread",  # as good here, and half a second faster
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, site)),
    }
    done = subprocess.run(
        ["opentelemetry-instrument", "python", str(script)],
        env=environment | variables,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(home, done.returncode, done.stdout, done.stderr)


def distribution(site: Path, name: str, entries: str, source: str) -> Path:
    """Lay a distribution of one module out as an installer does."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(dedent(entries))
    (site / f"{name}.py").write_text(dedent(source))
    return site
