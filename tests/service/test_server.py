"""`realm serve`: addresses, busy ports, signals, mounting in another server."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from realm_telemetry.config import Settings
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.service import (
    RealmServer,
    ServiceSettings,
    banner,
    realm_app,
    realm_lifespan,
)
from realm_telemetry.service.server import holder_of
from tests.waiting import SOON_S, wait_until

from .conftest import asking, free_ports, make_event, post_notes, serving


def test_every_address_answers_every_route(server: RealmServer) -> None:
    assert len(set(server.ports)) == 3
    for port in server.ports:
        for path in ("/health", "/api/events", "/api/battle_log", "/"):
            assert httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200


def test_a_busy_port_is_reported_with_its_holder_and_the_rest_is_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert holder_of(port) is not None
        with serving(free_ports(tmp_path, battle_log_port=port)) as server:
            assert len(server.ports) == 2
            (busy,) = server.busy
            assert (busy.name, busy.port) == ("battle log", port)
            assert f"pid {os.getpid()} (" in busy.holder
            assert any(f"port {port} is busy: pid {os.getpid()}" in line for line in banner(server))
            with asking(server) as client:
                assert client.get("/api/battle_log").status_code == 200


def test_no_free_port_is_a_configuration_error_that_names_the_holder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"port": port, "battle_log_port": port, "ui_port": port}
        with pytest.raises(ConfigError, match=f"pid {os.getpid()}"):
            RealmServer(free_ports(tmp_path, **ports))


def test_a_host_that_is_not_of_this_machine_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--host"):
        RealmServer(free_ports(tmp_path, host="192.0.2.1", token="a-long-token"))


def test_a_port_that_nobody_holds_has_no_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    assert holder_of(port) is None


def test_a_log_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "jobs.db").write_bytes(b"this is no database" * 100)
    server = RealmServer(free_ports(tmp_path))
    with pytest.raises(LogError, match="not an SQLite database"):
        server.run()


def test_the_service_settings_of_a_process(tmp_path: Path) -> None:
    given = Settings(
        home=tmp_path, token="a-long-token", service={"port": 0, "allowed_hosts": ["lab"]}
    )
    settings = ServiceSettings.of(given)
    assert (settings.port, settings.token, settings.allowed_hosts) == (0, "a-long-token", ("lab",))
    assert settings.log_path == given.log_path


@pytest.mark.parametrize("service", [{"prot": 1}, {"port": "many"}])
def test_a_wrong_service_setting_is_a_configuration_error(
    tmp_path: Path, service: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"\[service\]"):
        ServiceSettings.of(Settings(home=tmp_path, service=service))


PROGRAM = """
import sys
from pathlib import Path
from realm_telemetry.service import ServiceSettings, serve
ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
settings = ServiceSettings.for_home(Path(sys.argv[1]), shutdown_s=120.0, **ports)
serve(settings, echo=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_with_an_open_stream_in_time(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "RealmService is up.\n"
        url = process.stdout.readline().split()[1]
        with httpx.Client(base_url=url) as client:
            post_notes(client, 1, 3)
            with client.stream("GET", "/api/events/stream") as response:
                next(response.iter_lines())
                started = time.monotonic()
                process.send_signal(number)
                assert process.wait(60) == 0
                assert time.monotonic() - started < SOON_S
    assert (tmp_path / "data" / "realm_state.db").exists()


def test_a_batch_in_flight_is_answered_before_the_end(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        assert post_notes(client, 1, 5000)["accepted"] == 5000
        server.stop()
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        assert client.get("/health").json()["cursor"] == 5000


@pytest.mark.anyio
async def test_the_application_can_be_mounted_in_another_server(tmp_path: Path) -> None:
    realm = realm_app(ServiceSettings.for_home(tmp_path, allowed_hosts=("lab.example",)))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> Any:
        async with realm_lifespan(realm):
            yield

    app = Starlette(routes=[Mount("/realm", realm)], lifespan=lifespan)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://lab.example/realm/") as client,
    ):
        body = {"events": [{"kind": "note"}] * 3}
        assert (await client.post("api/v1/events", json=body)).json()["accepted"] == 3
        page = await client.get("api/battle_log?limit=2")
        assert len(page.json()) == 2
        rest = await client.get(str(page.url.join(page.links["next"]["url"])))
        assert len(rest.json()) == 1
        assert (
            'href="api/events"' in (await client.get("api", headers={"accept": "text/html"})).text
        )


@pytest.mark.anyio
async def test_a_mounted_application_asks_for_its_token_below_its_mount(tmp_path: Path) -> None:
    realm = realm_app(ServiceSettings.for_home(tmp_path, token="s3cret-token"))
    app = Starlette(routes=[Mount("/realm", realm)])
    transport = httpx.ASGITransport(app)
    async with (
        realm_lifespan(realm),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        sent = await client.get("/realm/api/state", headers={"accept": "text/html"})
        assert sent.headers["location"] == "/realm/login?next=/api/state"
        data = {"token": "s3cret-token", "next": "/api/state"}
        done = await client.post("/realm/login", data=data)
        assert done.headers["location"] == "/realm/api/state"
        assert "path=/realm" in done.headers["set-cookie"].lower()
        assert (await client.get("/realm/health")).status_code == 200


def test_retention_waits_for_the_snapshot_of_the_state(tmp_path: Path) -> None:
    from realm_telemetry.log.sqlite.writer import LogWriter

    settings = free_ports(tmp_path, retention_days=1.0, snapshot_interval_s=0.2)
    days_ago = time.time_ns() - 3 * 24 * 3600 * 1_000_000_000
    with LogWriter(settings.log_path, clock_ns=lambda: days_ago) as writer:
        writer.append([make_event(number, time_unix_nano=days_ago) for number in range(1, 1201)])
    with LogWriter(settings.log_path) as writer:
        # What came today shows that the clock has not merely jumped.
        writer.append([make_event(1201)])
    with serving(settings) as server, asking(server) as client:
        wait_until(lambda: len(client.get("/api/battle_log").json()) == 1)
        assert client.get("/api/state").json()["cursor"] == 1201
    with serving(settings) as server, asking(server) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        assert client.get("/api/state").json()["cursor"] == 1201
