"""GET /api/health: what is wrong and what to do, answered whatever is broken."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.log.sqlite.connection import open_writer
from realm_telemetry.service import RealmServer, health_desk
from tests.exporters.webhook.settings_file import RULES, write_settings
from tests.waiting import wait_until

from .conftest import asking, free_ports, post_notes, serving


@pytest.fixture(autouse=True)
def look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is given twice."""
    monkeypatch.setattr(health_desk, "FRESH_S", 0.0)


def health(client: httpx.Client) -> dict[str, Any]:
    """What is answered now."""
    answer = client.get("/api/health")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def wrong(client: httpx.Client) -> list[tuple[str, str, str]]:
    """What is wrong: check, level, and message with its fix."""
    return [
        (each["check"], each["level"], f"{each['message']} {each['fix']}")
        for each in health(client)["checks"]
        if each["level"] != "ok"
    ]


def test_a_service_that_is_well_says_so(client: httpx.Client) -> None:
    """With what it is, where its log is, and what it keeps."""
    post_notes(client, 1, 3)
    wait_until(lambda: health(client)["status"] == "ok")
    wait_until(lambda: health(client)["log"]["cursor"] == 3)
    found = health(client)
    assert wrong(client) == []
    assert found["log"]["place"].endswith("jobs.db")
    assert 0 < found["log"]["size_bytes"] < found["log"]["disk_total_bytes"]
    assert found["service"]["started_at"]
    assert found["receipts"]["dropped"] == 0
    assert found["exporters"] == [{"name": "webhook", "of": "service", "behind": 0, "problem": ""}]


def test_an_answer_is_given_again_for_a_moment(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many pages ask; after that it is another."""
    monkeypatch.setattr(health_desk, "FRESH_S", 1.5)
    before = health(client)["log"]["cursor"]
    post_notes(client, 1, 1)
    assert health(client)["log"]["cursor"] == before
    wait_until(lambda: health(client)["log"]["cursor"] == before + 1)


def test_a_log_that_takes_no_write_is_a_problem(
    server: RealmServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds its lock; what can be read is there all the same."""
    monkeypatch.setattr("realm_telemetry.service.ingest.writer.STUCK_S", 0.3)
    with closing(sqlite3.connect(server.settings.log_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(httpx.TimeoutException):
            client.post("/api/v1/events", json={"events": [{"kind": "note"}]}, timeout=0.5)
        wait_until(lambda: wrong(client))
        [(check, level, text)] = wrong(client)
        assert (check, level) == ("log", "problem")
        assert "holds the log's lock" in text
        assert "realm doctor" in text
        assert health(client)["log"]["size_bytes"] > 0
        other.execute("ROLLBACK")
    wait_until(lambda: wrong(client) == [])


def test_a_full_disk_is_named_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own limit of pages stands for it."""
    opened: list[sqlite3.Connection] = []

    def open_and_keep(path: Path) -> sqlite3.Connection:
        opened.append(open_writer(path))
        return opened[-1]

    monkeypatch.setattr("realm_telemetry.log.sqlite.writer.open_writer", open_and_keep)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post_notes(client, 1, 1)
        for connection in opened:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
        large = {"events": [{"kind": "note", "message": "x" * 100_000}]}
        assert client.post("/api/v1/events", json=large).status_code == 503
        found = {check: text for check, level, text in wrong(client) if level == "problem"}
        assert "disk is full" in found["log"]
        assert "Free some space" in found["log"]


@pytest.mark.parametrize(
    ("free", "level"), [(2**29 - 1, "warning"), (2**29, "ok"), (2**29 + 1, "ok")]
)
def test_little_room_on_the_disk_is_a_warning(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    """From below 512 MiB on."""
    usage = type("Usage", (), {"total": 2**40, "free": free})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    [found] = [each for each in health(client)["checks"] if each["check"] == "file system"]
    assert found["level"] == level


@pytest.fixture
def unheard(tmp_path: Path) -> Iterator[httpx.Client]:
    """A service whose alerts go where nobody listens."""
    write_settings(tmp_path, "http://127.0.0.1:9/SECRET", RULES)
    from realm_telemetry.config import load_settings
    from realm_telemetry.service import ServiceSettings

    given = ServiceSettings.of(load_settings(environ={"REALM_HOME": str(tmp_path)}))
    options = {"options": given.options}
    with serving(free_ports(tmp_path, **options)) as server, asking(server) as client:
        yield client


def test_a_target_that_is_down_is_named(unheard: httpx.Client) -> None:
    """With how often it was tried for, and without what is secret in its address."""
    wait_until(lambda: health(unheard)["exporters"][0]["behind"] == 0)
    time.sleep(0.5)
    post_notes(unheard, 1, 1, kind="job_failed", severity="error")
    wait_until(lambda: wrong(unheard))
    [(check, level, text)] = wrong(unheard)
    assert (check, level) == ("alerts", "warning")
    assert "1 message to lab could not be sent yet" in text
    assert "Connection refused" in text
    assert "SECRET" not in unheard.get("/api/health").text


def test_a_silent_host_is_named_with_its_runs(
    client: httpx.Client, server: RealmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a warning while it is silent."""
    beat = {"host": "gpu7", "boot_id": "b", "pipeline": "p", "interval_s": 1.0,
            "processes": [{"producer": "a" * 16, "run_id": "r1"}]}  # fmt: skip
    assert client.post("/api/v1/heartbeat", json=beat).status_code == 200
    assert [each["status"] for each in health(client)["hosts"]] == ["live"]
    hosts = server.app.state.service.host_watch.hosts
    monkeypatch.setattr(hosts, "is_silent", lambda host: True)
    found = [each for each in wrong(client) if each[0] == "host"]
    assert [level for _, level, _ in found] in (["warning"], ["problem"])
    assert "gpu7" in found[0][2]
    assert "r1" in found[0][2]


def test_it_is_answered_while_the_log_is_opened_again(
    server: RealmServer, client: httpx.Client
) -> None:
    """Nothing runs then but the answer."""
    state = server.app.state
    service, state.service, state.outage = state.service, None, "The log cannot be opened: gone"
    try:
        found = health(client)
        assert found["status"] == "problem"
        assert "cannot be opened: gone" in found["checks"][0]["message"]
        assert found["receipts"] is None
        assert found["log"]["cursor"] is None
    finally:
        state.service, state.outage = service, None


def test_with_a_token_it_asks_for_it(tmp_path: Path) -> None:
    """Unlike /health, which has no names of hosts."""
    with serving(free_ports(tmp_path, token="secret-token")) as server, asking(server) as client:
        assert client.get("/api/health").status_code == 401
        assert client.get("/health").status_code == 200
