"""docs/deployment.md: its proxies hand on streams at once, its settings and container are right."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import httpx
import pytest

from realm_telemetry.cli.group import realm
from realm_telemetry.config import load_settings
from realm_telemetry.service import RealmServer, ServiceSettings
from tests.nginx import nginx_command
from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import free_ports, post_notes, serving
from .streaming import stream

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
TLS = ROOT / "tests" / "exporters" / "webhook" / "tls"
NAME = "lab.example"

Proxy = Callable[[Path, RealmServer], tuple[list[str], str]]
"""Writes a configuration for a service; returns the command and the address of the proxy."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def nginx(directory: Path, server: RealmServer) -> tuple[list[str], str]:
    port = free_port()
    (block,) = blocks("nginx")
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/lab.example.pem", str(TLS / "hook.pem")),
        ("/etc/ssl/lab.example.key", str(TLS / "hook.key")),
        ("http://127.0.0.1:8866", server.url),
    ):
        assert old in block
        block = block.replace(old, new)
    return nginx_command(directory, block), f"https://127.0.0.1:{port}"


def caddy(directory: Path, server: RealmServer) -> tuple[list[str], str]:
    port = free_port()
    (block,) = blocks("caddyfile")
    for old, new in (
        (f"{NAME} {{", f"http://{NAME}:{port} {{"),
        ("127.0.0.1:8866", server.url.removeprefix("http://")),
    ):
        assert old in block
        block = block.replace(old, new)
    config = directory / "Caddyfile"
    config.write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{block}")
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]
    return command, f"http://127.0.0.1:{port}"


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[None]:
    environment = {"HOME": str(directory), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.processes
@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_a_proxy_hands_on_streams_at_once_and_pages_and_events(
    proxy: Proxy, tmp_path: Path
) -> None:
    directory = tmp_path / "proxy"
    directory.mkdir(mode=0o755)
    settings = free_ports(tmp_path / "home", token="open-sesame-1", allowed_hosts=(NAME,))
    with serving(settings) as server:
        command, url = proxy(directory, server)
        if shutil.which(command[0]) is None:
            pytest.skip(f"there is no {command[0]}: apt install {command[0]}")
        headers = {"Host": url.replace("127.0.0.1", NAME).partition("://")[2]}
        headers["Authorization"] = "Bearer open-sesame-1"
        with (
            running(command, directory),
            httpx.Client(base_url=url, verify=False, headers=headers, timeout=60) as client,
        ):
            wait_until(lambda: _answers(client))
            assert client.get("/health").json()["status"] == "ok"
            origin = {"Origin": url.replace("127.0.0.1", NAME), "Sec-Fetch-Site": "same-origin"}
            assert client.get("/api/runs", headers=origin).status_code == 200
            assert client.get("/api/runs", headers={"Authorization": ""}).status_code == 401
            with stream(client) as messages:
                assert next(messages).event == "snapshot"
                # It comes while the stream is open: a proxy that buffers would hold it back.
                assert post_notes(client, 1, 1)["accepted"] == 1
                assert next(each for each in messages if each.event == "event")
            # A reader that has left takes no place.
            wait_until(lambda: client.get("/health").json()["sse_clients"] == 0)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("text", blocks("toml"))
def test_the_settings_are_those_of_a_service(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    monkeypatch.setenv("REALM_TOKEN", "open-sesame-1")
    (tmp_path / "realm.toml").write_text(text)
    settings = ServiceSettings.of(load_settings({}))
    settings.check_access()
    for name, value in tomllib.loads(text)["service"].items():
        found = getattr(settings, name)
        assert (list(found) if isinstance(found, tuple) else found) == value


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE)) - {"host_not_allowed"})
)
def test_every_setting_that_the_page_names_exists(name: str) -> None:
    of_programs = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert hasattr(ServiceSettings, name) or f"| `{name}` |" in of_programs


def test_the_container_serves() -> None:
    """Each line is an instruction, and what it runs is a command of ours with such options."""
    (text,) = blocks("dockerfile")
    lines = [line.split(None, 1) for line in text.replace("\\\n", " ").splitlines()]
    known = {"FROM", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert {name for name, _ in lines} == known
    assert lines[0][0] == "FROM"
    command, name, *options = _words(lines[-1][1])
    assert (lines[-1][0], command) == ("CMD", "realm")
    _parse(name, options)
    check = _words(dict(lines)["HEALTHCHECK"].partition("CMD")[2])
    compile(check[2], "HEALTHCHECK", "exec")


def test_the_unit_of_a_machine_starts_a_command_of_ours() -> None:
    (text,) = blocks("ini")
    unit = configparser.RawConfigParser()
    unit.read_string(text)
    program, name, *options = shlex.split(unit["Service"]["execstart"])
    assert Path(program).name == "realm"
    _parse(name, options)
    assert unit["Service"]["environment"] == "REALM_HOME=/var/lib/realm"


def _words(text: str) -> list[str]:
    """The words of an instruction in its JSON form."""
    words: list[str] = json.loads(text)
    return words


def _parse(name: str, options: list[str]) -> None:
    command = realm.get_command(click.Context(realm), name)
    assert command is not None
    command.make_context(name, options)
