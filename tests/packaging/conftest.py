"""Clones without built pages, and machines without Node."""

import os
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATIC = "realm_telemetry/service/static"
WEB = "realm_telemetry/service/web"
_BUILT = (
    "index.html",
    "runs.html",
    "runs/run.html",
    "battle-log.html",
    "alerts.html",
    "compare.html",
    "service-health.html",
    "event-stream.js",
)
PAGES = {f"{STATIC}/{name}" for name in _BUILT}

Run = Callable[..., str]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that git has or would take, committed: no pages, no node_modules."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("needs a git checkout")
    directory = tmp_path / "clone"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], cwd=directory, check=True)
    return directory


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory for PATH with what a build may use, and no Node."""
    directory = tmp_path / "tools"
    directory.mkdir()
    for name in ("sh", "env", "git"):
        (directory / name).symlink_to(str(shutil.which(name)))
    return directory


@pytest.fixture
def environment(tools: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a machine without Node, with a home of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REALM_", "OTEL_"))}
    return clean | {"PATH": str(tools), "REALM_HOME": str(tmp_path / "home")}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs a command on a machine without Node and returns what it printed."""

    def run(*command: str | Path, cwd: Path = tmp_path, **variables: str) -> str:
        answer = attempt(*command, cwd=cwd, env=environment | variables)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    return run


def attempt(
    *command: str | Path, cwd: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command, which may fail."""
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a new environment, which has nothing but pip."""
    venv.create(tmp_path / "venv", with_pip=True)
    return tmp_path / "venv" / "bin" / "python"


@pytest.fixture
def python_with_dependencies(python: Path) -> Path:
    """As `python`, and with this environment's packages, without the one under test."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    # A directory that a .pth file names is searched, but .pth files inside it are not read: those
    # are what makes an editable install importable.
    outer = sysconfig.get_path("purelib")
    (Path(own.stdout.strip()) / "outer.pth").write_text(f"{outer}\n")
    return python
