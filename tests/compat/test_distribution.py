"""The distribution that puts the `core` names on disk, built and installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .test_install import make_core

SOURCE = Path(__file__).parents[2] / "compat"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the built and installed distribution."""
    directory = tmp_path_factory.mktemp("core_names")
    command = ["-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run(
        [sys.executable, *command, "--no-index", "--target", directory, SOURCE], check=True
    )
    return directory


def run(
    home: Path, paths: list[Path], *arguments: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": ":".join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment, cwd=home.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


EMIT = """
from core.event_bus import emit_realm_event
from core.events import emit_job_started
emit_realm_event(kind="job_started", message="Job eval started")
emit_job_started("j1", "eval")
"""


def test_it_has_no_init_that_could_stand_in_the_way(target: Path) -> None:
    names = sorted(path.name for path in (target / "core").glob("*.py"))
    assert names == ["battle_log.py", "event_bus.py", "events.py", "realm_store.py"]


def test_the_documented_export_runs(target: Path, home: Path) -> None:
    run(home, [target], "-c", EMIT)
    command = ("-m", "core.event_bus", "export", "--since", "2025-11-29")
    run(home, [target], *command, "--output", "events.jsonl")
    lines = (home.parent / "events.jsonl").read_text().splitlines()
    assert {json.loads(line)["kind"] for line in lines} == {"job_started"}
    assert len(lines) == 2
    assert sorted(run(home, [target], *command).stdout.splitlines()) == sorted(lines)


def test_a_reader_that_has_enough_ends_the_export_quietly(target: Path, home: Path) -> None:
    emit = "from core.event_bus import note\nfor n in range(2000): note(message='x' * 100)"
    run(home, [target], "-c", emit)
    export = f"{sys.executable} -m core.event_bus export | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", export],
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["kind"] == "note"


def test_a_wrong_time_is_explained(target: Path, home: Path) -> None:
    command = ("-m", "core.event_bus", "export", "--since", "yesterday")
    assert "'yesterday' is not a time" in run(home, [target], *command, code=2).stderr


def test_other_commands_are_those_of_realm(target: Path, home: Path) -> None:
    run(home, [target], "-c", EMIT)
    assert "Job eval started" in run(home, [target], "-m", "core.event_bus", "query").stdout


def test_a_regular_core_of_the_lab_is_not_shadowed(
    target: Path, home: Path, tmp_path: Path
) -> None:
    """Whichever comes first on the path; with extend_path it gets our modules too."""
    lab = make_core(tmp_path / "lab_code", __init__="OURS = True", vault="")
    code = "import core, core.vault; assert core.OURS; print(core.__file__)"
    for paths in ([target, lab], [lab, target]):
        assert "lab_code" in run(home, paths, "-c", code).stdout
    extend = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
    assert extend.strip() in (SOURCE / "README.md").read_text()
    (lab / "core" / "__init__.py").write_text(extend)
    run(home, [lab, target], "-c", "import core.vault, core.event_bus")
