"""What the server's errors say to a person, and what they never say."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.postgres.connection import Place
from tests.ports import free_port
from tests.postgres_server import PASSWORD, USER, Server, ordinary_user
from tests.waiting import wait_until

from .conftest import make_event

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://", "names no server"),
        ("postgresql://h/db?nonsense=1", "invalid URI query parameter"),
        ("postgresql://h/db?schema=a-b", "schema needs"),
        ("postgresql://h/db?connect_timeout=soon", "whole number of seconds"),
        ("postgresql://h/db?log_retry_s=soon", "log_retry_s needs"),
    ],
)
def test_a_wrong_url_is_a_setting_to_be_mended(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        open_log(url)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"realm-telemetry\[postgres\]"):
        open_log("postgresql://h/db")


def test_a_password_is_shown_nowhere() -> None:
    place = Place.parse("postgresql://me:s%20ecret@h/db?sslpassword=other&application_name=x")
    assert place.shown == "postgresql://me@h/db?application_name=x"
    assert place.cleaned("FATAL s%20ecret s ecret other") == "FATAL … … …"
    log = open_log("postgresql://me:s%20ecret@127.0.0.1:1/db?log_retry_s=0")
    assert "ecret" not in log.place
    with pytest.raises(LogUnavailableError) as caught:
        log.writer()
    assert "ecret" not in str(caught.value)


def test_a_wrong_password_is_named_and_a_right_one_is_taken(postgres: Server) -> None:
    with pytest.raises(LogUnavailableError, match=r"refuses the password.*pgpass"):
        open_log(postgres.tcp_url(password="wrong")).writer()
    with pytest.raises(LogUnavailableError, match="asks for a password"):
        open_log(postgres.tcp_url()).writer()
    url = postgres.tcp_url(password=PASSWORD.replace(" ", "%20"), schema="by_password")
    with open_log(url).writer() as writer:
        assert writer.append([make_event(1)]).stored == 1


def test_the_password_may_come_from_where_libpq_looks(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_log(postgres.tcp_url(schema="by_environment")).writer().close()


def test_a_server_that_is_not_there_is_named() -> None:
    port = free_port()
    with pytest.raises(LogUnavailableError, match=rf"127\.0\.0\.1:{port}.*refused"):
        open_log(f"postgresql://127.0.0.1:{port}/realm").writer()


def test_a_database_that_is_not_there_is_named(postgres: Server) -> None:
    with pytest.raises(LogUnavailableError, match="no such database"):
        open_log(postgres.url("elsewhere")).reader()


def test_a_read_only_server_says_how_to_find_another(
    postgres: Server, url: Callable[..., str]
) -> None:
    open_log(url()).writer().close()
    log = open_log(url(options="-cdefault_transaction_read_only=on", log_retry_s="0"))
    with log.writer() as writer, pytest.raises(LogUnavailableError, match="read-write"):
        writer.append([make_event(1)])


def test_an_old_server_is_refused(url: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realm_telemetry.log.postgres.connection.OLDEST_SERVER", 990_000)
    with pytest.raises(ConfigError, match=r"too old.*99 or newer"):
        open_log(url()).writer()


def test_a_log_that_was_not_made_says_how_to_make_it(url: Callable[..., str]) -> None:
    with pytest.raises(LogUnavailableError, match="realm log init"):
        open_log(url()).reader()


def test_a_user_without_the_right_to_make_schemas_uses_its_own(postgres: Server) -> None:
    name = "few"
    postgres.sql(f"CREATE DATABASE {name}", "CREATE ROLE little LOGIN")
    schemas = ("realm", "realm_addresses", "realm_webhooks")
    url = postgres.url(name).replace("realm@", "little@")
    with pytest.raises(LogUnavailableError, match="does not allow this to the user"):
        open_log(url).writer()
    made = [f"CREATE SCHEMA {schema} AUTHORIZATION little" for schema in schemas]
    postgres.sql(*made, database=name)
    log = open_log(url)
    with log.writer() as writer:
        assert writer.append([make_event(1)]).stored == 1
    log.outbox("webhooks").close()


@pytest.mark.parametrize(("encoding", "is_taken"), [("LATIN1", False), ("SQL_ASCII", True)])
def test_a_database_that_cannot_hold_all_texts_is_refused(
    postgres: Server, encoding: str, is_taken: bool
) -> None:
    name = encoding.lower()
    postgres.sql(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    log = open_log(postgres.url(name))
    if not is_taken:
        with pytest.raises(ConfigError, match="--encoding UTF8"):
            log.writer()
        return
    with log.writer() as writer, log.reader() as reader:
        writer.append([make_event(1, message="✅ Grüße")])
        assert reader.now.after(0)[0].event.message == "✅ Grüße"


POOLER = """[databases]
postgres = host=127.0.0.1 port={server} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {directory}/users
pool_mode = {mode}
"""


@pytest.fixture
def pooler(postgres: Server) -> Iterator[Callable[[str], str]]:
    """Starts pgbouncer before the server, with a pool_mode; the URL through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed; on Debian: apt-get install pgbouncer")
    directory = Path(tempfile.mkdtemp(prefix="realm-pooler-"))
    directory.chmod(0o755)
    (directory / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)

        def start(mode: str) -> str:
            port = free_port()
            given = {"server": postgres.port, "port": port, "directory": directory, "mode": mode}
            (directory / "ini").write_text(POOLER.format(**given))
            command = [program, "-q", str(directory / "ini")]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **ordinary_user())
            stack.callback(process.wait)
            stack.callback(process.kill)
            wait_until(lambda: is_listening(port))
            secret = PASSWORD.replace(" ", "%20")
            return f"postgresql://{USER}:{secret}@127.0.0.1:{port}/postgres?schema=pooled_{mode}"

        yield start


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_pooler_that_shares_connections_is_refused(pooler: Callable[[str], str]) -> None:
    with pytest.raises(ConfigError, match="pool_mode = session"):
        open_log(pooler("transaction")).writer()


def test_a_pooler_of_sessions_is_taken(pooler: Callable[[str], str]) -> None:
    log = open_log(pooler("session"))
    with log.writer() as writer, log.reader() as reader, closing(log.watch()):
        writer.append([make_event(1)])
        assert reader.now.max_cursor() == 1
