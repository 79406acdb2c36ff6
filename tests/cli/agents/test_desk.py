"""Where the tools ask, and what they say where something is missing."""

import sys
from pathlib import Path

import click.testing
import pytest

from realm_telemetry.cli.agents.desk import Desk, names
from realm_telemetry.cli.group import realm


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REALM_SERVICE_URL", "REALM_TOKEN", "REALM_ACCESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    return tmp_path


def test_a_service_that_may_be_another_homes_is_remarked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "another home's" in (Desk().remark() or "")
    assert Desk("http://lab.example:1").remark() is None
    monkeypatch.setenv("REALM_SERVICE_URL", "http://lab.example:1")
    assert Desk().remark() is None
    assert Desk().pages() == "http://lab.example:1"


def test_writing_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Desk().may_write()
    monkeypatch.setenv("REALM_TOKEN", "a-long-token")
    assert Desk().may_write()


def test_the_tokens_of_this_home_do_not_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_ACCESS", "token")
    assert Desk().may_write()
    assert not Desk("http://lab.example:1").may_write()


def test_names_come_as_a_list_or_with_commas() -> None:
    assert names("a, b,,c") == names(["a", "b", " c "]) == ["a", "b", "c"]
    assert names(None) == names("") == []


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "realm_telemetry.cli.agents.server", raising=False)
    monkeypatch.setitem(sys.modules, "mcp.types", None)
    monkeypatch.setitem(sys.modules, "mcp", None)
    result = click.testing.CliRunner().invoke(realm, ["mcp"])
    assert result.exit_code == 2
    assert "pip install 'realm-telemetry[mcp]'" in result.output
