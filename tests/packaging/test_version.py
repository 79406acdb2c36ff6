"""The version stands in one file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from realm_telemetry.version import __version__

from .conftest import ROOT

BUILT = (
    "from hatchling.builders.wheel import WheelBuilder; print(WheelBuilder('.').metadata.version)"
)


@pytest.mark.parametrize("project", [ROOT, ROOT / "compat"])
def test_both_distributions_have_the_version_of_the_package(project: Path) -> None:
    """Neither pyproject.toml has a number of its own."""
    command = [sys.executable, "-c", BUILT]
    answer = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == __version__
    assert 'dynamic = ["version"]' in (project / "pyproject.toml").read_text()


def test_the_changelog_has_the_version_as_its_newest_release() -> None:
    """Below what is not released yet; a version in development is newer than the release."""
    titles = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released, _, developed = __version__.partition(".dev")
    assert titles[0] == "Unreleased"
    assert (numbers(titles[1]) < numbers(released)) if developed else (titles[1] == released)


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
