"""The distribution that puts the `core` names on disk, built and installed."""

import json
import os
import subprocess
import sys
import sysconfig
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


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that has the distribution's wheel installed."""
    root = tmp_path_factory.mktemp("environment")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps"]
    wheel = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(root), str(SOURCE)]
    subprocess.run(wheel, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True)
    python = root / "venv" / "bin" / "python3"
    (built,) = root.glob("realm_telemetry_core-*.whl")
    subprocess.run([*pip, "--python", python, "install", *offline, built], check=True)
    # What it depends on is this checkout, with what that depends on.
    (packages,) = (root / "venv").glob("lib/python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (packages / "checkout.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return python


def test_the_documented_command_runs_in_an_environment_of_its_own(
    python: Path, home: Path, tmp_path: Path
) -> None:
    """As an older lab has it: no path is set, the names are simply installed."""
    (tmp_path / "train.py").write_text(
        "from core.battle_log import get_battle_logger\n"
        "from core.event_bus import checkpoint_saved\n"
        "from core.realm_store import get_events\n"
        "checkpoint_saved(step=1000, loss=0.5, path='checkpoints/1000')\n"
        "assert get_events(limit=10)[0]['kind'] == 'checkpoint_saved'\n"
        "print(get_battle_logger().get_events(channels=['checkpoint'], limit=10)[0].message)\n"
    )
    command = ["-m", "core.event_bus", "export", "--since", "2025-11-29"]
    for arguments in (["train.py"], [*command, "--output", "events.jsonl"]):
        done = subprocess.run(
            [python, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert arguments != ["train.py"] or done.stdout.startswith("Checkpoint 1,000")
    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    assert json.loads(line)["details"]["step"] == 1000


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
