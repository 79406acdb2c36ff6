"""Every error of the catalogue is produced here, and documented."""

import socket
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service import ServiceSettings, core, realm_app
from realm_telemetry.service.errors import CATALOGUE, ApiError, on_unexpected
from realm_telemetry.wire import CONTENT_TYPE
from tests.waiting import wait_until

from .conftest import HEAVY, asking, free_ports, heavy, make_event, post_notes, serving
from .streaming import stream

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "http-api.md"

EVENTS: Final = "/api/v1/events"
PROTOBUF: Final = {"content-type": CONTENT_TYPE}

Ask = Callable[[httpx.Client], httpx.Response]

SIMPLE: Final[dict[str, Ask]] = {
    "invalid_parameter": lambda client: client.get("/api/battle_log?limit=none"),
    "invalid_event_id": lambda client: client.get("/api/battle_log/nonsense"),
    "malformed_json": lambda client: client.post(EVENTS, json=[1]),
    "malformed_protobuf": lambda client: client.post(EVENTS, content=b"\xff", headers=PROTOBUF),
    "malformed_compression": lambda client: client.post(
        EVENTS, content=b"x", headers=PROTOBUF | {"content-encoding": "gzip"}
    ),
    "host_not_allowed": lambda client: client.get("/health", headers={"host": "evil.example"}),
    "origin_not_allowed": lambda client: client.post(
        EVENTS, json={"events": []}, headers={"origin": "http://evil.example"}
    ),
    "not_found": lambda client: client.get("/nowhere"),
    "unknown_section": lambda client: client.get("/api/state/nowhere"),
    "invalid_event": lambda client: client.post("/api/event", json={"message": "no kind"}),
    "unknown_worker": lambda client: client.get("/api/workers/nobody"),
    "run_not_found": lambda client: client.get("/api/runs/nobody"),
    "output_not_found": lambda client: _run_without_output(client),
    "event_not_found": lambda client: client.get("/api/battle_log/99"),
    "method_not_allowed": lambda client: client.put("/health"),
    "headers_too_large": lambda client: client.get("/health", headers={"x": "y" * 70_000}),
    "too_many_alerts": lambda client: [
        client.post("/api/alerts", json={"redeliver": 9}) for _ in range(21)
    ][-1],
    "unsupported_media_type": lambda client: client.post(EVENTS, content=b"x"),
    "unsupported_encoding": lambda client: client.post(
        EVENTS, content=b"x", headers=PROTOBUF | {"content-encoding": "br"}
    ),
}


def _run_without_output(client: httpx.Client) -> httpx.Response:
    post_notes(client, 1, 1, kind="training_step", channel="training", run_id="r1")
    wait_until(lambda: client.get("/api/runs/r1").status_code == 200)
    return client.get("/api/runs/r1/output")


LIMITED: Final[dict[str, tuple[dict[str, Any], Ask]]] = {
    "token_required": ({"token": "secret-token"}, lambda client: client.get("/api/events")),
    "token_wrong": (
        {"token": "secret-token"},
        lambda client: client.get("/api/events", headers={"authorization": "Bearer no"}),
    ),
    "too_many_attempts": (
        {"token": "secret-token", "login_attempts": 1},
        lambda client: [
            client.get("/api/events", headers={"authorization": "Bearer no"}) for _ in range(2)
        ][1],
    ),
    "body_too_large": (
        {"max_body_bytes": 10},
        lambda client: client.post(EVENTS, json={"events": []}),
    ),
    "too_many_events": (
        {"max_batch_events": 1},
        lambda client: client.post(EVENTS, json={"events": [{"kind": "note"}] * 2}),
    ),
    "too_many_values": (
        {"max_body_values": 5},
        lambda client: client.post(EVENTS, json={"events": [{"kind": "note"}] * 5}),
    ),
    "too_many_connections": ({"max_connections": 0}, lambda client: client.get("/health")),
    "too_many_clients": (
        {"max_stream_clients": 0},
        lambda client: client.get("/api/events/stream"),
    ),
}


def check(code: str, response: httpx.Response) -> None:
    """The answer is that of the catalogue."""
    assert response.status_code == CATALOGUE[code].status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["error"] == code
    assert body["message"]
    assert body["hint"]


@pytest.mark.parametrize("code", SIMPLE)
def test_errors_of_a_default_service(client: httpx.Client, code: str) -> None:
    check(code, SIMPLE[code](client))


@pytest.mark.parametrize("code", LIMITED)
def test_errors_of_limits(tmp_path: Path, code: str) -> None:
    options, ask = LIMITED[code]
    with serving(free_ports(tmp_path, **options)) as server, asking(server) as client:
        check(code, ask(client))


def test_body_timeout(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, body_timeout_s=0.2)) as server:
        head = b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        with socket.create_connection(("127.0.0.1", server.ports[0])) as slow:
            slow.sendall(head + b"Content-Type: application/json\r\n\r\n{")
            answer = b""
            while b'"hint"' not in answer and (data := slow.recv(65536)):
                answer += data
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"body_timeout"' in answer


def test_ingest_full(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, ingest_queue_events=3)
    with serving(settings) as server, asking(server) as client:
        blocker = sqlite3.connect(settings.log_path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        futures = _post_at_once(server.url, 6)
        # What is refused is answered at once; what is taken waits for the lock.
        wait_until(lambda: any(future.done() for future in futures))
        blocker.execute("COMMIT")
        blocker.close()
        answers = [future.result() for future in futures]
        full = [answer for answer in answers if answer.status_code == 429]
        check("ingest_full", full[0])
        assert full[0].headers["retry-after"] == "1"
        stored = client.get("/api/battle_log").json()
    assert len(stored) == 2 * (6 - len(full))


def _post_at_once(url: str, count: int) -> list[Future[httpx.Response]]:
    """Post batches of two from threads."""
    body = {"events": [{"kind": "note"}] * 2}
    executor = ThreadPoolExecutor(count)
    futures = [
        executor.submit(httpx.post, url + EVENTS, json=body, timeout=60) for _ in range(count)
    ]
    executor.shutdown(wait=False)
    return futures


def test_log_unavailable(tmp_path: Path) -> None:
    settings = free_ports(tmp_path)
    with serving(settings) as server, asking(server) as client:
        post_notes(client, 1, 1)
        with closing(sqlite3.connect(settings.log_path, isolation_level=None)) as connection:
            connection.execute("ALTER TABLE battle_log RENAME TO moved")
        check("log_unavailable", client.get("/api/battle_log"))
        check("log_unavailable", client.post(EVENTS, json={"events": [{"kind": "note"}]}))
        with closing(sqlite3.connect(settings.log_path, isolation_level=None)) as connection:
            connection.execute("ALTER TABLE moved RENAME TO battle_log")
        connection.close()


def test_query_timeout(tmp_path: Path) -> None:
    with heavy(tmp_path, query_timeout_s=0.06) as server, asking(server) as client:
        response = client.get(HEAVY)
        check("query_timeout", response)
        assert response.headers["retry-after"] == "5"


@pytest.mark.anyio
async def test_internal_error_shows_nothing_of_its_cause() -> None:
    async def fail(_request: Request) -> Response:
        raise RuntimeError("a secret")

    app = Starlette(routes=[Route("/", fail)], exception_handlers={Exception: on_unexpected})
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        response = await client.get("/")
    check("internal_error", response)
    assert "secret" not in response.text


@pytest.mark.anyio
async def test_not_started(tmp_path: Path) -> None:
    app = realm_app(ServiceSettings.for_home(tmp_path))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        check("not_started", await client.get("/health"))


@pytest.mark.anyio
async def test_not_ready_and_shutting_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_FOLDED_WITHIN_S", 0.0)
    settings = ServiceSettings.for_home(tmp_path)
    with LogWriter(settings.log_path) as writer:
        for first in range(0, 20_000, 1000):
            writer.append([make_event(first + one) for one in range(1, 1001)])
    app = realm_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        # The fold of so many events takes longer than the way to this line.
        check("not_ready", await client.get("/ready"))
        app.state.service.end_streams()
        check("shutting_down", await client.get("/api/events/stream"))


def test_every_error_is_produced_by_a_test() -> None:
    source = Path(__file__).read_text()
    produced = SIMPLE.keys() | LIMITED.keys()
    assert {
        code for code in CATALOGUE if code not in produced and f'"{code}"' not in source
    } == set()


def table(section: str) -> list[list[str]]:
    """The rows of a section of the document that begin with a name in code."""
    text = DOCUMENT.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `"))
    return [[cell.strip("` ") for cell in row] for row in rows]


def test_the_document_has_every_setting() -> None:
    documented = {
        name.strip("` ") for row in table("Settings and limits") for name in row[0].split(",")
    }
    secret = {"log_path", "search_path", "state_path", "token"}
    assert documented == set(ServiceSettings.__struct_fields__) - secret


def test_the_document_has_every_error_with_its_status() -> None:
    documented = {(cells[0], cells[1]) for cells in table("Errors")}
    assert documented == {(code, str(entry.status)) for code, entry in CATALOGUE.items()}


def test_an_error_keeps_lone_surrogates_from_breaking_the_answer() -> None:
    assert ApiError("not_found", "\ud800").response().status_code == 404


def test_a_refused_stream_is_counted(tmp_path: Path) -> None:
    with (
        serving(free_ports(tmp_path, max_stream_clients=1)) as server,
        asking(server) as client,
        asking(server) as other,
        stream(client) as source,
    ):
        next(source)
        assert other.get("/api/events/stream").status_code == 503
        assert 'reason="refused"} 1' in other.get("/metrics").text


def test_error_answers_are_counted_by_code_wherever_they_are_made(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, token="secret-token")) as server, asking(server) as stranger:
        check("token_required", stranger.get("/api/events"))
        check("host_not_allowed", stranger.get("/health", headers={"host": "evil.example"}))
        with asking(server, headers={"authorization": "Bearer secret-token"}) as client:
            check("not_found", client.get("/nowhere"))
            for _ in range(2):
                check("invalid_parameter", client.get("/api/battle_log?limit=none"))
            lines = client.get("/metrics").text.splitlines()
    counted = {line for line in lines if line.startswith("realm_http_errors_total{")}
    assert len(counted) == len(CATALOGUE)
    assert {line for line in counted if not line.endswith("} 0")} == {
        'realm_http_errors_total{error="token_required"} 1',
        'realm_http_errors_total{error="host_not_allowed"} 1',
        'realm_http_errors_total{error="not_found"} 1',
        'realm_http_errors_total{error="invalid_parameter"} 2',
    }
