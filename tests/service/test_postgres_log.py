"""A service whose log is in PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from realm_telemetry.config import Settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.log.engine import open_log
from realm_telemetry.service import RealmServer, ServiceSettings
from tests.exporters.webhook.conftest import options
from tests.postgres_server import PASSWORD, Server
from tests.waiting import wait_until

from .conftest import asking, free_ports, post_notes, serving
from .streaming import cursors, stream, take

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """One server for the tests of this file."""
    with Server() as server:
        yield server


@pytest.fixture
def served(postgres: Server, tmp_path: Path) -> Iterator[RealmServer]:
    """A service on a log of the test's own, that gives a password."""
    schema = "s" + tmp_path.name.replace("-", "_")[:40].lower()
    url = postgres.tcp_url(password=PASSWORD.replace(" ", "%20"), schema=schema)
    with serving(free_ports(tmp_path, log_url=url)) as server:
        yield server


def test_what_is_sent_is_found_and_streamed(served: RealmServer) -> None:
    with asking(served) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        with stream(client) as source:
            assert post_notes(client, 1, 3)["accepted"] == 3
            seen = take(source, 4)
        assert cursors(seen)[-3:] == [1, 2, 3]
        found = client.get("/api/battle_log?q=note").json()
        assert [event["message"] for event in found] == ["Note 3", "Note 2", "Note 1"]
        assert post_notes(client, 2, 4)["duplicates"] == 2


def _is_ready(client: httpx.Client) -> bool:
    return client.get("/ready").status_code == 200


def test_a_service_goes_on_after_a_restart_with_the_log_it_had(
    postgres: Server, tmp_path: Path
) -> None:
    settings = free_ports(tmp_path, log_url=postgres.url(schema="restarted"))
    for first in (1, 4):
        with serving(settings) as server, asking(server) as client:
            wait_until(partial(_is_ready, client))
            post_notes(client, first, first + 2)
            found = client.get("/api/battle_log").json()
    assert len(found) == 6
    assert not settings.log_path.exists(), "nothing is written to the log of the home"


def test_the_password_is_shown_nowhere(served: RealmServer, tmp_path: Path) -> None:
    with asking(served) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        post_notes(client, 1, 1)
        for route in ("/health", "/ready", "/metrics"):
            assert "correct" not in client.get(route).text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"correct%20horse" in path.read_bytes()]


def test_a_server_that_is_away_is_a_503_and_comes_back(tmp_path: Path) -> None:
    with Server() as server:
        settings = free_ports(tmp_path, log_url=server.url(), log_retry_s=0.5)
        with serving(settings) as served, asking(served) as client:
            wait_until(lambda: client.get("/ready").status_code == 200)
            post_notes(client, 1, 1)
            server.kill()
            note = {"kind": "note", "message": "Note 2", "producer": "00000000000000aa"}
            body = {"events": [note | {"number": 2}]}
            answer = client.post("/api/v1/events", json=body)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
            server.start()
            wait_until(lambda: client.post("/api/v1/events", json=body).status_code == 200)
        with open_log(server.url()).reader() as reader:
            assert [row.event.number for row in reader.now.after(0)] == [1, 2]


def test_the_url_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REALM_LOG_URL", "postgresql://db/realm?connect_timeout=7")
    settings = ServiceSettings.of(Settings(home=tmp_path))
    assert settings.log_place == "postgresql://db/realm?connect_timeout=7&log_retry_s=10.0"
    monkeypatch.setenv("REALM_LOG_URL", "mysql://db")
    with pytest.raises(ConfigError, match="log_url"):
        ServiceSettings.of(Settings(home=tmp_path))


def test_alerts_are_those_of_the_log_in_the_database(postgres: Server, tmp_path: Path) -> None:
    given = {"webhook": options("http://127.0.0.1:9/", {"name": "failed", "kind": ["job_failed"]})}
    settings = free_ports(tmp_path, log_url=postgres.url(schema="alerts"), options=given)
    with serving(settings) as server, asking(server) as client:
        wait_until(partial(_is_ready, client))
        post_notes(client, 1, 1, kind="job_failed", severity="error")
        assert client.post("/api/alerts", json={"mute": "failed"}).status_code == 200
        with closing(server.app.state.service.log.outbox("webhooks")) as outbox:
            assert list(outbox.mutes()) == ["failed"]
        history = client.get("/api/alerts/history").json()["rules"]
        assert [rule["messages"] for rule in history if rule["rule"] == "failed"] == [1], history
