"""What the server's errors say to a person, and what they never say."""

import sys
from collections.abc import Callable

import pytest

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.postgres.connection import Place
from tests.ports import free_port
from tests.postgres_server import PASSWORD, Server

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
