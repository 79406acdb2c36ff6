"""Streams that do not take their bytes hold up nobody, and are cut off."""

import asyncio
import socket
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.service import RealmServer, ServiceSettings, realm_app, realm_lifespan
from tests.waiting import SOON_S, wait_until

from .conftest import asking, free_ports, post_notes, serving
from .streaming import cursors, stream, take


def open_and_never_read(server: RealmServer) -> socket.socket:
    """Ask for a stream and leave its bytes in the kernel."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", server.ports[0]))
    stalled.sendall(b"GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return stalled


def post_many(client: httpx.Client) -> None:
    for first in range(1, 2001, 100):
        post_notes(client, first, first + 99, details={"text": "x" * 2000})


def test_a_stalled_stream_is_disconnected_not_awaited(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, write_timeout_s=3.0)
    with (
        serving(settings) as server,
        asking(server) as client,
        open_and_never_read(server) as stalled,
        stream(client) as source,
    ):
        next(source)
        with asking(server) as other:
            wait_until(lambda: other.get("/health").json()["sse_clients"] == 2)
            # Read at the same time: this stream is not to be a stalled one as well.
            posting = threading.Thread(target=post_many, args=(other,))
            posting.start()
            assert cursors(take(source, 2000)) == list(range(1, 2001))
            posting.join()
            wait_until(lambda: other.get("/health").json()["sse_clients"] == 1)
            metrics = other.get("/metrics").text
        assert 'realm_sse_drops_total{reason="stalled"} 1' in metrics
        assert stalled.fileno() >= 0


def test_a_stream_that_falls_off_the_ring_gets_a_note_and_all_from_the_log(
    tmp_path: Path,
) -> None:
    settings = free_ports(tmp_path, ring_frames=64)
    with (
        serving(settings) as server,
        asking(server) as client,
        asking(server) as other,
        stream(client) as source,
    ):
        next(source)
        for first in range(1, 3001, 500):
            post_notes(other, first, first + 499, details={"text": "x" * 2000})
        seen = take(source, 1)
        while seen[-1].event != "event" or seen[-1].data["cursor"] != 3000:
            seen += take(source, 1)
    assert cursors(seen) == list(range(1, 3001))
    assert "gap" in {message.event for message in seen}


def test_the_ring_is_empty_while_nobody_listens(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post_notes(client, 1, 50)
        assert 'realm_sse_ring_frames{feed="all"} 0' in client.get("/metrics").text


@pytest.mark.anyio
async def test_in_a_server_that_cannot_abort_a_stalled_stream_is_cancelled(tmp_path: Path) -> None:
    app = realm_app(ServiceSettings.for_home(tmp_path, write_timeout_s=0.3))

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message.get("body"):
            await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/events/stream",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    async with realm_lifespan(app):
        await asyncio.wait_for(app(scope, receive, send), SOON_S)
        assert len(app.state.service.places) == 0
