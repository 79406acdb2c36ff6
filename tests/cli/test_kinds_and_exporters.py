"""`realm kinds` and `realm exporters`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from realm_telemetry.kinds import catalog
from realm_telemetry.kinds.catalog import KIND_METADATA
from realm_telemetry.log import LogWriter

Invoke = Callable[..., Result]


def test_every_kind_is_listed_with_channel_and_severity(invoke: Invoke) -> None:
    shapes = json.loads(invoke("kinds", "--json").stdout)
    listed = {shape["kind"]: (shape["channel"], shape["severity"]) for shape in shapes}
    assert listed.items() >= KIND_METADATA.items()
    table = invoke("kinds").stdout
    assert all(f"\n{kind} " in table for kind in KIND_METADATA)


def test_a_kind_that_a_program_registered_is_listed_and_marked(
    invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("_specs", "_resolved", "_templates", "_learned"):
        monkeypatch.setattr(catalog, table, getattr(catalog, table).copy())
    with LogWriter(home / "vault" / "jobs.db") as log:
        log.register_kind(catalog.KindSpec("ray_traced", "debug", "warning", "Ray {n}", True))
    shapes = {shape["kind"]: shape for shape in json.loads(invoke("kinds", "--json").stdout)}
    assert shapes["ray_traced"] == {
        "kind": "ray_traced",
        "channel": "debug",
        "severity": "warning",
        "routine": True,
        "origin": "registered",
        "message": "Ray {n}",
    }
    assert shapes["note"]["origin"] == "built-in"
    line = next(each for each in invoke("kinds").stdout.splitlines() if "ray_traced" in each)
    assert "registered" in line


def test_installed_exporters_are_listed_and_the_used_ones_marked(invoke: Invoke) -> None:
    result = invoke("exporters", "--json")
    rows = {(row["name"], row["distribution"]): row for row in json.loads(result.stdout)}
    assert result.exit_code == 0
    assert rows["battle_log", "realm-telemetry"]["used"]
    assert not rows["jsonl", "realm-telemetry"]["used"]
    assert rows["jsonl", "realm-telemetry"]["status"] == "ok"


def test_a_used_exporter_that_is_not_installed_is_a_problem(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log,carrier_pigeon")
    result = invoke("exporters")
    assert result.exit_code == 1
    assert "missing" in result.stdout
    assert "no installed distribution offers 'carrier_pigeon'" in result.stderr
