"""Answers in gzip, for clients that accept it.

What the service answers is text that shrinks to a sixth. Server-sent events stay as they are: each
is small, and a compressor for each stream would cost more memory than the stream. An export is
flushed piece by piece, so that nothing waits in the compressor.
Source: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
"""

import asyncio
import zlib
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realm_telemetry.service.paths import route_path

WORTH_PACKING: Final = 1_000
"""Bytes; below, an answer is one packet anyway."""

STREAM_PATHS: Final = frozenset({"/api/events/stream", "/api/stream"})

_INLINE_BYTES: Final = 64 * 1024
"""Above this, compressing takes longer than the event loop should be kept."""

_LEVEL: Final = 1
"""A third of the time of level 6, for a result that is a tenth larger."""

_GZIP: Final = 31
_TYPES: Final = ("text/", "application/json", "application/x-ndjson")
_WITHOUT_BODY: Final = (204, 206, 304)


def accepts_gzip(values: Iterable[str]) -> bool:
    """Whether Accept-Encoding headers take gzip: by name, or by `*` where it is not named."""
    weights: dict[str, float] = {}
    for part in ",".join(values).split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip().lower()] = _weight(parameters)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if not parameters.strip():
        return 1.0
    try:
        return float(value) if name.strip().lower() == "q" else 0.0
    except ValueError:
        return 0.0


class Compression:
    """Middleware that compresses text of over WORTH_PACKING bytes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or route_path(scope) in STREAM_PATHS:
            await self._app(scope, receive, send)
            return
        accepted = accepts_gzip(Headers(scope=scope).getlist("accept-encoding"))
        await self._app(scope, receive, _Answer(send, accepted=accepted).send)


class _Answer:
    """One answer on its way out; its start is held back until it is known what comes."""

    def __init__(self, send: Send, *, accepted: bool) -> None:
        self._send = send
        self._accepted = accepted
        self._start: Message | None = None
        self._packer: zlib._Compress | None = None

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._start is not None:
            await self._first(self._start, message)
        elif self._packer is not None:
            await self._send(await _packed(self._packer, message))
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(raw=message.setdefault("headers", []))
        if not _may_pack(message["status"], headers):
            await self._send(message)
            return
        headers.add_vary_header("accept-encoding")
        if self._accepted:
            self._start = message
        else:
            await self._send(message)

    async def _first(self, start: Message, message: Message) -> None:
        self._start = None
        is_whole = not message.get("more_body", False)
        if is_whole and len(message.get("body", b"")) <= WORTH_PACKING:
            await self._send(start)
            await self._send(message)
            return
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        message = await _packed(self._packer, message)
        headers = MutableHeaders(raw=start["headers"])
        headers["content-encoding"] = "gzip"
        if is_whole:
            headers["content-length"] = str(len(message["body"]))
        elif "content-length" in headers:
            del headers["content-length"]
        if headers.get("etag", "").startswith('"'):
            # The bytes differ from those that are not compressed, what they say does not.
            headers["etag"] = "W/" + headers["etag"]
        await self._send(start)
        await self._send(message)


def _may_pack(status: int, headers: MutableHeaders) -> bool:
    media_type = headers.get("content-type", "")
    return (
        status not in _WITHOUT_BODY
        and "content-encoding" not in headers
        and media_type.startswith(_TYPES)
        and not media_type.startswith("text/event-stream")
    )


async def _packed(packer: "zlib._Compress", message: Message) -> Message:
    body: bytes = message.get("body", b"")
    flush = zlib.Z_SYNC_FLUSH if message.get("more_body", False) else zlib.Z_FINISH

    def pack() -> bytes:
        return packer.compress(body) + packer.flush(flush)

    data = pack() if len(body) <= _INLINE_BYTES else await asyncio.to_thread(pack)
    return {**message, "body": data}
