"""The pages as files: what is served, how, and what happens where they are not built."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from realm_telemetry.service.app import realm_app
from realm_telemetry.service.errors import ApiError, on_api_error
from realm_telemetry.service.pages import PAGE_POLICY, BuiltPages
from tests.waiting import wait_until

from .conftest import free_ports, serving


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A directory such as the build makes."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>War Room</title>")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs.html").write_text("<title>Runs</title>")
    (tmp_path / "runs" / "run.html").write_text("<title>Run</title>")
    (tmp_path / "battle-log.html").write_text("<title>Battle Log</title>")
    (tmp_path / "alerts.html").write_text("<title>Alerts</title>")
    (tmp_path / "compare.html").write_text("<title>Compare runs</title>")
    (tmp_path / "service-health.html").write_text("<title>Service health</title>")
    (tmp_path / "event-stream.js").write_text("export {};")
    (tmp_path / "assets" / "app-1.js").write_text("let x = 1;\n" * 500)
    return tmp_path


def ask(pages: BuiltPages, path: str, **headers: str) -> httpx.Response:
    """Ask the files alone, mounted as the service mounts them."""
    app = Starlette(
        routes=[
            Route("/", pages.page),
            Route("/runs", pages.page),
            Route("/battle-log", pages.page),
            Route("/event-stream.js", pages.script),
            Route("/assets/{name}", pages.asset),
        ],
        exception_handlers={ApiError: on_api_error},
    )

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(get())


def test_pages_run_only_scripts_of_the_service(built: Path) -> None:
    """Nothing inside the page, nothing from elsewhere, and never from a cache."""
    for path, title in (("/", "War Room"), ("/runs", "Runs"), ("/battle-log", "Battle Log")):
        answer = ask(BuiltPages(built), path)
        assert title in answer.text
        assert answer.headers["content-security-policy"] == PAGE_POLICY
        assert "unsafe" not in PAGE_POLICY
        assert answer.headers["cache-control"] == "no-store"


def test_assets_are_kept_for_ever_and_packed_where_it_pays(built: Path) -> None:
    """Their names change with their content."""
    answer = ask(BuiltPages(built), "/assets/app-1.js", **{"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "let x = 1;\n" * 500
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    plain = ask(BuiltPages(built), "/assets/app-1.js", **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("path", ["/assets/other.js", "/assets/..%2Findex.html"])
def test_only_files_of_the_build_are_served(built: Path, path: str) -> None:
    """They are looked up by name in memory, so no path leads out."""
    assert ask(BuiltPages(built), path).status_code == 404


def test_without_pages_the_root_says_how_to_build_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the API works all the same."""
    empty = BuiltPages(tmp_path / "nothing")
    assert not empty.built
    monkeypatch.setattr("realm_telemetry.service.app.BuiltPages", lambda *_: empty)
    with serving(free_ports(tmp_path)) as server, httpx.Client(base_url=server.url) as client:
        for accept in ("text/html", "*/*"):
            answer = client.get("/", headers={"accept": accept})
            assert answer.status_code == 200
            assert "make pages" in answer.text
        missing = client.get("/battle-log")
        assert missing.status_code == 404
        assert "make pages" in missing.json()["message"]
        assert client.get("/api/events").json() == {"events": []}


def test_a_browser_gets_the_war_room_and_a_terminal_gets_text(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what they accept; /api says what is served either way."""
    pages: Any = BuiltPages(built)
    monkeypatch.setattr("realm_telemetry.service.app.BuiltPages", lambda *_: pages)
    assert realm_app(free_ports(tmp_path)) is not None
    with serving(free_ports(tmp_path)) as server, httpx.Client(base_url=server.url) as client:
        assert "War Room" in client.get("/", headers={"accept": "text/html"}).text
        assert "/api/battle_log" in client.get("/", headers={"accept": "*/*"}).text
        assert "/api/battle_log" in client.get("/api", headers={"accept": "text/html"}).text


def test_the_page_of_a_run_has_the_status_of_the_run(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same page for a run that there is and for one that there is not, slashes and all."""
    pages: Any = BuiltPages(built)
    monkeypatch.setattr("realm_telemetry.service.app.BuiltPages", lambda *_: pages)
    with serving(free_ports(tmp_path)) as server, httpx.Client(base_url=server.url) as client:
        step = {"kind": "training_step", "run_id": "team/r 1", "details": {"step": 1, "loss": 2}}
        client.post("/api/v1/events", json={"events": [step]}).raise_for_status()
        wait_until(lambda: client.get("/api/runs").json().get("runs"))
        for path, status in (("/runs/team%2Fr%201", 200), ("/runs/other", 404), ("/runs/a/b", 404)):
            answer = client.get(path)
            assert answer.status_code == status
            assert ("<title>Run</title>" in answer.text) is (path != "/runs/a/b")


def test_after_the_log_in_a_browser_is_at_the_run_that_it_asked_for(tmp_path: Path) -> None:
    """Its id is still encoded in the address to come back to."""
    settings = free_ports(tmp_path, token="secret-of-the-service")
    with serving(settings) as server, httpx.Client(base_url=server.url) as client:
        asked = client.get("/runs/team%2Fr%201?x=1", headers={"accept": "text/html"})
        assert asked.headers["location"] == "/login?next=/runs/team%252Fr%25201%3Fx%3D1"
        form = {"token": "secret-of-the-service", "next": "/runs/team%2Fr%201?x=1"}
        back = client.post("/login", data=form)
        assert back.headers["location"] == "/runs/team%2Fr%201?x=1"
