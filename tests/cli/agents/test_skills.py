"""`realm skills add` writes a skill, keeps what somebody changed, and repeats nothing."""

from pathlib import Path

import click.testing
import pytest

from realm_telemetry.cli import skills
from realm_telemetry.cli.group import realm


def run(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(realm, ["skills", *arguments])


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "home"))
    return tmp_path


def test_it_is_written_once_where_agents_look(project: Path) -> None:
    path = project / ".claude/skills/realm-telemetry/SKILL.md"
    assert run("add").exit_code == 0
    first = path.stat()
    text = path.read_text()
    assert text.startswith("---\nname: realm-telemetry\ndescription: ")
    assert run("add").output.endswith("is up to date.\n")
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    assert list(path.parent.iterdir()) == [path]
    assert run().output.strip() in text


def test_what_somebody_changed_stays_without_force(project: Path) -> None:
    path = project / "mine/realm-telemetry/SKILL.md"
    assert run("add", "--to", "mine").exit_code == 0
    ours = path.read_text()
    for changed in (ours.replace("Training runs", "My runs"), ours + "More.\n", "mine", ""):
        path.write_text(changed)
        refused = run("add", "--to", "mine")
        assert (refused.exit_code, path.read_text()) == (1, changed)
        assert "--force" in refused.output
    assert run("add", "--to", "mine", "--force").exit_code == 0
    assert path.read_text() == ours


def test_one_of_another_version_is_brought_up_to_date(project: Path) -> None:
    path = project / "mine/realm-telemetry/SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(skills._marked("An older text.\n"))
    assert run("add", "--to", "mine").exit_code == 0
    assert "An older text" not in path.read_text()


def test_a_link_is_replaced_and_its_target_left(project: Path) -> None:
    target = project / "target"
    target.write_text("other")
    path = project / "mine/realm-telemetry/SKILL.md"
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    assert run("add", "--to", "mine", "--force").exit_code == 0
    assert (target.read_text(), path.is_symlink()) == ("other", False)
