"""Two homes that claim one service, and its kin: nothing is lost, and no token goes to another."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from realm_exporter_realm_service import RealmServiceExporter

import realm_telemetry.home.token
from realm_telemetry.cli.sources import open_source
from realm_telemetry.client import RealmClient, ServiceError
from realm_telemetry.config import Settings, home_token, load_settings, located
from realm_telemetry.errors import ExportError
from realm_telemetry.event import Event
from realm_telemetry.home import (
    SERVICE,
    RunningService,
    ServiceAddress,
    network_namespace,
    running_service,
)
from realm_telemetry.plugins import ExporterContext
from realm_telemetry.testing import running_service as served
from tests.waiting import wait_until

from .machine import Machine

OTHER_NETWORK = 7


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REALM_SERVICE_URL", "REALM_TOKEN", "REALM_ACCESS", "REALM_HOME"):
        monkeypatch.delenv(name, raising=False)


class Listener:
    """Something on a port that is no service of ours, or one of another version.

    health: what it answers at /health. tokens: all that it was sent.
    """

    def __init__(self, health: str) -> None:
        self.tokens: list[str] = []
        tokens = self.tokens

        class Handler(BaseHTTPRequestHandler):
            """Answers all with one text."""

            def do_GET(self) -> None:
                tokens.append(self.headers.get("Authorization", ""))
                body = health.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def claimed(home: Path, url: str, *, log_id: str = "", network: int = 0) -> Iterator[None]:
    """A service of a home that says it is at an address, and holds its lock."""
    home.mkdir(mode=0o700, exist_ok=True)
    held = ServiceAddress.claim(home)
    assert held is not None
    held.say(RunningService(url, url, os.getpid(), 1, log_id, network))
    yield
    held.close()


def settings_of(home: Path) -> Settings:
    """The settings of a home whose service is to ask for a token."""
    return load_settings({"home": home, "access": "token"})


@contextmanager
def exporter_of(settings: Settings) -> Iterator[RealmServiceExporter]:
    context = ExporterContext(
        home=settings.home,
        log_path=settings.log_path,
        log_id="0" * 32,
        service_url=settings.service_url,
        token=settings.token,
    )
    exporter = RealmServiceExporter(context=context)
    try:
        yield exporter
    finally:
        exporter.shutdown()


VERSIONS = {
    "an older service": '{"status": "ok", "log_id": "%s"}' % ("b" * 32),
    "a newer service": '{"status": "ok", "log_id": "%s", "new": [{}], "version": "9.0"}'
    % ("b" * 32),
    "no service": "<html>hello</html>",
    "a list": "[]",
    "no log": '{"status": "ok"}',
}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_address_of_another_network_gets_no_token_and_no_events(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with this home, whose 127.0.0.1 is another one than ours."""
    home = tmp_path / "home"
    listener = Listener(VERSIONS[version])
    with closing(listener), claimed(home, listener.url, log_id="a" * 32, network=OTHER_NETWORK):
        settings = settings_of(home)
        assert located(settings).token is None
        with (
            exporter_of(settings) as exporter,
            pytest.raises(ExportError, match=r"service_url \(REALM_SERVICE_URL\)") as failed,
        ):
            exporter.deliver([])
        assert failed.value.retryable
        monkeypatch.setenv("REALM_HOME", str(home))
        with RealmClient(listener.url) as client, suppress(ServiceError):
            client.health()
        assert set(listener.tokens) == {""}


def test_another_homes_service_at_that_address_is_not_read(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    with served.running_service(home):  # it has a log now
        pass
    with (
        served.running_service(other) as server,
        claimed(home, server.url, log_id="a" * 32, network=OTHER_NETWORK),
    ):
        settings = located(load_settings({"home": home}))
        assert settings.service_url != server.url
        with closing(
            open_source(settings, url=None, from_log=False, report=lambda _: None)
        ) as source:
            assert source.name == f"the log {home / 'vault' / 'jobs.db'}"


def test_the_right_service_is_found_through_another_network(tmp_path: Path) -> None:
    """A container publishes its port under the number that it has inside."""
    home = tmp_path / "home"
    token = home_token(home)
    with served.running_service(home, token=token) as server:
        wait_until(lambda: running_service(home) is not None)
        said = running_service(home)
        assert said is not None
        assert (len(said.log_id), said.network) == (32, network_namespace())
        # The lock is the service's: the text alone is changed, as another namespace would say it.
        text = json.dumps({**json.loads((home / SERVICE).read_text()), "network": OTHER_NETWORK})
        (home / SERVICE).write_text(text)
        settings = located(settings_of(home))
        assert (settings.service_url, settings.token) == (server.url, token)
        with exporter_of(settings) as exporter:
            exporter.deliver([])


def test_a_stranger_on_the_default_port_gets_no_token_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the service of the home is down, the program of any user can have its port."""
    listener = Listener(VERSIONS["an older service"])
    for module in ("realm_telemetry.home.token", "realm_telemetry.config"):
        monkeypatch.setattr(sys.modules[module], "DEFAULT_SERVICE_URL", listener.url)
    home = tmp_path / "home"
    with closing(listener):
        settings = load_settings({"home": home, "access": "token", "service_url": listener.url})
        assert settings.token == (home / "token").read_text().strip(), "for a service that starts"
        assert located(settings).token is None
        with exporter_of(settings) as exporter, pytest.raises(ExportError):
            exporter.deliver(events())
        monkeypatch.setenv("REALM_HOME", str(home))
        monkeypatch.setenv("REALM_ACCESS", "token")
        with RealmClient(listener.url) as client:
            client.health()
        assert set(listener.tokens) == {""}
        # One that the user gave is the user's to send.
        with RealmClient(listener.url, "given-token") as client:
            client.health()
        assert listener.tokens[-1] == "Bearer given-token"


def events() -> list[Event]:
    return [
        Event(
            kind="note",
            channel="system",
            severity="info",
            message="hello",
            details={},
            time_unix_nano=1,
            producer="c0ffee0000000001",
            number=1,
        )
    ]


def test_a_token_that_came_with_the_service_is_sent_once_it_runs(tmp_path: Path) -> None:
    """An exporter that was made before its service, as in a long training."""
    home = tmp_path / "home"
    settings = settings_of(home)
    with exporter_of(settings) as exporter, served.running_service(home, token=settings.token):
        wait_until(lambda: running_service(home) is not None)
        exporter.deliver(events())


def test_two_services_of_one_home_and_the_second_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served.running_service(tmp_path) as first:
        wait_until(lambda: running_service(tmp_path) is not None)
        with served.running_service(tmp_path):
            wait_until(lambda: "Another service of" in caplog.text)
            found = running_service(tmp_path)
            assert found is not None
            assert found.url == first.url
    assert f"runs at {first.url} (pid {os.getpid()})" in caplog.text
    assert "REALM_SERVICE_URL" in caplog.text


def test_a_file_left_by_a_reboot_counts_for_nothing_though_its_pid_lives(tmp_path: Path) -> None:
    listener = Listener(VERSIONS["an older service"])
    home = tmp_path / "home"
    with closing(listener):
        with claimed(home, listener.url):
            text = (home / SERVICE).read_bytes()
        (home / SERVICE).write_bytes(text)
        assert json.loads(text)["pid"] == os.getpid()
        assert running_service(home) is None
        assert located(settings_of(home)).service_url != listener.url
        assert listener.tokens == []


@pytest.mark.processes
def test_the_service_in_a_container_is_not_taken_for_the_one_here(tmp_path: Path) -> None:
    """Two hosts' loopbacks, one home: what was emitted waits, and `up` names the setting."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    machine = Machine("inside")
    environment = {**os.environ, "REALM_HOME": str(home)}
    ports = ("--port", "0", "--battle-log-port", "0", "--ui-port", "0")
    realm = (sys.executable, "-m", "realm_telemetry")
    try:
        machine.start([*realm, "serve", *ports], environment)
        wait_until(lambda: running_service(home) is not None)
        said = running_service(home)
        assert said is not None
        assert not said.is_on_this_network
        up = subprocess.run(
            [*realm, "up"], env=environment, capture_output=True, text=True, check=False
        )
        assert up.returncode == 1
        assert "runs in another container" in up.stderr
        assert "REALM_SERVICE_URL" in up.stderr
    finally:
        machine.kill()
    assert realm_telemetry.home.token.named_log(home, said.url) is None
