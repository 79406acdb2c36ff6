"""Answers are compressed where that is wanted and worth it, and are the same answers."""

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from realm_telemetry.service.compression import (
    _INLINE_BYTES,
    WORTH_PACKING,
    Compression,
    accepts_gzip,
)

from .conftest import post_notes

pytestmark = pytest.mark.anyio

GZIP = {"accept-encoding": "gzip"}
PLAIN = {"accept-encoding": "identity"}


@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        ([], False),
        ([""], False),
        (["gzip"], True),
        (["GZip"], True),
        (["deflate, gzip;q=0.1, br"], True),
        (["deflate", "gzip"], True),
        (["gzip;q=0"], False),
        (["gzip; q=0.000"], False),
        (["gzip ; Q=0"], False),
        (["*"], True),
        (["*;q=0"], False),
        (["gzip;q=0, *"], False),
        (["gzip, *;q=0"], True),
        (["identity, br"], False),
        (["xgzip"], False),
        (["gzip;q=many"], False),
        (["gzip;level=9"], False),
        (["gzip;q=nan"], False),
    ],
)
def test_what_a_client_accepts(values: list[str], accepted: bool) -> None:
    assert accepts_gzip(values) is accepted


PATHS = (
    "/api/battle_log?limit=100",
    "/api/events",
    "/api/state",
    "/api/battle_log/export",
    "/api/battle_log/export?format=csv",
    "/api/battle_log/series?fields=step",
    "/api/receipts",
    "/metrics",
    "/openapi.json",
)


def test_an_answer_is_the_same_compressed_and_not(client: httpx.Client) -> None:
    post_notes(client, 1, 300, details={"text": "words " * 50})
    for path in PATHS:
        plain, packed = (client.get(path, headers=one) for one in (PLAIN, GZIP))
        assert "content-encoding" not in plain.headers, path
        big = len(plain.content) > WORTH_PACKING
        assert packed.headers.get("content-encoding") == ("gzip" if big else None), path
        for answer in (plain, packed):
            assert "accept-encoding" in answer.headers["vary"].lower(), path
        if path not in ("/metrics", "/api/state"):
            assert packed.content == plain.content, path
        if big and "export" not in path:
            assert int(packed.headers["content-length"]) < len(plain.content)


def test_an_error_and_an_answer_that_is_small_stay_as_they_are(client: httpx.Client) -> None:
    for path in ("/health", "/nowhere", "/api/battle_log?limit=none"):
        answer = client.get(path, headers=GZIP)
        assert "content-encoding" not in answer.headers
        assert "accept-encoding" in answer.headers["vary"].lower()


def test_a_head_has_the_headers_of_the_get(client: httpx.Client) -> None:
    post_notes(client, 1, 50)
    path = "/api/battle_log?as_of=50"
    for headers in (GZIP, PLAIN):
        get, head = client.get(path, headers=headers), client.head(path, headers=headers)
        assert head.content == b""
        for name in ("content-encoding", "content-length", "vary", "content-type"):
            assert head.headers.get(name) == get.headers.get(name)


def test_a_stream_of_events_is_not_compressed(client: httpx.Client) -> None:
    for path in ("/api/events/stream", "/api/stream"):
        with client.stream("GET", path, headers=GZIP) as answer:
            assert "content-encoding" not in answer.headers
            assert next(answer.iter_raw()).startswith((b"retry:", b"event: init"))


def test_what_is_compressed_once_is_not_compressed_again(client: httpx.Client) -> None:
    answer = client.get("/openapi.json", headers=GZIP)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["openapi"]


def chunks(count: int, size: int) -> Iterator[bytes]:
    """Pieces that differ."""
    for number in range(count):
        yield (b"%d " % number) * (size // 4)


def answering(response: Any) -> Any:
    """An application that answers everything with what a function makes."""

    async def answer(_request: Request) -> Response:
        return response()  # type: ignore[no-any-return]

    return Starlette(routes=[Route("/", answer)], middleware=[Middleware(Compression)])


async def asked(app: Any, **headers: str) -> httpx.Response:
    """Its answer to a client that accepts gzip."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/", headers=GZIP | headers)


@pytest.mark.parametrize("size", [0, 1, WORTH_PACKING, WORTH_PACKING + 1, _INLINE_BYTES + 1])
async def test_an_answer_over_the_limit_is_compressed(size: int) -> None:
    body = b"x" * size
    answer = await asked(answering(lambda: Response(body, media_type="application/json")))
    assert answer.content == body
    assert ("content-encoding" in answer.headers) is (size > WORTH_PACKING)


@pytest.mark.parametrize("media_type", ["image/png", "application/x-protobuf", "text/event-stream"])
async def test_what_is_no_text_stays_as_it_is(media_type: str) -> None:
    answer = await asked(answering(lambda: Response(b"x" * 5000, media_type=media_type)))
    assert not {"content-encoding", "vary"} & answer.headers.keys()


@pytest.mark.parametrize("status", [204, 206, 304])
async def test_an_answer_without_a_whole_body_stays_as_it_is(status: int) -> None:
    app = answering(lambda: Response(b"x" * 5000, status, media_type="text/plain"))
    assert "content-encoding" not in (await asked(app)).headers


async def test_a_tag_of_the_bytes_becomes_one_of_the_content() -> None:
    for given, sent in (('"a"', 'W/"a"'), ('W/"a"', 'W/"a"')):
        headers = {"etag": given, "vary": "accept"}
        app = answering(lambda: Response(b"x" * 5000, 200, headers, "text/plain"))  # noqa: B023
        answer = await asked(app)
        assert answer.headers["etag"] == sent
        assert answer.headers["vary"] == "accept, accept-encoding"


async def test_an_answer_with_its_own_encoding_keeps_it() -> None:
    headers = {"content-encoding": "gzip"}
    body = gzip.compress(b"x" * 50_000, 0)
    answer = await asked(answering(lambda: Response(body, 200, headers, "text/plain")))
    assert answer.content == b"x" * 50_000


async def test_each_piece_of_a_stream_can_be_read_when_it_was_sent() -> None:
    """Nothing waits in the compressor for more."""
    sent: list[bytes] = []
    read = zlib.decompressobj(31)
    taken = b""

    async def body() -> Any:
        nonlocal taken
        for chunk in chunks(5, 100_000):
            yield chunk
            taken += read.decompress(sent[-1])
            assert taken.endswith(chunk)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = StreamingResponse(body(), media_type="application/x-ndjson")
        await response.stream_response(send)

    headers = [(b"accept-encoding", b"gzip")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    await Compression(app)(scope, receive, send)
    assert taken == b"".join(chunks(5, 100_000))
    read.decompress(sent[-1])
    assert read.eof
