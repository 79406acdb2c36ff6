"""Trainings that break in front of a user: each is understood within seconds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from realm_telemetry.demo.endings import EXPECTED

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.processes]

REALM = str(Path(sys.executable).with_name("realm"))
PORTS = ["--port", "0", "--battle-log-port", "0", "--ui-port", "0"]


def test_six_trainings_break_and_each_is_understood(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if name[:5] != "REALM"}
    shown = subprocess.run(
        [REALM, "demo", "--endings", "--home", str(home), *PORTS],
        capture_output=True,
        text=True,
        timeout=115,
        env=environment,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    lines = {
        line.split("-1")[0].strip(): line for line in shown.stdout.splitlines() if "-1" in line
    }
    assert "KeyError" in lines["exception"]
    assert "exit code 3" in lines["exit-code"]
    assert "SIGKILL" in lines["sigkill"]
    assert "no step for" in lines["stall"]
    assert "not finite" in lines["nan"]
    # The one that hung is killed when the demo ends, which its shipper stores a moment later.
    deadline = time.monotonic() + 60
    while (statuses := listed(home, environment))["stall"] == "stalled":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert statuses == {**EXPECTED, "stall": "killed"}


def listed(home: Path, environment: dict[str, str]) -> dict[str, str]:
    """The status of each run, by its way to end."""
    shown = subprocess.run(
        [REALM, "--home", str(home), "runs", "--json"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return {
        run["run_id"].rpartition("-")[0].rpartition("-")[0]: run["status"]
        for run in json.loads(shown.stdout)
    }
