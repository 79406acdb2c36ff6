"""A service says in its home where it is, as long as it runs."""

import json
import os
from pathlib import Path

import click.testing
import pytest
from realm_exporter_realm_service import RealmServiceExporter

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.cli.checks.service import check_service
from realm_telemetry.cli.group import realm
from realm_telemetry.client import RealmClient
from realm_telemetry.config import DEFAULT_SERVICE_URL, load_settings, located, service_url_of
from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.home import SERVICE, RunningService, ServiceAddress, running_service
from realm_telemetry.plugins import ExporterContext

from .conftest import free_ports, serving

HERE = RunningService("http://127.0.0.1:9", "http://127.0.0.1:10", 7, 8)


@pytest.fixture
def address(tmp_path: Path) -> Path:
    """The file, of a service that runs."""
    return tmp_path / SERVICE


def claim(home: Path) -> ServiceAddress:
    claimed = ServiceAddress.claim(home)
    assert claimed is not None
    claimed.say(HERE)
    return claimed


def found(home: Path) -> str:
    running = running_service(home)
    assert running is not None
    return running.url


def test_it_is_found_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REALM_SERVICE_URL", "REALM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    with serving(free_ports(tmp_path)) as server:
        running = running_service(tmp_path)
        assert running is not None
        assert running.url == server.url
        assert running.pages == f"http://127.0.0.1:{server.ports[-1]}"
        assert running.pid == os.getpid()
        assert (tmp_path / SERVICE).stat().st_mode & 0o777 == 0o600
        with RealmClient() as client:
            assert client.health()["status"] == "ok"
        assert located(load_settings()).service_url == server.url
        given = load_settings({"service_url": "http://127.0.0.1:1"})
        assert located(given).service_url == "http://127.0.0.1:1"
    assert running_service(tmp_path) is None
    assert located(load_settings()).service_url == DEFAULT_SERVICE_URL


def test_the_first_service_of_a_home_is_the_one_that_is_found(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path)) as first:
        with serving(free_ports(tmp_path)):
            assert found(tmp_path) == first.url
        assert found(tmp_path) == first.url


def test_one_that_listens_to_all_is_found_on_loopback(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, host="0.0.0.0", token="t" * 32)) as server:
        assert found(tmp_path) == f"http://127.0.0.1:{server.ports[0]}"


BROKEN = [
    *("{", "[]", '{"url": 7}', "\xff", "[" * 4096, '{"url": "' + "x" * 5000),
    *(
        f'{{"url": "{url}", "pages": "http://127.0.0.1:10", "pid": 7, "pid_namespace": 8}}'
        for url in (
            *("", "ftp://x", "http://", "http://[::1", "http://a\\u0000b", "http://x y"),
            "http://127.0.0.1:99999",
        )
    ),
    '{"url": "http://127.0.0.1:9", "pages": "/", "pid": 7, "pid_namespace": 8}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_address_is_none_and_named_with_the_setting(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REALM_SERVICE_URL", raising=False)
    held = claim(tmp_path)
    assert running_service(tmp_path) == HERE
    (tmp_path / SERVICE).write_text(text, encoding="latin-1")
    assert running_service(tmp_path) is None
    with pytest.raises(ConfigError, match=r"REALM_SERVICE_URL") as raised:
        service_url_of(tmp_path)
    assert raised.value.setting == str(tmp_path / SERVICE)
    settings = load_settings({"home": tmp_path})
    assert located(settings).service_url == DEFAULT_SERVICE_URL
    assert "REALM_SERVICE_URL" in capfd.readouterr().err
    with pytest.raises(ExportError, match="REALM_SERVICE_URL"):
        RealmServiceExporter(
            context=ExporterContext(home=tmp_path, log_path=settings.log_path)
        ).deliver([])
    (said,) = check_service(Subject(settings, 1.0))
    assert (said.level, "REALM_SERVICE_URL" in said.fix) == ("problem", True)
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    for name in ("up", "down"):
        done = click.testing.CliRunner().invoke(realm, [name])
        assert (done.exit_code, done.output.count("REALM_SERVICE_URL")) == (2, 1)
    held.close()
    assert service_url_of(tmp_path) == DEFAULT_SERVICE_URL


def test_a_file_that_is_about_to_be_written_is_none(tmp_path: Path) -> None:
    held = claim(tmp_path)
    (tmp_path / SERVICE).write_text("")
    assert service_url_of(tmp_path) == DEFAULT_SERVICE_URL
    held.close()


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://x:99999", "http://a b", "http://x:port", "http://\0"]
)
def test_an_address_of_the_settings_that_is_none_names_the_setting(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(ConfigError, match="REALM_SERVICE_URL"):
        load_settings(environ={"REALM_HOME": str(tmp_path), "REALM_SERVICE_URL": url})
    (tmp_path / "realm.toml").write_text(f"service_url = {json.dumps(url)}")
    with pytest.raises(ConfigError, match=r"service_url in realm\.toml"):
        load_settings(environ={"REALM_HOME": str(tmp_path)})


def test_a_file_that_nobody_holds_is_none(tmp_path: Path, address: Path) -> None:
    held = claim(tmp_path)
    text = address.read_bytes()
    held.close()
    address.write_bytes(text)
    assert running_service(tmp_path) is None


def test_a_file_that_another_user_may_have_written_is_none(tmp_path: Path, address: Path) -> None:
    held = claim(tmp_path)
    address.chmod(0o620)
    assert running_service(tmp_path) is None
    address.chmod(0o600)
    assert running_service(tmp_path) == HERE
    if os.geteuid() == 0:
        os.chown(address, 12345, -1)
        assert running_service(tmp_path) is None
    held.close()


def test_a_link_a_pipe_and_a_directory_are_none(tmp_path: Path, address: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    held = claim(other)
    address.symlink_to(other / SERVICE)
    assert running_service(tmp_path) is None
    with pytest.raises(OSError, match="symbolic"):
        ServiceAddress.claim(tmp_path)
    address.unlink()
    os.mkfifo(address)
    assert running_service(tmp_path) is None
    address.unlink()
    address.mkdir()
    assert running_service(tmp_path) is None
    held.close()


def test_a_home_that_cannot_be_written_is_served_all_the_same(
    tmp_path: Path, address: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address.mkdir()
    with serving(free_ports(tmp_path)):
        assert "others find it by REALM_SERVICE_URL" in caplog.text.replace("Others", "others")
    assert running_service(tmp_path) is None


def test_a_pipe_in_the_place_of_the_file_does_not_stop_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / SERVICE)
    with serving(free_ports(tmp_path)):
        assert "Others find it by REALM_SERVICE_URL" in caplog.text
    assert (tmp_path / SERVICE).is_fifo()
