"""`realm serve`: addresses, tokens, Ctrl-C."""

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result

from .conftest import Running, serve

Invoke = Callable[..., Result]
Start = Callable[..., Running]


def test_the_banner_names_three_addresses_that_answer(filled: Path, start: Start) -> None:
    _, running = serve(start)
    urls = [word for word in running.output.split() if word.startswith("http://")]
    assert len(urls) == 3
    for url in urls:
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
        assert httpx.get(f"{url}/api/events").json()["events"][0]["kind"] == "job_failed"


def test_ctrl_c_ends_it_cleanly(home: Path, start: Start) -> None:
    _, running = serve(start)
    assert running.interrupt() == 0
    assert "Traceback" not in running.output


def test_sigterm_ends_it_cleanly_though_a_stream_is_open(filled: Path, start: Start) -> None:
    url, running = serve(start)
    tail = start("tail", "-f", "--url", url)
    tail.wait_for("job_failed")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0


def test_a_busy_port_is_reported_and_the_rest_is_served(home: Path, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = start("serve", "--port", str(port), "--battle-log-port", "0", "--ui-port", "0")
        running.wait_for("  log  ")
    assert f"port {port} is busy: pid" in running.output
    assert running.output.count("http://") == 2


def test_all_ports_busy_is_an_error(home: Path, invoke: Invoke) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = ("--port", port, "--battle-log-port", port, "--ui-port", port)
        result = invoke("serve", *ports)
    assert result.exit_code == 2
    assert "no port is free" in result.stderr


def test_another_host_needs_a_token(home: Path, invoke: Invoke) -> None:
    result = invoke("serve", "--host", "0.0.0.0", "--port", "0")
    assert result.exit_code == 2
    assert "REALM_TOKEN" in result.stderr


def test_a_token_file_locks_the_service(
    filled: Path, tmp_path: Path, start: Start, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("open-sesame\n")
    ports = ("--port", "0", "--battle-log-port", "0", "--ui-port", "0")
    running = start("serve", "--token-file", str(tmp_path / "token"), *ports)
    running.wait_for("  log  ")
    url = next(word for word in running.output.split() if word.startswith("http://"))
    refused = invoke("query", "--url", url)
    assert refused.exit_code == 1
    assert "REALM_TOKEN" in refused.stderr or "token" in refused.stderr
    monkeypatch.setenv("REALM_SERVICE_URL", url)
    assert "✗ service" in invoke("doctor", "--no-round-trip").stdout
    monkeypatch.setenv("REALM_TOKEN", "open-sesame")
    assert "✓ service" in invoke("doctor", "--no-round-trip").stdout
    assert invoke("query", "--url", url).exit_code == 0
    assert "open-sesame" not in running.output


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_token_file_that_is_none_is_refused(
    content: bytes | None, tmp_path: Path, invoke: Invoke
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    result = invoke("serve", "--token-file", str(tmp_path / "token"))
    assert result.exit_code == 2
    assert result.stderr.startswith("realm: --token-file: ")


def test_token_access_needs_no_word_of_the_token(
    home: Path, start: Start, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command of the home has it, a browser comes by a link, and all others are refused."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "realm.toml").write_text('access = "token"\n')
    running = start("serve", "--port", "0", "--battle-log-port", "0", "--ui-port", "0")
    running.wait_for("realm login")
    url, *_, link = [word for word in running.output.split() if word.startswith("http://")]
    token = (home / "token").read_text().strip()
    assert token not in running.output
    monkeypatch.setenv("REALM_SERVICE_URL", url)
    assert invoke("emit", "note", "Heard", "--wait").exit_code == 0
    assert "Heard" in invoke("query", "--url", url).output
    assert "✓ service" in invoke("doctor", "--no-round-trip").stdout
    assert httpx.get(f"{url}/api/events").status_code == 401
    assert json.loads(invoke("login", "--json").output)["url"].startswith(f"{url}/login?ticket=")
    with httpx.Client() as browser:
        for fresh in (link, invoke("login").output.strip()):
            assert browser.get(fresh).status_code == 200
            assert browser.get(f"{url}/api/events").status_code == 200
            browser.cookies.clear()


def test_without_a_token_the_link_is_that_of_the_pages(home: Path, invoke: Invoke) -> None:
    result = invoke("login")
    assert result.exit_code == 0
    assert result.stdout.startswith("http://127.0.0.1:")
    assert result.stdout.endswith("/\n")
    assert "No token is set" in result.stderr
