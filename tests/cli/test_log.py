"""`realm log` and `realm query --log`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from realm_telemetry.cli.log import log
from realm_telemetry.cli.query import query
from realm_telemetry.event import Event
from realm_telemetry.log.engine import open_log
from tests.postgres_server import PASSWORD, Server

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """One server for the tests of this file."""
    with Server() as server:
        yield server


def test_a_log_is_made_and_read_by_its_url(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    url = postgres.tcp_url(password=PASSWORD.replace(" ", "%20"), schema="by_command")
    run = CliRunner().invoke
    missing = run(log, ["status", url])
    assert missing.exit_code == 0
    assert "no log at" in missing.output
    made = run(log, ["init", url])
    assert "is ready; its id is" in made.output
    with open_log(url).writer() as writer:
        writer.append([Event("note", "system", "info", "Hello", {}, 1, "00000000000000aa", 1)])
        log_id = writer.log_id
    monkeypatch.setenv("REALM_LOG_URL", url)
    found = json.loads(run(log, ["status", "--json"]).stdout)
    assert (found["log_id"], found["events"], found["last_cursor"]) == (log_id, 1, 1)
    assert "PostgreSQL" in found["durability"]
    listed = run(query, ["--log", url, "--jsonl"])
    assert json.loads(listed.stdout.splitlines()[0])["message"] == "Hello"
    for result in (missing, made, listed):
        assert "correct" not in result.output
    assert "correct" not in json.dumps(found)
