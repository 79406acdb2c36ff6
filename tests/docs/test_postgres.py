"""docs/postgres.md: its commands do what they say, with real servers, proxies and services."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from realm_telemetry.log.engine import open_log
from realm_telemetry.service import RealmServer
from tests.nginx import nginx_command
from tests.ports import free_port
from tests.postgres_server import Server, binaries
from tests.service.conftest import asking, free_ports, make_event, post_notes, serving
from tests.service.test_proxies import TLS, running
from tests.waiting import wait_until

pytestmark = [pytest.mark.processes, pytest.mark.long]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
NAME = "realm.lab.example"


def block(language: str, words: str) -> str:
    """The one block of a language that has some words."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (chosen,) = [each for each in found if words in each]
    return str(chosen)


def commands(words: str, **changes: str) -> list[list[str]]:
    """The commands of a block, with names that hold here."""
    text = block("sh", words).replace("\\\n", " ")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return [shlex.split(line.removeprefix("sudo -u postgres ")) for line in text.splitlines()]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_a_synchronous_standby_is_made_and_takes_over(server: Server) -> None:
    tools, place = binaries(), ["-h", str(server.directory), "-p", str(server.port)]
    (user, slot) = commands("createuser --replication")
    user.remove("--pwprompt")
    server.run([str(tools / user[0]), *place, "-U", "realm", *user[1:]])
    server.run([str(tools / slot[0]), *place, "-U", "realm", "-d", "postgres", *slot[1:]])
    open_log(server.url()).writer().close()
    (backup,) = [each for each in commands("pg_basebackup -h db1") if each[0] == "pg_basebackup"]
    standby = Server()
    with ExitStack() as stack:
        stack.callback(standby.__exit__)
        given = {"db1": str(server.directory), "/var/lib/postgresql/15/main": str(standby.data)}
        backup = [given.get(word, word) for word in backup]
        server.run([str(tools / backup[0]), "-p", str(server.port), "-c", "fast", *backup[1:]])
        standby.start()
        setting = re.search(r"`(synchronous_standby_names) = ('FIRST[^`]*')`", PAGE)
        assert setting is not None
        server.sql(f"ALTER SYSTEM SET {setting[1]} = {setting[2]}", "SELECT pg_reload_conf()")
        synced = "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: server.sql(synced) == [("db2",)], explain=standby.log)
        url = (
            f"postgresql://realm@/postgres?host={server.directory},{standby.directory}"
            f"&port={server.port},{standby.port}&target_session_attrs=read-write"
        )
        log = open_log(url)
        assert "on disk here and at a standby" in log.describe().durability
        assert not [each for each in log.concerns() if "asynchronous" in each.message]
        with log.writer() as writer:
            writer.append([make_event(1)])
        server.kill()
        standby.promote()
        with log.writer() as writer, log.reader() as reader:
            writer.append([make_event(2)])
            assert [row.event.number for row in reader.now.after(0)] == [1, 2]


def test_a_backup_comes_back_with_another_id(server: Server, tmp_path: Path) -> None:
    log = open_log(server.url())
    with log.writer() as writer:
        writer.append([make_event(1, webhooks=("https://secret.example/x",))])
        before = writer.log_id
    names = {"postgresql://realm@db1/realm": server.url(), "realm.dump": str(tmp_path / "dump")}
    dump, restore = commands("pg_restore", **names)
    subprocess.run(dump, check=True)
    assert b"secret.example/x" not in (tmp_path / "dump").read_bytes()
    with log.writer() as writer:
        writer.append([make_event(2)])
    subprocess.run(restore, check=True)
    ((psql, _, *anew),) = commands("md5(random", **{"postgresql://realm@db1/realm": "HERE"})
    subprocess.run([psql, server.url(), *anew], check=True, stdout=subprocess.DEVNULL)
    with log.writer() as writer, log.reader() as reader:
        assert [row.event.number for row in reader.now.after(0)] == [1]
        assert writer.log_id != before
        assert re.fullmatch("[0-9a-f]{32}", writer.log_id)
        writer.append([make_event(3, webhooks=("https://secret.example/y",))])
        assert reader.now.max_cursor() == 2


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze: apt-get install systemd")
    unit = tmp_path / "realm@.service"
    text = block("ini", "ExecStart=")
    unit.write_text(text.replace("/opt/realm/bin/realm", shutil.which("true") or ""))
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if "realm@" in line]
    assert not lines, lines


def test_two_services_behind_nginx_are_one(server: Server, tmp_path: Path) -> None:
    if shutil.which("nginx", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("there is no nginx: apt install nginx")
    with ExitStack() as stack:
        services: list[RealmServer] = []
        for name in ("one", "two"):
            settings = free_ports(
                tmp_path / name,
                log_url=server.url(),
                token="open-sesame-1",
                allowed_hosts=(NAME,),
            )
            services.append(stack.enter_context(serving(settings)))
        directory, port = tmp_path / "proxy", free_port()
        directory.mkdir()
        command = nginx(directory, port, services)
        stack.enter_context(running(command, directory))
        headers = {"Host": f"{NAME}:{port}", "Authorization": "Bearer open-sesame-1"}
        url = f"https://127.0.0.1:{port}"
        client = stack.enter_context(
            httpx.Client(base_url=url, headers=headers, verify=False, timeout=30)
        )
        wait_until(lambda: is_ready(client))
        for number, service in enumerate([*services, None], 1):
            assert post_notes(client, number, number)["accepted"] == 1
            if service is services[0]:
                service.stop()
        assert len(client.get("/api/battle_log").json()) == 3
        with asking(services[1], headers=headers) as direct:
            assert len(direct.get("/api/battle_log").json()) == 3


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.HTTPError:
        return False


def nginx(directory: Path, port: int, services: list[RealmServer]) -> list[str]:
    """Write the page's configuration for two services; the command."""
    text = block("nginx", "upstream")
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/lab.example.pem", str(TLS / "hook.pem")),
        ("/etc/ssl/lab.example.key", str(TLS / "hook.key")),
        ("10.0.0.11:8866", services[0].url.removeprefix("http://")),
        ("10.0.0.12:8866", services[1].url.removeprefix("http://")),
    ):
        assert old in text
        text = text.replace(old, new)
    return nginx_command(directory, text)
