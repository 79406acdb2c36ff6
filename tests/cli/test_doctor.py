"""`realm doctor`: every line true, and every trouble with what to do."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.cli.checks.service import check_service_addresses
from realm_telemetry.config import load_settings
from realm_telemetry.testing import BrokenServer

from .conftest import make_event, run_realm, store


def run_doctor(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and checks by check; of several of a check the worst."""
    result = run_realm("doctor", "--json", *arguments)
    assert result.stdout, result.stderr
    shape = json.loads(result.stdout)
    order = ("ok", "warning", "problem")
    found = sorted(shape["checks"], key=lambda result: order.index(result["level"]))
    return result.returncode, {result["check"]: result for result in found}


def test_a_new_home_is_well_and_the_round_trip_makes_its_log(home: Path) -> None:
    code, found = run_doctor()
    assert code == 0
    assert "in the log after" in found["round trip"]["message"]
    assert found["service"]["level"] == "warning"
    assert "realm up" in found["service"]["fix"]
    assert (home / "vault" / "jobs.db").exists()


def test_the_round_trip_is_seen_at_the_service(service: str) -> None:
    code, found = run_doctor()
    assert code == 0
    assert found["service"]["message"] == f"{service} serves this log"
    assert "seen at the service after" in found["round trip"]["message"]


def test_every_line_has_its_mark(filled: Path) -> None:
    result = run_realm("doctor", "--no-round-trip")
    lines = [line for line in result.stdout.splitlines() if not line.startswith("    ")]
    assert {line[0] for line in lines} == {"✓", "!"}
    assert "✓ integrity: quick_check found nothing" in lines
    assert not any("round trip" in line for line in lines)


def test_a_home_that_others_can_read_is_remarked_on(home: Path) -> None:
    home.chmod(0o755)
    code, found = run_doctor("--no-round-trip")
    assert code == 0
    assert found["home"]["level"] == "warning"
    assert found["home"]["fix"] == f"chmod 700 {home}"


def test_a_home_that_is_a_file_is_a_problem(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "file"
    path.write_text("")
    monkeypatch.setenv("REALM_HOME", str(path))
    code, found = run_doctor("--no-round-trip")
    assert code == 1
    assert found["home"]["level"] == "problem"


def test_a_service_that_could_not_start_is_a_problem(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "realm.toml").write_text("[service]\nretention_dys = 3\n")
    code, found = run_doctor("--no-round-trip")
    assert code == 1
    assert "retention_dys" in found["service settings"]["message"]
    assert found["service settings"]["fix"] == "docs/http-api.md lists the settings."


def test_a_corrupt_log_is_a_problem_that_all_the_path_shows(home: Path) -> None:
    (home / "vault").mkdir()
    (home / "vault" / "jobs.db").write_bytes(b"no database at all" * 100)
    code, found = run_doctor("--timeout", "1")
    assert code == 1
    assert "is not an SQLite database" in found["log"]["message"]
    assert found["round trip"]["level"] == "problem"
    assert "1 of 1 events are in the spool" in found["round trip"]["message"]


def test_a_damaged_page_is_found(home: Path) -> None:
    store(home, [make_event(number, "note", message="x" * 500) for number in range(1, 500)])
    path = home / "vault" / "jobs.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(16_384))
    code, found = run_doctor("--no-round-trip")
    assert code == 1
    assert found["integrity"]["level"] == "problem"
    assert ".recover" in found["integrity"]["fix"] + found["integrity"]["message"]


@contextmanager
def holding(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_writer_that_hangs_is_found(filled: Path) -> None:
    with holding(filled / "vault" / "jobs.db-writer.lock"):
        code, found = run_doctor("--no-round-trip", "--timeout", "0.2")
    assert code == 1
    assert "fuser" in found["writer lock"]["fix"]


def test_another_program_that_keeps_the_file_is_found(filled: Path) -> None:
    other = sqlite3.connect(filled / "vault" / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    code, found = run_doctor("--no-round-trip", "--timeout", "0.2")
    other.execute("ROLLBACK")
    other.close()
    assert code == 1
    assert "is locked by another program" in found["writer lock"]["message"]


def test_spools_without_a_shipper_are_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_SHIPPER", "none")
    run_realm("emit", "note", "left behind")
    code, found = run_doctor("--timeout", "1")
    assert code == 1
    assert "1 event to store" in found["shipper"]["message"]
    assert "realm ship --once" in found["shipper"]["fix"]
    assert "shipper='none'" in found["round trip"]["message"]


def test_an_exporter_that_is_missing_is_a_problem(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log,carrier_pigeon")
    code, found = run_doctor("--no-round-trip")
    assert code == 1
    assert found["exporters"]["message"] == "carrier_pigeon"


def test_a_service_that_fails_is_a_problem(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BrokenServer() as broken:
        broken.health_mode = "500"
        monkeypatch.setenv("REALM_SERVICE_URL", broken.url)
        code, found = run_doctor("--no-round-trip")
    assert code == 1
    assert found["service"]["level"] == "problem"


def test_a_disabled_sdk_is_remarked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    code, found = run_doctor()
    assert code == 0
    assert "OTEL_SDK_DISABLED" in found["round trip"]["message"]


def test_an_older_log_is_brought_up_to_date_by_the_round_trip(home: Path) -> None:
    (home / "vault").mkdir()
    older = sqlite3.connect(home / "vault" / "jobs.db")
    older.execute(
        "CREATE TABLE battle_log(id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL,"
        " channel TEXT NOT NULL, source TEXT NOT NULL, severity TEXT NOT NULL DEFAULT 'info',"
        " hero_id TEXT, campaign_id TEXT, message TEXT NOT NULL, details_json TEXT)"
    )
    older.close()
    assert "realm doctor" in run_realm("query").stderr
    code, found = run_doctor()
    assert code == 0
    assert found["log"]["level"] == "warning"
    assert run_realm("query").returncode == 0


def test_rows_that_cannot_be_read_are_counted_and_named(filled: Path) -> None:
    with closing(sqlite3.connect(filled / "vault" / "jobs.db")) as connection, connection:
        connection.execute("UPDATE battle_log SET kind = x'00' WHERE id = 1")
        connection.execute("UPDATE battle_log SET message = CAST(x'ff' AS TEXT) WHERE id = 2")
    code, found = run_doctor("--no-round-trip")
    assert code == 0
    assert found["rows"]["level"] == "warning"
    assert found["rows"]["message"].startswith("2 of ")
    assert "2 (message is not UTF-8); 1 (kind is a BLOB)" in found["rows"]["message"]


def test_a_file_beside_the_log_that_is_garbage_is_named(filled: Path) -> None:
    (filled / "data").mkdir(exist_ok=True)
    path = filled / "data" / "webhook_addresses.db"
    path.write_bytes(b"garbage" * 1000)
    code, found = run_doctor("--no-round-trip")
    assert code == 0
    assert found["other files"]["level"] == "warning"
    assert str(path) in found["other files"]["message"]
    path.rename(f"{path}.damaged-20251129T000000Z")
    _, found = run_doctor("--no-round-trip")
    assert "damaged-20251129T000000Z" in found["other files"]["message"]
    assert "delete it" in found["other files"]["fix"]


def test_a_full_check_finds_an_index_that_lacks_rows(filled: Path) -> None:
    """A quick one looks at pages, and not at what they say of each other."""
    with closing(sqlite3.connect(filled / "vault" / "jobs.db")) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'time_unix_nano IS NOT NULL',"
            " 'time_unix_nano IS NULL') WHERE name = 'battle_log_by_time'"
        )
    code, found = run_doctor("--no-round-trip")
    assert (code, found["integrity"]["level"]) == (0, "ok")
    code, found = run_doctor("--no-round-trip", "--full")
    assert (code, found["integrity"]["level"]) == (1, "problem")


def test_pieces_of_damaged_spools_are_named_with_their_place(home: Path) -> None:
    (home / "spool" / "quarantine").mkdir(parents=True)
    (home / "spool" / "quarantine" / "1-piece").write_bytes(b"bytes")
    code, found = run_doctor("--no-round-trip")
    assert code == 0
    assert found["spools"]["level"] == "warning"
    assert f"1 piece of damaged spools in {home}/spool/quarantine" in found["spools"]["message"]


def addresses_of_doctor() -> list[tuple[str, str, str]]:
    results = check_service_addresses(Subject(load_settings(), 2.0))
    return [(each.level, each.message, each.fix) for each in results]


@pytest.mark.usefixtures("home")
def test_each_address_of_the_service_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with BrokenServer() as one, BrokenServer() as two:
        monkeypatch.setenv("REALM_SERVICE_URL", one.url)
        assert addresses_of_doctor() == []
        monkeypatch.setenv("REALM_SERVICE_URL", f"{one.url},{two.url}")
        assert addresses_of_doctor() == [("ok", "all 2 addresses serve one log", "")]
        two.log_id = "ef" * 16
        ((level, message, fix),) = addresses_of_doctor()
        assert (level, "REALM_SERVICE_URL" in fix) == ("problem", True)
        assert f"{two.url} the log {two.log_id}" in message
        two.stop()
        ((level, message, fix),) = addresses_of_doctor()
        assert (level, two.url in message, "Start it" in fix) == ("warning", True, True)
