"""The example distribution, built and installed as its author would, is found and works."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_exporter"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the built and installed example; put it on PYTHONPATH."""
    directory = tmp_path_factory.mktemp("third_party")
    command = ["-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run(
        [sys.executable, *command, "--no-index", "--target", directory, EXAMPLE], check=True
    )
    return directory


def run(target: Path, home: Path, *arguments: str) -> str:
    """Run this interpreter with the example installed, and return what it printed."""
    environment = {"PYTHONPATH": str(target), "REALM_HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


LIST = """
import json, msgspec
from realm_telemetry.plugins import installed
print(json.dumps([msgspec.to_builtins(each) for each in installed() if "csv" in each.name]))
"""

EXPORT = """
import sys
from pathlib import Path
from realm_telemetry.plugins import ExporterContext, load_exporter, load_processor
from realm_telemetry.testing import sample_events
home = Path(sys.argv[1])
context = ExporterContext(home=home, log_path=home / "jobs.db", options={"path": sys.argv[2]})
exporter = load_exporter("csv", context)
exporter.export_events([load_processor("round_losses")(event) for event in sample_events(3)])
exporter.shutdown()
"""


def test_it_is_listed_with_its_distribution(target: Path, tmp_path: Path) -> None:
    listed: list[dict[str, Any]] = json.loads(run(target, tmp_path, "-c", LIST))
    assert [(each["name"], each["distribution"], each["status"]) for each in listed] == [
        ("csv", "realm-csv-exporter", "ok"),
        ("realm_csv", "realm-csv-exporter", "ok"),
    ]


def test_it_is_loaded_by_name_and_exports(target: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    run(target, tmp_path, "-c", EXPORT, str(tmp_path), str(path))
    assert len(path.read_text().splitlines()) == 4


def test_its_own_tests_pass(target: Path, tmp_path: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE))
    output = run(target, tmp_path, "-m", "pytest", *options, str(EXAMPLE / "tests"))
    assert "passed" in output
