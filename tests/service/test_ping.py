"""The ping comes while the log can be written, and its address is in no message."""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from realm_telemetry.config import load_settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.service import ServiceSettings
from realm_telemetry.service.ping import Ping
from tests.waiting import wait_until

from .conftest import asking, free_ports, serving

SECRET = "7f3c-secret"


class Receiver(ThreadingHTTPServer):
    """Counts the pings; answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_pings_come_while_the_log_can_be_written_and_only_then(
    tmp_path: Path, receiver: Receiver
) -> None:
    settings = free_ports(tmp_path, ping_url=receiver.url, ping_interval_s=0.05)
    with serving(settings) as server, asking(server) as client:
        wait_until(lambda: len(receiver.paths) >= 3)
        assert set(receiver.paths) == {f"/{SECRET}"}
        with closing(sqlite3.connect(settings.log_path, isolation_level=None)) as other:
            wait_until(lambda: _locked(other))
            wait_until(lambda: client.get("/health").json()["status"] == "degraded")
            before = stands_still(receiver)
            time.sleep(1.0)
            assert len(receiver.paths) == before
            other.execute("ROLLBACK")
        wait_until(lambda: len(receiver.paths) > before)
    after = stands_still(receiver)
    time.sleep(0.5)
    assert len(receiver.paths) == after


def stands_still(receiver: Receiver) -> int:
    """How many pings came, once none comes for half a second: one may be on its way."""
    counts = [-1]

    def is_last() -> bool:
        counts.append(len(receiver.paths))
        time.sleep(0.5)
        return counts[-1] == len(receiver.paths)

    wait_until(is_last)
    return counts[-1]


def _locked(other: sqlite3.Connection) -> bool:
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


def test_a_failure_is_reported_once_without_the_address_and_so_is_its_end(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 503
    ping = Ping(receiver.url, 0.02, lambda: True)
    with caplog.at_level(logging.WARNING):
        ping.start()
        wait_until(lambda: len(receiver.paths) >= 5)
        receiver.status = 200
        wait_until(lambda: len(caplog.messages) == 2)
        ping.stop()
    assert caplog.messages == [
        "The ping to 127.0.0.1 fails: it answered 503. Look at ping_url in [service].",
        "The ping to 127.0.0.1 is taken again.",
    ]


def test_nobody_at_the_address_is_a_failure_and_not_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ping = Ping(f"http://127.0.0.1:9/{SECRET}", 0.02, lambda: True)
    with caplog.at_level(logging.WARNING):
        ping.start()
        wait_until(lambda: len(caplog.messages) == 1)
        ping.stop()
    assert "127.0.0.1 fails: " in caplog.text
    assert SECRET not in caplog.text


def test_an_address_that_is_none_is_refused_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    (tmp_path / "realm.toml").write_text(f'[service]\nping_url = "ftp://{SECRET}"\n')
    with pytest.raises(ConfigError) as caught:
        ServiceSettings.of(load_settings({}))
    assert "ping_url" in str(caught.value)
    assert SECRET not in str(caught.value)
