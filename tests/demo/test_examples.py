"""Every short example runs, and its events are in the log."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.reader import LogReader

EXAMPLES = Path(__file__).parents[2] / "examples"

EXPECTED = {
    "quickstart.py": {
        "run_started": 1,
        "training_started": 1,
        "training_step": 100,
        "checkpoint_saved": 1,
        "training_completed": 1,
        "run_ended": 1,
    },
    "existing_loop.py": {
        "run_started": 1,
        "training_started": 1,
        "training_step": 50,
        "checkpoint_saved": 2,
        "training_completed": 1,
        "run_ended": 1,
    },
    "asyncio_jobs.py": {
        "job_started": 3,
        "dataset_generated": 3,
        "job_completed": 2,
        "job_failed": 1,
    },
    "logging_bridge.py": {
        "run_started": 1,
        "training_started": 1,
        "log_record": 2,
        "training_completed": 1,
        "run_ended": 1,
    },
    "plain_opentelemetry.py": {"app_level_evaluated": 3, "log_record": 1},
    "many_processes.py": {
        "eval_round_started": 1,
        "eval_started": 4,
        "eval_completed": 4,
        "eval_round_completed": 1,
    },
}


def test_every_example_is_tested_and_in_the_readme() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == set(EXPECTED)
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"({name})" in readme for name in names)


def test_the_quick_start_is_no_longer_than_it_says() -> None:
    code = [
        line
        for line in (EXAMPLES / "quickstart.py").read_text().splitlines()
        if line.strip() and not line.startswith(('"""', "import"))
    ]
    assert len(code) <= 20


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs_and_its_events_are_in_the_log(name: str, tmp_path: Path) -> None:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("REALM_", "OTEL_"))
    }
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        # Without a service there is only the log to deliver to.
        env=environment | {"REALM_HOME": str(tmp_path), "REALM_EXPORTERS": "battle_log"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    # A process's flush is for its own events; those of its children may come a moment later.
    deadline_s = time.monotonic() + 60
    while kinds_in(tmp_path) != EXPECTED[name] and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert kinds_in(tmp_path) == EXPECTED[name]


def kinds_in(home: Path) -> Counter[str]:
    """How often the log has each kind."""
    with LogReader(home / "vault" / "jobs.db") as reader:
        return Counter(row.event.kind for row in reader.now.page(Filters(limit=1000)).rows)
