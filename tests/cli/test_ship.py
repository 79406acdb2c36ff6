"""`realm ship`: what waits, and shipping it by hand."""

import json
import shutil
from pathlib import Path

import pytest

from realm_telemetry.log import LogReader

from .conftest import run_realm


@pytest.fixture
def waiting(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two events in spools that nobody ships."""
    monkeypatch.setenv("REALM_SHIPPER", "none")
    for text in ("one", "two"):
        assert run_realm("emit", "note", text).returncode == 0
    return home


def test_status_shows_what_waits(waiting: Path) -> None:
    result = run_realm("ship", "--status")
    assert result.returncode == 0
    assert "no shipper runs" in result.stdout
    assert result.stdout.count("ended: 1 to store") == 2
    (pipeline,) = json.loads(run_realm("ship", "--status", "--json").stdout)
    assert pipeline["pending"] == 2
    assert len(pipeline["spools"]) == 2


def test_once_ships_it_and_says_so(waiting: Path) -> None:
    result = run_realm("ship", "--once")
    assert result.returncode == 0, result.stderr
    assert "all shipped" in result.stdout
    with LogReader(waiting / "vault" / "jobs.db") as reader:
        assert [row.event.message for row in reader.now.after(0)] in (
            ["one", "two"],
            ["two", "one"],
        )
    assert json.loads(run_realm("ship", "--once", "--json").stdout)[0]["pending"] == 0


def test_a_spool_from_elsewhere_can_be_shipped(waiting: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "copy"
    shutil.copytree(waiting / "spool", elsewhere)
    shutil.rmtree(waiting / "spool")
    assert "nothing to ship" in run_realm("ship", "--once").stdout
    result = run_realm("ship", "--once", "--spool", str(elsewhere))
    assert result.returncode == 0, result.stderr
    with LogReader(waiting / "vault" / "jobs.db") as reader:
        assert len(reader.now.after(0)) == 2


def test_what_cannot_be_shipped_in_time_is_reported(waiting: Path) -> None:
    (waiting / "vault").mkdir(exist_ok=True)
    (waiting / "vault" / "jobs.db").write_bytes(b"no database at all" * 100)
    result = run_realm("ship", "--once", "--timeout", "1")
    assert result.returncode == 1
    assert "2 events left to store" in result.stdout
    assert "is not an SQLite database" in result.stdout


def test_a_home_without_pipelines_has_nothing_to_show(home: Path) -> None:
    result = run_realm("ship", "--status")
    assert result.returncode == 0
    assert "There is no pipeline" in result.stdout
