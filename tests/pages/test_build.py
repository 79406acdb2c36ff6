"""The pages' own unit tests, and what a release contains."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "realm_telemetry" / "service" / "web"


def npm(*command: str) -> subprocess.CompletedProcess[str]:
    """Run npm with the Node that the build uses."""
    script = (
        "import build, subprocess, sys;"
        "sys.exit(subprocess.call(['npm', *sys.argv[1:]], cwd=build.HERE,"
        " env=build.node_environment()))"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *command], cwd=WEB, capture_output=True, text=True
    )


def test_the_client_code_passes_its_own_tests() -> None:
    """Vitest, over everything that needs no browser."""
    if not (WEB / "node_modules").exists():
        pytest.skip("needs the pages' packages: make pages")
    answer = npm("test")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_lock_file_names_no_download_address() -> None:
    """Checksums say what is installed; where from is each machine's own business."""
    assert "http" not in "".join(
        line
        for line in (WEB / "package-lock.json").read_text().splitlines()
        if '"resolved"' in line
    )


def test_a_release_contains_the_pages_and_not_their_sources(tmp_path: Path) -> None:
    """The wheel has what `make pages` made."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path), "."]
    answer = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    static = "realm_telemetry/service/static"
    assert {f"{static}/index.html", f"{static}/battle-log.html", f"{static}/event-stream.js"} <= {
        *names
    }
    assert not [name for name in names if "/web/" in name or "node_modules" in name]


def test_a_release_without_pages_is_refused(tmp_path: Path) -> None:
    """By the build hook, which says what to do."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "realm_telemetry").mkdir()
    (tmp_path / "realm_telemetry" / "__init__.py").write_text("")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "."]
    answer = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode != 0
    assert "make pages" in answer.stdout + answer.stderr
