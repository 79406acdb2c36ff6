"""A home on a network file system: each host works in a home of its own, beside it."""

import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from realm_exporter_realm_service import RealmServiceExporter

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.cli.checks.home import check_shared_home
from realm_telemetry.config import (
    DEFAULT_SERVICE_URL,
    load_settings,
    located,
    service_url_of,
    token_for,
)
from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.home import SERVICE
from realm_telemetry.home import shared as shared_home
from realm_telemetry.home.shared import (
    SharedService,
    addresses,
    is_shared,
    read_service,
    remove_service,
    serves,
    shared_home_of,
    write_service,
)
from realm_telemetry.plugins import ExporterContext
from realm_telemetry.testing.running_service import running_service
from tests.waiting import wait_until

TOKEN = "a-token-of-the-service"
ELSEWHERE = SharedService(["http://10.9.9.9:8866"], "http://10.9.9.9:8888", "head", "0" * 32, TOKEN)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that the table of mounts says is on NFS; those of this host are beside it."""
    home = tmp_path / "shared"
    home.mkdir(mode=0o700)
    table = f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {home} rw - nfs4 nas:/x rw\n"
    monkeypatch.setattr(shared_home, "MOUNT_TABLE", table)
    monkeypatch.setattr(shared_home, "local_roots", lambda _: [tmp_path / "disk"])
    monkeypatch.setenv("REALM_HOME", str(home))
    return home


def write(shared: Path, text: str, mode: int = 0o600) -> None:
    (shared / SERVICE).write_text(text)
    (shared / SERVICE).chmod(mode)


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph"]
)
def test_a_home_on_a_network_is_told_from_a_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(shared_home, "MOUNT_TABLE", f"2 1 0:9 / {tmp_path} rw - {kind} x rw\n")
    assert is_shared(tmp_path / "not" / "there")
    monkeypatch.setattr(shared_home, "MOUNT_TABLE", None)
    assert not is_shared(tmp_path / "not" / "there")


def test_a_host_works_on_its_own_disk_with_the_settings_of_all(shared: Path) -> None:
    (shared / "realm.toml").write_text('service_name = "of all"\n')
    settings = load_settings()
    assert settings.shared_home == shared
    assert settings.home.is_relative_to(shared.parent / "disk")
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert settings.service_name == "of all"
    assert shared_home_of(settings.home) == shared
    # What is started with the home of the host, as a shipper is, finds the same.
    assert load_settings({"home": settings.home}) == settings
    assert [path.name for path in shared.iterdir()] == ["realm.toml"]


def test_without_a_place_on_a_disk_the_home_stays_what_it_is(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = shared.parent / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(shared_home, "local_roots", lambda _: [open_to_all, Path("/proc/x")])
    settings = load_settings()
    assert (settings.home, settings.shared_home) == (shared, None)


def test_the_token_of_all_hosts_is_in_the_shared_home(shared: Path) -> None:
    tokens = {load_settings({"access": "token"}).token for _ in range(2)}
    assert tokens == {(shared / "token").read_text().strip()}


def test_the_address_and_the_token_are_found(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert located(load_settings()).service_url == DEFAULT_SERVICE_URL
    monkeypatch.setattr(shared_home, "CONNECT_S", 0.2)
    write_service(shared, ELSEWHERE)
    assert stat.S_IMODE((shared / SERVICE).stat().st_mode) == 0o600
    settings = located(load_settings())
    assert (settings.service_url, settings.token) == (ELSEWHERE.urls[0], None)
    home = settings.home
    assert token_for(home, None, ELSEWHERE.urls[0], is_checked=True) == TOKEN
    assert token_for(home, "given", ELSEWHERE.urls[0], is_checked=True) == "given"
    assert token_for(home, None, "http://10.9.9.8:1") is None
    with running_service(tmp_path / "elsewhere") as server:
        log_id = httpx.get(f"{server.url}/health").json()["log_id"]
        named = SharedService([server.url], "", os.uname().nodename, log_id, TOKEN)
        write_service(shared, named)
        settings = located(load_settings())
        assert (settings.service_url, settings.token) == (server.url, TOKEN)
        write_service(shared, SharedService([server.url], "", named.host, "1" * 32, TOKEN))
        assert located(load_settings()).token is None, "a stranger's service"
        assert token_for(home, "given", server.url) is None
    write_service(shared, ELSEWHERE)
    given = located(load_settings({"service_url": "http://127.0.0.1:1"}))
    assert (given.service_url, given.token) == ("http://127.0.0.1:1", None)
    remove_service(shared, SharedService(["http://10.9.9.8:1"], "", "other", ""))
    assert read_service(shared) == ELSEWHERE
    remove_service(shared, ELSEWHERE)
    assert read_service(shared) is None


BROKEN = [
    ("", 0o600, "is not what a service writes"),
    ("{", 0o600, "is not what a service writes"),
    ('{"url": "http://x", "pages": "", "pid": 1, "pid_namespace": 2}', 0o600, "is not what"),
    ('{"urls": [], "pages": "", "host": "h", "log_id": ""}', 0o600, "holds no address"),
    ('{"urls": ["ftp://x"], "pages": "", "host": "h", "log_id": ""}', 0o600, "holds no address"),
    ('{"urls": ["http://x"], "pages": "", "host": "h", "log_id": ""}', 0o644, "other users"),
    ('{"urls": ["http://x"], "pages": "", "host": "h", "log_id": ""}', 0o622, "is not followed"),
]


@pytest.mark.parametrize(("text", "mode", "problem"), BROKEN)
def test_a_broken_address_is_reported_and_stops_nothing(
    shared: Path, capsys: pytest.CaptureFixture[str], text: str, mode: int, problem: str
) -> None:
    write(shared, text, mode)
    settings = load_settings()
    with pytest.raises(ConfigError, match=problem) as raised:
        service_url_of(settings.home)
    assert SERVICE in str(raised.value)
    assert located(settings) == settings
    results = list(check_shared_home(Subject(settings, 1.0)))
    assert [result.level for result in results] == ["ok", "problem"]
    exporter = _exporter(settings.home)
    with pytest.raises(ExportError, match=problem) as failed:
        exporter.deliver([])
    assert failed.value.retryable


def test_a_link_is_not_followed(shared: Path) -> None:
    (shared / SERVICE).symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_service(shared)


def test_a_service_on_the_loopback_of_another_host_is_no_address(shared: Path) -> None:
    service = SharedService(["http://127.0.0.1:8866"], "", "head", "")
    write_service(shared, service)
    with pytest.raises(ConfigError, match=r"runs on head and listens on loopback.*--host 0\.0"):
        service_url_of(load_settings().home)
    here = SharedService(service.urls, "", os.uname().nodename, "")
    write_service(shared, here)
    assert service_url_of(load_settings().home) == "http://127.0.0.1:8866"


def test_of_several_addresses_the_first_that_connects_counts(shared: Path, tmp_path: Path) -> None:
    with running_service(tmp_path / "elsewhere") as server:
        urls = ["http://127.0.0.1:1", server.url]
        assert SharedService(urls, "", os.uname().nodename, "").url() == server.url
    assert SharedService(urls, "", os.uname().nodename, "").url() == urls[0]
    assert addresses("http://127.0.0.1:7") == ["http://127.0.0.1:7"]
    found = addresses("http://0.0.0.0:7")
    assert found[0] == f"http://{os.uname().nodename}:7"
    assert not any("127.0." in url for url in found)


def test_a_service_says_where_it_is_and_leaves_the_place_of_another(shared: Path) -> None:
    settings = load_settings()
    with running_service(settings.home, token=TOKEN) as server:
        wait_until(lambda: read_service(shared))
        found = read_service(shared)
        assert found is not None
        assert (found.urls, found.token) == ([server.url], TOKEN)
        assert serves(server.url, found.log_id)
        other = shared.parent / "disk" / "homes" / "other"
        other.mkdir(mode=0o700)
        (other / shared_home.LINK).symlink_to(shared)
        with running_service(other):
            assert read_service(shared) == found
        levels = [result.level for result in check_shared_home(Subject(settings, 1.0))]
        assert levels == ["ok", "ok"]
    assert read_service(shared) is None


def test_an_address_that_another_service_answers_gets_no_events(
    shared: Path, tmp_path: Path
) -> None:
    """As after a copy of the home, or where a port has gone to another service."""
    with running_service(tmp_path / "another") as server:
        named = SharedService([server.url], "", os.uname().nodename, "1" * 32, TOKEN)
        write_service(shared, named)
        settings = load_settings()
        with pytest.raises(ExportError, match=r"serves the log .*REALM_SERVICE_URL") as failed:
            _exporter(settings.home).deliver([])
        assert failed.value.retryable
        last = list(check_shared_home(Subject(settings, 1.0)))[-1]
        assert (last.level, "another log" in last.message) == ("problem", True)


def _exporter(home: Path, **options: Any) -> RealmServiceExporter:
    context = ExporterContext(home=home, log_path=home / "log.db", options=options)
    return RealmServiceExporter(context=context)
