"""docs/migration.md: its code runs in order on an older lab's files, and each way back works."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.cli.group import SUMMARIES
from realm_telemetry.log.sqlite.schema import OLDER_TABLE

GUIDE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()

OLDER_READ = (
    "SELECT timestamp, channel, source, severity, message, details_json FROM battle_log"
    " WHERE channel IN ('jobs', 'checkpoint') AND timestamp > ? ORDER BY timestamp DESC LIMIT 10"
)
OLDER_WRITE = (
    "INSERT INTO battle_log (timestamp, channel, source, severity, hero_id, message, details_json)"
    " VALUES (?, 'jobs', 'event.job_started', 'info', NULL, ?, '{}')"
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


def phase(number: int) -> str:
    return GUIDE.split(f"## Phase {number}:")[1].split("## Phase")[0]


@pytest.fixture
def lab(home: Path) -> Path:
    """An older lab: its job store's table, its battle log with rows, its state."""
    (home / "vault").mkdir(parents=True)
    (home / "data").mkdir()
    with closing(sqlite3.connect(home / "vault" / "jobs.db")) as connection, connection:
        connection.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT)")
        connection.execute("INSERT INTO jobs VALUES ('j0', 'done')")
        connection.executescript(OLDER_TABLE)
        connection.execute(OLDER_WRITE, ("2025-11-29T10:00:00Z", "Job j0 started"))
    with closing(sqlite3.connect(home / "data" / "realm_state.db")) as connection, connection:
        connection.execute("CREATE TABLE state (section TEXT PRIMARY KEY, data TEXT)")
        connection.execute("INSERT INTO state VALUES ('training', '{}')")
    return home


def run(code: str, home: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"REALM_SHIPPER": "process"} | environment,
        cwd=home.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def older(lab: Path) -> Iterator[sqlite3.Connection]:
    """What the older code does with the file: it knows nothing of us."""
    with closing(sqlite3.connect(lab / "vault" / "jobs.db", timeout=30)) as connection:
        yield connection


def test_the_code_of_all_phases_runs_in_order(lab: Path, older: sqlite3.Connection) -> None:
    """And at every point the older code can read and write the same table: the way back."""
    code = blocks("python")
    assert len(code) == 4
    for number, block in enumerate(code):
        run(block, lab)
        older.execute(OLDER_WRITE, ("2025-11-29T11:00:00Z", f"By older code {number}"))
        older.commit()
    rows = older.execute(OLDER_READ, ("2025-11-29",)).fetchall()
    assert {"event.checkpoint_saved", "event.job_started"} <= {row[2] for row in rows}
    messages = [row[4] for row in rows]
    assert "Job j0 started" in messages
    assert {f"By older code {number}" for number in range(4)} <= set(messages)
    assert older.execute("SELECT * FROM jobs").fetchall() == [("j0", "done")]
    with closing(sqlite3.connect(lab / "data" / "realm_state.db")) as state:
        assert state.execute("SELECT * FROM state").fetchall() == [("training", "{}")]


def test_rollback_of_phase_1_older_rows_are_there_for_the_older_names_too(lab: Path) -> None:
    code = (
        "from realm_telemetry.compat import install; install()\n"
        "from core.battle_log import get_battle_logger\n"
        "print([entry.message for entry in get_battle_logger().get_recent()])"
    )
    assert run(code, lab).strip() == "['Job j0 started']"


def test_rollback_of_phase_2_without_configure_the_older_names_go_on(lab: Path) -> None:
    new, older_names = blocks("python")[1], blocks("python")[0]
    run(new, lab)
    run(older_names, lab)
    run(new + older_names, lab)


def older_lines(home: Path) -> list[dict[str, Any]]:
    """What the older reader of the status file made of it."""
    lines = []
    for text in (home / "status" / "events.jsonl").read_text().splitlines():
        line = json.loads(text)
        assert datetime.fromisoformat(line["ts"]).tzinfo is None
        lines.append(line)
    return lines


@pytest.mark.parametrize("way", ["argument", "environment", "file"])
def test_the_rollback_for_jsonl_is_one_setting(lab: Path, way: str) -> None:
    """The names of the guide, however they are given; here without a service to wait for."""
    (table,) = blocks("toml")
    exporters = tomllib.loads(table)["exporters"]
    assert exporters == ["battle_log", "realm_service", "jsonl"]
    exporters.remove("realm_service")
    environment, argument = {"REALM_EXPORTERS": ""}, ""
    if way == "argument":
        argument = f"exporters={exporters!r}"
    elif way == "environment":
        environment["REALM_EXPORTERS"] = ",".join(exporters)
    else:
        (lab / "realm.toml").write_text(table.replace('"realm_service", ', ""))
    code = (
        "import realm_telemetry as realm\n"
        f"realm.configure({argument})\n"
        "from realm_telemetry.compat.events import emit_checkpoint_saved\n"
        "emit_checkpoint_saved('dio', 'c1', 1000, 'checkpoints/1000')\n"
        "realm.job_started('j1', 'eval', 'w1')\n"
        "assert realm.flush(60), realm.flush_problem()"
    )
    run(code, lab, **environment)
    saved, started = older_lines(lab)
    del saved["ts"], started["ts"]
    assert saved == {
        "kind": "checkpoint_saved", "hero_id": "dio", "campaign_id": "c1", "step": 1000,
        "path": "checkpoints/1000",
    }  # fmt: skip
    assert started == {
        "kind": "job_started", "job_id": "j1", "job_type": "eval", "worker_id": "w1",
    }  # fmt: skip


def test_every_phase_says_how_to_go_back() -> None:
    for number in (1, 2, 3):
        assert "**Back.**" in phase(number)
    assert "`arena/training_status`" in GUIDE


def test_every_command_and_name_of_the_guide_exists() -> None:
    import realm_telemetry as realm
    from realm_telemetry.compat import battle_log, event_bus, events, realm_store

    commands = re.findall(r"^realm (\w+)|`realm (\w+)", GUIDE, re.MULTILINE)
    assert {name for pair in commands for name in pair if name} <= SUMMARIES.keys()
    for name in re.findall(r"`realm\.(\w+)\(", GUIDE):
        assert hasattr(realm, name), name
    modules = {"event_bus": event_bus, "events": events, "realm_store": realm_store}
    modules["battle_log"] = battle_log
    for module, name in re.findall(r"core\.(\w+)\.(\w+)\(", GUIDE):
        assert hasattr(modules[module], name), (module, name)
