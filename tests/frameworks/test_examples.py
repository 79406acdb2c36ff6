"""Every example of a framework runs, and tells its story."""

import sys
from pathlib import Path

import pytest

from .conftest import tell

pytestmark = [pytest.mark.long, pytest.mark.processes]

DIRECTORY = Path(__file__).parents[2] / "examples" / "frameworks"
TOLD = {"training_started", "training_step", "checkpoint_saved", "training_completed"}


@pytest.mark.parametrize("name", sorted(path.name for path in DIRECTORY.glob("*.py")))
def test_an_example_tells_its_story(tmp_path: Path, name: str) -> None:
    told = tell(tmp_path / "home", [sys.executable, str(DIRECTORY / name)])
    assert told.code == 0, told.errors
    assert "realm_telemetry:" not in told.errors
    assert set(told.kinds()) >= TOLD
    assert told.one("run_ended")["status"] == "completed"
