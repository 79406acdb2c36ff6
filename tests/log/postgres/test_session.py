"""What a session holds to, whatever the server, the user or somebody else's psql have set."""

import time
from collections.abc import Callable
from urllib.parse import quote

import psycopg
import pytest

from realm_telemetry.log.engine import open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.postgres import connection
from realm_telemetry.log.postgres.connection import Place, Session
from tests.postgres_server import Server

from .conftest import make_event

pytestmark = pytest.mark.processes

Url = Callable[..., str]
OF_THE_USER = {
    "statement_timeout": "1",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "default_transaction_isolation": "serializable",
    "search_path": "pg_catalog",
    "client_encoding": "SQL_ASCII",
    "jit": "on",
}


def with_settings(url: Url, **settings: str) -> str:
    given = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return url(options=quote(given))


def test_settings_of_the_user_hold_nothing_up(url: Url) -> None:
    log = open_log(with_settings(url, **OF_THE_USER))
    with log.writer() as writer, log.reader() as reader:
        stored = writer.append([make_event(number, message="Grüße") for number in range(1, 300)])
        with reader.snapshot() as snapshot:
            time.sleep(0.05)
            assert snapshot.max_cursor() == stored.last_cursor
            assert snapshot.after(0, 1)[0].event.message == "Grüße"


def test_a_user_who_may_only_read_by_default_is_named(url: Url) -> None:
    open_log(url()).writer().close()
    log = open_log(with_settings(url, default_transaction_read_only="on"))
    with (
        pytest.raises(LogUnavailableError, match="default_transaction_read_only"),
        log.writer() as writer,
    ):
        writer.probe()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are waited for, and transactions may be idle, for less than a second."""
    monkeypatch.setattr(connection, "ANSWER_S", 0.4)
    monkeypatch.setattr(connection, "IDLE_S", 1)


@pytest.mark.usefixtures("short")
def test_a_lock_of_somebody_else_is_an_error_that_says_so(url: Url) -> None:
    log = open_log(url(log_retry_s="0.5"))
    with log.writer() as writer, log.reader() as reader:
        stored = writer.append([make_event(1)])
        schema = Place.parse(url()).schema
        with psycopg.connect(Place.parse(url()).conninfo) as other:
            other.execute(f'LOCK TABLE "{schema}".events IN ACCESS EXCLUSIVE MODE')
            began_s = time.monotonic()
            for ask in (lambda: reader.now.after(0), lambda: writer.append([make_event(2)])):
                with pytest.raises(LogUnavailableError, match="another program has locked it"):
                    ask()
            assert time.monotonic() - began_s < 5
            other.rollback()
        assert [row.cursor for row in reader.now.after(0)] == [stored.first_cursor]
        assert writer.append([make_event(2)]).stored == 1


@pytest.mark.usefixtures("short")
def test_a_process_that_is_stopped_in_a_transaction_holds_up_no_other(url: Url) -> None:
    log = open_log(url())
    with log.writer() as writer:
        stopped = Session(Place.parse(url()))
        stopped.begin("BEGIN")
        stopped.execute("SELECT cursor FROM realm_head FOR UPDATE")
        assert writer.append([make_event(1)]).stored == 1
        stopped.close()


def test_connections_at_rest_that_an_administrator_ends_cost_no_answer(
    postgres: Server, url: Url
) -> None:
    log = open_log(url())
    kill = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE application_name = 'realm_telemetry'"
    )
    with log.writer() as writer, log.reader() as reader:
        for number in range(1, 4):
            postgres.sql(kill)
            writer.probe()  # which is not tried again by itself
            postgres.sql(kill)
            assert writer.append([make_event(number)]).stored == 1
            postgres.sql(kill)
            assert reader.now.max_cursor() == number
