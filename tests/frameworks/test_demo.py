"""`realm demo --framework`: a training that its run tells whole, in a service of its own."""

import subprocess
from pathlib import Path

import pytest

from .conftest import REALM, environment

pytestmark = [pytest.mark.long, pytest.mark.processes]

PORTS = ["--port", "0", "--battle-log-port", "0", "--ui-port", "0"]


def test_the_demo_trains_and_shows_how_it_goes(place: Path) -> None:
    home = place / "home"
    shown = subprocess.run(
        [REALM, "demo", "--framework", "transformers", "--quick", *PORTS, "--home", str(home)],
        env=environment(home),
        cwd=place,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert " of 40   loss " in shown.stdout
    assert "completed: it reached its end" in shown.stdout
