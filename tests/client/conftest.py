"""A small real service: uvicorn over a Starlette app that answers by DESIGN.md's table."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_to_dict

LOG_ID = "ab" * 16


def make_event(number: int, kind: str = "checkpoint_saved") -> Event:
    return Event(
        kind=kind,
        channel="checkpoint",
        severity="success",
        message=f"Checkpoint {number} saved ⚔️",
        details={"step": number},
        time_unix_nano=1_700_000_000_000_000_000 + number,
        producer="c" * 16,
        number=number,
        observed_unix_nano=1_700_000_000_000_000_000 + number,
    )


def shape(number: int) -> dict[str, Any]:
    return event_to_dict(make_event(number), number)


def frame(name: str, data: Any, cursor: int | None = None) -> bytes:
    """A server-sent message."""
    head = "" if cursor is None else f"id: {LOG_ID}-{cursor}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def event_frame(number: int) -> bytes:
    """An event of the tail."""
    return frame("event", shape(number), number)


class SmallService:
    """Holds 25 events; `connections` are the scripted streams: lists of chunks, or answers."""

    def __init__(self) -> None:
        self.url = ""
        self.token: str | None = None
        self.connections: list[list[bytes] | Response] = []
        self.resumed_at: list[str | None] = []
        self.queries: list[str] = []
        self.posted: list[dict[str, Any]] = []

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/api/events", self.events),
                Route("/api/events/stream", self.stream),
                Route("/api/v1/events", self.ingest, methods=["POST"]),
                Route("/api/state", self.state),
                Route("/api/state/{section}", self.state),
                Route("/api/battle_log", self.battle_log),
                Route("/api/receipts", self.receipts),
            ]
        )

    async def health(self, request: Request) -> Response:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            body = {"error": "token_required", "message": "Asks for a token.", "hint": "Send it."}
            return JSONResponse(body, 401)
        return JSONResponse({"status": "ok", "log_id": LOG_ID})

    async def events(self, request: Request) -> Response:
        self.queries.append(str(request.url.query))
        return JSONResponse({"events": [shape(25), shape(24)]})

    async def battle_log(self, request: Request) -> Response:
        self.queries.append(str(request.url.query))
        before = int(request.query_params.get("cursor", "26"))
        limit = int(request.query_params.get("limit", "10"))
        rows = [shape(number) for number in range(before - 1, 0, -1)][:limit]
        headers = {"x-total-count": "25", "x-total-relation": "gte", "x-as-of": "25"}
        if len(rows) == limit:
            # As behind a proxy: the address is one that nobody reaches.
            following = f"http://inside.invalid:1/x?limit={limit}&cursor={rows[-1]['cursor']}"
            headers["link"] = f'<{following}>; rel="next"'
        return JSONResponse(rows, headers=headers)

    async def state(self, request: Request) -> Response:
        section = request.path_params.get("section")
        if section == "nowhere":
            return JSONResponse({"error": "unknown_section", "message": "No.", "hint": "?"}, 404)
        sections = {"training": {"step": 7}}
        return JSONResponse(sections[section] if section else {"state": sections, "cursor": 25})

    async def receipts(self, request: Request) -> Response:
        return JSONResponse({"receipts": [{"producer": "c" * 16, "complete": True}]})

    async def ingest(self, request: Request) -> Response:
        self.posted.append(await request.json())
        return JSONResponse({"accepted": 1, "duplicates": 0, "rejected": []})

    async def stream(self, request: Request) -> Response:
        self.queries.append(str(request.url.query))
        self.resumed_at.append(request.headers.get("last-event-id"))
        script = self.connections.pop(0)
        if isinstance(script, Response):
            return script
        return StreamingResponse(send_all(script), media_type="text/event-stream")


async def send_all(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.fixture(autouse=True)
def a_home_of_its_own(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    monkeypatch.delenv("REALM_SERVICE_URL", raising=False)
    monkeypatch.delenv("REALM_TOKEN", raising=False)


@pytest.fixture
def service() -> Iterator[SmallService]:
    """The service on a free port of loopback, in a thread."""
    small = SmallService()
    config = uvicorn.Config(small.app(), log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        small.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield small
        finally:
            server.should_exit = True
            thread.join(10)
