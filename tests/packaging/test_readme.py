"""The README's lines of installation work as they are printed."""

import re
import shutil
from pathlib import Path

import pytest

from .conftest import ROOT, Run


def lines_of_installation() -> list[str]:
    """The block of the quick start that clones and installs."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return next(block for block in blocks if block.startswith("git clone ")).splitlines()


def test_the_quick_start_clones_installs_and_serves() -> None:
    """The package has no release that pip could find."""
    lines = lines_of_installation()
    assert [line.partition(" ")[0] for line in lines] == ["git", "cd", "pip", "realm"]
    assert "pip install realm-telemetry" not in (ROOT / "README.md").read_text()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_lines_of_the_quick_start_work_as_printed(
    clone: Path, python: Path, tools: Path, run: Run, tmp_path: Path
) -> None:
    """In a new environment without Node; git takes the clone for the repository."""
    lines = lines_of_installation()
    repository = lines[0].split()[-1]
    redirect = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{clone}.insteadOf",
        "GIT_CONFIG_VALUE_0": repository,
    }
    for name in ("bash",):
        (tools / name).symlink_to(str(shutil.which(name)))
    # Other services of this machine may have the ports, so `realm up` is only asked for help.
    script = "\n".join(["set -e", *lines[:-1], f"{lines[-1]} --help"])
    path = f"{python.parent}:{tools}"
    printed = run("bash", "-c", script, cwd=tmp_path, PATH=path, **redirect)
    assert "Start the RealmService in the background, once." in printed
    assert "built" in run(python.with_name("realm"), "doctor", "--no-round-trip", PATH=path)
