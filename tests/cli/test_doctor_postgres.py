"""`realm doctor` over a log in PostgreSQL: standbys, old servers, and what cannot be reached."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.cli.checks.service_log import check_service_log
from realm_telemetry.config import Settings
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.postgres import connection, standing
from realm_telemetry.shipper.findings import CheckResult
from tests.ports import free_port
from tests.postgres_server import PASSWORD, Server
from tests.waiting import wait_until

pytestmark = pytest.mark.processes


class Standby(Server):
    """A server that follows another one, under a name of its own."""

    def __init__(self, primary: Server, name: str) -> None:
        super().__init__(
            primary_conninfo=f"host={primary.directory} port={primary.port} user=realm"
            f" application_name={name}",
            hot_standby="on",
        )
        self._primary = primary

    def __enter__(self) -> "Standby":
        primary = self._primary
        program = str((self._bin / "postgres").resolve().with_name("pg_basebackup"))
        source = ["-h", str(primary.directory), "-p", str(primary.port), "-U", "realm"]
        self.run([program, *source, "-D", str(self.data), "-X", "stream", "-c", "fast"])
        marker = self.data / "standby.signal"
        marker.touch()
        shutil.chown(marker, **{k: v for k, v in self._as.items() if k in ("user", "group")})
        self.start()
        return self


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """One server with a log."""
    with Server(wal_level="replica", max_wal_senders="4", fsync="on") as server:
        open_log(server.url()).writer().close()
        yield server


def look(
    monkeypatch: pytest.MonkeyPatch, home: Path, url: str | None
) -> list[tuple[str, str, str]]:
    """What the check says: level, message, what to do."""
    monkeypatch.delenv("REALM_LOG_URL", raising=False)
    service = {} if url is None else {"log_url": url}
    found: list[CheckResult] = list(
        check_service_log(Subject(Settings(home=home, service=service), 5.0))
    )
    assert all(each.check == "service log" for each in found)
    assert not any(PASSWORD.split()[1] in each.message + each.fix for each in found)
    return [(each.level, each.message, each.fix) for each in found]


def test_a_server_alone_is_well(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((level, message, _),) = look(monkeypatch, tmp_path, postgres.url())
    assert level == "ok"
    assert "no synchronous standby" in message
    assert look(monkeypatch, tmp_path, None) == []
    ((level, message, fix),) = look(monkeypatch, tmp_path, postgres.url(schema="none"))
    assert (level, "no log" in message, "realm log init" in fix) == ("warning", True, True)


def test_an_asynchronous_standby_is_warned_of_until_it_is_synchronous(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Standby(postgres, "db2") as standby:
        wait_until(lambda: len(look(monkeypatch, tmp_path, postgres.url())) == 2)
        _, (level, message, fix) = look(monkeypatch, tmp_path, postgres.url())
        assert level == "warning"
        assert "db2 is asynchronous" in message
        assert "FIRST 1 (db2)" in fix
        monkeypatch.setattr(standing, "MAX_LAG_BYTES", -1)
        assert "lags behind" in look(monkeypatch, tmp_path, postgres.url())[2][1]
        monkeypatch.setattr(standing, "MAX_LAG_BYTES", 2**40)
        _, (level, message, fix) = look(monkeypatch, tmp_path, standby.url())
        assert (level, "is a standby" in message) == ("problem", True)
        assert "target_session_attrs" in fix
        _set(postgres, "FIRST 1 (db2)")
        wait_until(lambda: len(look(monkeypatch, tmp_path, postgres.url())) == 1)
        assert "here and at a standby" in look(monkeypatch, tmp_path, postgres.url())[0][1]
    wait_until(
        lambda: "no synchronous standby is" in look(monkeypatch, tmp_path, postgres.url())[-1][1]
    )
    _set(postgres, "")


def _set(postgres: Server, names: str) -> None:
    postgres.sql(
        f"ALTER SYSTEM SET synchronous_standby_names = '{names}'", "SELECT pg_reload_conf()"
    )


def test_commits_that_are_not_on_disk_and_standbys_that_are_not_seen(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.url(options="-csynchronous_commit%3Doff")
    assert "synchronous_commit = off" in look(monkeypatch, tmp_path, url)[1][1]
    postgres.sql(
        "CREATE USER guest",
        "GRANT USAGE ON SCHEMA realm TO guest",
        "GRANT SELECT ON ALL TABLES IN SCHEMA realm TO guest",
    )
    url = postgres.url().replace("realm@", "guest@")
    assert "may not see" in look(monkeypatch, tmp_path, url)[1][1]


def test_what_cannot_be_reached_names_the_setting(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = PASSWORD.replace(" ", "%20")
    away = f"postgresql://realm:{secret}@127.0.0.1:{free_port()}/realm"
    places = {
        away: "cannot be used",
        postgres.tcp_url("nowhere", secret): "no such database",
        postgres.tcp_url(password="wrong"): "refuses the password",
        "mysql://db/realm": "no engine",
        "postgresql://db/realm?nonsense=1": "no URL of PostgreSQL",
    }
    for url, expected in places.items():
        ((level, message, _),) = look(monkeypatch, tmp_path, url)
        assert level == "problem"
        assert expected in message
        assert message.startswith("[service] log_url: ")
    monkeypatch.setenv("REALM_LOG_URL", away)
    (found,) = check_service_log(Subject(Settings(home=tmp_path), 5.0))
    assert found.message.startswith("REALM_LOG_URL: ")


def test_an_old_server_and_a_missing_extra(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(connection, "OLDEST_SERVER", 990_000)
        ((level, message, fix),) = look(patched, tmp_path, postgres.url())
        assert (level, "too old" in message, fix) == ("problem", True, "Use 99 or newer")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    ((level, message, fix),) = look(monkeypatch, tmp_path, postgres.url())
    assert level == "problem"
    assert "psycopg" in message
    assert "realm-telemetry[postgres]" in fix


def test_a_log_that_was_moved_is_remarked_on(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realm_telemetry.transfer.log_move import move_log

    open_log(tmp_path / "vault" / "jobs.db", home=tmp_path).writer().close()
    move_log(Settings(home=tmp_path), postgres.url(schema="moved"), lambda *_: None)
    ((level, message, fix),) = look(monkeypatch, tmp_path, None)
    assert (level, "was moved to" in message, "REALM_LOG_URL" in fix) == ("warning", True, True)
