"""Trees of the package as pip would install them, old and new, and processes that run from them."""

import compileall
import importlib.metadata
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
OLD_COMMIT: Final = "174b7ba"
"""The last commit before modules moved."""

DISTRIBUTION: Final = "realm-telemetry"
_PARTS: Final = ("realm_telemetry", "exporters", "pyproject.toml")
_IGNORED: Final = shutil.ignore_patterns("node_modules", "__pycache__", "*.pyc")


class Tree:
    """A directory laid out as `site-packages`: packages and one distribution's metadata.

    Put first on PYTHONPATH, it hides the installed distribution, its entry points too.
    """

    def __init__(self, site: Path) -> None:
        self.site = site

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a process that runs from this tree, without settings of ours."""
        clean = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("REALM_", "OTEL_", "PYTEST_", "PYTHON"))
        }
        # A module that is being imported would put a directory into the tree that replaces its own.
        fixed = {"PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}
        return clean | fixed | variables

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments until it ends."""
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            env=self.environment(**variables),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def realm(self, home: Path, *arguments: str) -> str:
        """Run the command line on a home; its output. Fails if it fails."""
        done = self.run("-m", "realm_telemetry", "--home", str(home), *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def copy(self, site: Path) -> "Tree":
        """Copy the tree."""
        shutil.copytree(self.site, site)
        return Tree(site)

    def become(self, other: "Tree") -> None:
        """Replace all files by those of another tree, which is used up, as pip upgrades."""
        removed = self.site.with_name(f"{self.site.name}.removed")
        removed.mkdir()
        for entry in list(self.site.iterdir()):
            entry.rename(removed / entry.name)
        for entry in list(other.site.iterdir()):
            entry.rename(self.site / entry.name)
        shutil.rmtree(removed)


def lay_out(source: Path, site: Path) -> Tree:
    """Lay a checkout's packages out as they are installed."""
    site.mkdir(parents=True)
    shutil.copytree(source / "realm_telemetry", site / "realm_telemetry", ignore=_IGNORED)
    for package in sorted((source / "exporters").iterdir()):
        if (package / "__init__.py").exists():
            shutil.copytree(package, site / package.name, ignore=_IGNORED)
    _write_metadata(tomllib.loads((source / "pyproject.toml").read_text())["project"], site)
    compileall.compile_dir(site, quiet=2)
    return Tree(site)


def _write_metadata(project: dict[str, Any], site: Path) -> None:
    version = project.get("version") or importlib.metadata.version(DISTRIBUTION)
    directory = site / f"realm_telemetry-{version}.dist-info"
    directory.mkdir()
    (directory / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n"
    )
    groups = {"console_scripts": project["scripts"], **project.get("entry-points", {})}
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items()), ""]
    (directory / "entry_points.txt").write_text("\n".join(lines))


def check_out_old(directory: Path) -> Path:
    """Take the files of the old commit out of git. Skips the test where git has not got it."""
    command = ["git", "-C", str(ROOT), "archive", OLD_COMMIT, *_PARTS]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("these tests take the code before the move from git, which is not installed")
    if done.returncode != 0:
        pytest.skip(
            f"these tests need commit {OLD_COMMIT}: `git fetch --unshallow` gets it"
            f" ({done.stderr.decode().strip()})"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory
