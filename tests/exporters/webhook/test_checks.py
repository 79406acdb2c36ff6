"""What `realm doctor` says of webhooks, and of a store that cannot be used."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import click.testing
import pytest

from realm_telemetry.cli.group import realm
from realm_telemetry.errors import ExportError

from .conftest import Invoke, Maker, Receiver, event
from .settings_file import RULES, failed, write_settings


def run_doctor(invoke_doctor: bool = True) -> dict[str, Any]:
    result = click.testing.CliRunner().invoke(realm, ["doctor", "--json", "--no-round-trip"])
    findings = json.loads(result.output)["checks"]
    return {
        "code": result.exit_code,
        "checks": [each for each in findings if each["check"] == "webhook"],
    }


def test_the_doctor_names_a_wrong_rule(home: Path) -> None:
    write_settings(home, "https://example.org/SECRET", RULES.replace("kind", "knd"))
    found = run_doctor()
    assert found["code"] == 1
    (finding,) = found["checks"]
    assert "options.webhook.rules: failures.knd" in finding["message"]
    assert "'kind'" in finding["fix"]


def test_the_doctor_looks_at_targets_and_dead_messages(
    home: Path, make: Maker, receiver: Receiver
) -> None:
    write_settings(home, receiver.url("/SECRET"), RULES, allow=False)
    failed(home, make, receiver)
    with (home / "realm.toml").open("a") as file:
        file.write('[options.webhook.targets.plain]\nurl = "http://192.0.2.1/SECRET"\n')
        file.write('[options.webhook.alerts]\nto = ["lab"]\noff = ["disk_low"]\n')
    text = (home / "realm.toml").read_text().replace("[]", '["192.0.2.1"]')
    (home / "realm.toml").write_text(text)
    found = run_doctor()
    text = json.dumps(found, ensure_ascii=False)
    assert found["code"] == 1
    assert "1 rule: failures" in text
    assert "4 built-in rules: run_ended_badly, stalled, not_finite, host_lost" in text
    assert "allow_hosts" in text
    assert "target plain (http://192.0.2.1/…) is sent to without TLS" in text
    assert "no rule sends to the target plain" in text
    assert "not taken: 1 message" in text
    assert "SECRET" not in text


def test_the_doctor_is_silent_where_there_are_no_rules(home: Path) -> None:
    assert run_doctor() == {"code": 0, "checks": []}


def test_a_damaged_store_is_reported_and_replaced(
    home: Path, invoke: Invoke, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "data").mkdir()
    (home / "data" / "webhooks.db").write_bytes(b"no database" * 100)
    assert invoke("log").exit_code == 0
    (kept,) = (home / "data").glob("webhooks.db.damaged-*")
    assert kept.read_bytes().startswith(b"no database")
    assert "webhooks.db could not be used" in capfd.readouterr().err


def test_a_store_of_a_newer_version_is_left_alone(home: Path, make: Maker) -> None:
    (home / "data").mkdir()
    with sqlite3.connect(home / "data" / "webhooks.db") as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(ExportError, match="newer version"):
        make({}).export_events([event(1)])
