"""The token that a home keeps: made once, private, and for services of this host alone."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from realm_telemetry.config import Settings, home_token, load_settings, located, token_for
from realm_telemetry.errors import ConfigError
from realm_telemetry.testing.running_service import running_service
from tests.waiting import wait_until


def load(home: Path, **environ: str) -> Settings:
    """Settings of a home by environment variables."""
    return load_settings(environ={"REALM_HOME": str(home), **environ})


def test_open_access_makes_no_token(tmp_path: Path) -> None:
    assert load(tmp_path / "home").token is None
    assert not (tmp_path / "home").exists()


def test_token_access_makes_one_that_only_its_user_can_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    token = load(home, REALM_ACCESS="token").token
    assert token is not None
    assert len(token) == 64
    assert (home / "token").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in home.iterdir()] == ["token"]
    assert load(home, REALM_ACCESS="token").token == token


def test_realm_toml_says_it_for_every_process(tmp_path: Path) -> None:
    (tmp_path / "realm.toml").write_text('access = "token"\n')
    assert load(tmp_path).token == (tmp_path / "token").read_text().strip()


def test_all_who_start_together_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(home_token, [tmp_path] * 64))) == 1


def test_a_token_that_was_given_counts(tmp_path: Path) -> None:
    assert load(tmp_path, REALM_ACCESS="token", REALM_TOKEN="given-token").token == "given-token"
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://127.0.0.1:9", True),
        ("http://localhost:9", True),
        ("http://[::1]:9", True),
        ("http://127.0.0.1.evil.example", False),
        ("http://lab.example:8866", False),
        ("http://127.0.0.1@evil.example", False),
        ("https://10.0.0.1", False),
    ],
)
def test_a_service_of_another_host_never_sees_it(tmp_path: Path, url: str, sent: bool) -> None:
    token = load(tmp_path, REALM_ACCESS="token", REALM_SERVICE_URL=url).token
    assert (token is not None) is sent


def test_another_address_gets_the_homes_token_only_on_this_host(tmp_path: Path) -> None:
    kept = home_token(tmp_path)
    assert token_for(tmp_path, kept, "http://127.0.0.1:9") == kept
    assert token_for(tmp_path, kept, "http://lab.example") is None
    assert token_for(tmp_path, "given-token", "http://lab.example") == "given-token"
    assert token_for(tmp_path / "empty", "given-token", "http://lab.example") == "given-token"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o644])
def test_a_token_that_others_can_read_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    home_token(tmp_path)
    (tmp_path / "token").chmod(mode)
    with pytest.raises(ConfigError, match="other users") as caught:
        home_token(tmp_path)
    assert f"rm {tmp_path / 'token'}" in caught.value.fix


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "token"
    if kind == "link":
        (tmp_path / "other").write_text("planted-by-another")
        path.symlink_to(tmp_path / "other")
    elif kind == "directory":
        path.mkdir(0o700)
    else:
        os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError):
        home_token(tmp_path)


@pytest.mark.parametrize("value", ["closed", "Token"])
def test_another_word_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="open, token"):
        load(tmp_path, REALM_ACCESS=value)


def test_commands_know_the_token_of_the_service_that_runs_on_their_home(tmp_path: Path) -> None:
    """Also where only the service was told to ask for one."""
    home = tmp_path / "home"
    token = load(home, REALM_ACCESS="token").token
    with running_service(home, token=token) as server:
        wait_until(lambda: located(load(home)).service_url == server.url)
        assert located(load(home)).token == token
        assert located(load(home, REALM_TOKEN="another-token-of-16")).token == "another-token-of-16"
        assert token_for(home, None, "http://127.0.0.1:1") is None
        assert token_for(tmp_path / "other", None, server.url) is None
    assert located(load(home)).token is None
