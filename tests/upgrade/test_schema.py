"""Old and new code on one home at a time: the schema is new, and nothing is lost or repeated."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from realm_telemetry.log.sqlite.schema import SCHEMA_VERSION
from tests.waiting import wait_until

from .processes import Producer, Service, logged, rows
from .trees import Tree

pytestmark = pytest.mark.slow

Produce = Callable[..., Producer]
Serve = Callable[[Tree, Path], Service]


def bring_up_to_date(tree: Tree, home: Path) -> None:
    """Open the log for writing once, as any process of the tree does that starts."""
    script = "import sys, pathlib; from realm_telemetry.log import LogWriter;"
    done = tree.run("-c", script + " LogWriter(pathlib.Path(sys.argv[1])).close()", log_of(home))
    assert done.returncode == 0, done.stderr


def log_of(home: Path) -> str:
    """The log's file."""
    return str(home / "vault" / "jobs.db")


def revision(home: Path) -> list[tuple[int]]:
    """The newest schema that was applied."""
    query = "SELECT value FROM realm_meta WHERE key = 'schema_revision'"
    return rows(Path(log_of(home)), query)


def post(service: Service, step: int) -> None:
    """Store an event through a service."""
    body = {"kind": "note", "message": "posted", "details": {"step": step}}
    answer = httpx.post(f"{service.url}/api/event", json=body, timeout=60)
    assert answer.status_code == 200, answer.text


def test_a_running_shipper_and_service_of_0_1_0_go_on_beside_the_new_schema(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce, serve: Serve
) -> None:
    service = serve(installed, home)
    producer = produce(
        installed, exporters=["battle_log", "realm_service"], service_url=service.url
    )
    before = producer.emit(5)
    producer.flush()
    post(service, 1)
    assert revision(home) == []
    bring_up_to_date(upgraded, home)
    assert revision(home) == [(SCHEMA_VERSION,)]
    after = producer.emit(5, first=5)
    producer.flush()
    post(service, 2)
    newer = produce(upgraded, exporters=["battle_log"])
    beside = newer.emit(5, first=10)
    newer.flush()
    for each in (producer, newer):
        each.exit()
    assert logged(home, "kind = 'note' AND message != 'posted'") == before + after + beside
    assert len(logged(home, "message = 'posted'")) == 2
    # What the old service shows and what the new one shows of the same log is the same.
    old_page = service.get("/api/battle_log", limit=100)
    assert len(old_page) >= 17
    assert service.stop() == 0, service.output.read_text()
    new_page = serve(upgraded, home).get("/api/battle_log", limit=100)
    known = old_page[0].keys()
    assert [{name: row[name] for name in known} for row in new_page][-17:] == old_page[-17:]


def test_0_1_0_may_be_started_again_on_the_new_schema(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce, serve: Serve
) -> None:
    bring_up_to_date(upgraded, home)
    service = serve(installed, home)
    producer = produce(
        installed, exporters=["battle_log", "realm_service"], service_url=service.url
    )
    emitted = producer.emit(20)
    producer.flush()
    producer.exit()
    post(service, 1)
    assert service.stop() == 0, service.output.read_text()
    bring_up_to_date(upgraded, home)
    assert logged(home, "message != 'posted'") == emitted
    assert len(logged(home, "message = 'posted'")) == 1


def test_0_1_0_stops_with_its_message_where_it_may_not_write(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce
) -> None:
    """The way a later version has to keep older code out; its events wait in the spool."""
    bring_up_to_date(upgraded, home)
    with closing(sqlite3.connect(log_of(home))) as connection, connection:
        connection.execute("UPDATE realm_meta SET value = 999 WHERE key = 'schema_version'")
    ports = ["--port", "0", "--battle-log-port", "0", "--ui-port", "0"]
    done = installed.run("-m", "realm_telemetry", "--home", str(home), "serve", *ports)
    assert done.returncode != 0
    assert "newer version of realm_telemetry" in done.stdout + done.stderr
    producer = produce(installed, exporters=["battle_log"])
    emitted = producer.emit(7)
    answer = producer.ask("flush", timeout_s=3)
    assert not answer["delivered"]
    assert logged(home) == []
    with closing(sqlite3.connect(log_of(home))) as connection, connection:
        connection.execute("UPDATE realm_meta SET value = 11 WHERE key = 'schema_version'")
    wait_until(lambda: logged(home) == emitted, explain=lambda: json.dumps(answer))
    producer.exit()
