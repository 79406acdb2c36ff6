"""Reading a request body within its limits, compressed or not."""

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import zstandard
from starlette.requests import ClientDisconnect, Request

from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.settings import MIB, ServiceSettings

_ZSTD_WINDOW: Final = 8 * MIB
"""A frame may ask its reader for a window of gigabytes; encoders use no more by default."""

_ZSTD_PIECE: Final = 256
"""Bytes fed at once: 4 bytes of zstd can mean 128 KiB, so a piece yields 8 MiB at most."""


class BodyBudget:
    """The bytes of all bodies in memory, from their first chunk to their answer.

    Bounded; when it is full, further bytes raise ingest_full. One body alone always fits: its
    own limit bounds it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.used = 0

    @contextmanager
    def share(self) -> Iterator["BodyShare"]:
        """One body's part, given back at the end."""
        share = BodyShare(self)
        try:
            yield share
        finally:
            self.used -= share.size

    def take(self, size: int, *, alone: int) -> None:
        """Count bytes of a body that has `alone` already."""
        if self.used > alone and self.used + size > self._max_bytes:
            raise ApiError("ingest_full")
        self.used += size


class BodyShare:
    """What one body has of the budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.size = 0

    def grow(self, size: int) -> None:
        """Count more bytes; raises ApiError ingest_full."""
        self._budget.take(size, alone=self.size)
        self.size += size


async def read_body(request: Request, settings: ServiceSettings, share: BodyShare) -> bytes:
    """Read a whole body as it was sent, up to the limit its encoding has.

    Raises ApiError: body_too_large, body_timeout, ingest_full, unsupported_encoding.
    """
    encoding = content_encoding(request)
    limit = settings.max_body_bytes if encoding == "identity" else settings.max_compressed_bytes
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            return await _collect(request, limit, share)
    except TimeoutError:
        raise ApiError("body_timeout") from None
    except ClientDisconnect:
        raise ApiError("body_timeout", "The client left before its body was whole.") from None


async def _collect(request: Request, limit: int, share: BodyShare) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
        share.grow(len(chunk))
    return bytes(body)


def content_encoding(request: Request) -> str:
    """The one Content-Encoding of a request, `identity` if it names none."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity" and encoding not in _INFLATERS:
        raise ApiError("unsupported_encoding")
    return encoding


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress a body; a bomb is noticed while it inflates, not after.

    Raises ApiError: body_too_large, malformed_compression.
    """
    if encoding == "identity":
        return body
    out = bytearray()
    try:
        for piece in _INFLATERS[encoding](body):
            out += piece
            if len(out) > max_bytes:
                raise _too_large(max_bytes)
    except (zlib.error, zstandard.ZstdError) as error:
        raise ApiError("malformed_compression", f"The body does not decompress: {error}") from None
    return bytes(out)


def _gunzip(body: bytes) -> Iterator[bytes]:
    while body:
        member = zlib.decompressobj(wbits=31)
        while body and not member.eof:
            yield member.decompress(body, MIB)
            body = member.unconsumed_tail
        # What is left inside the window once all input is taken.
        while not member.eof and (rest := member.decompress(b"", MIB)):
            yield rest
        if not member.eof:
            raise ApiError("malformed_compression", "The gzip stream ends too early.")
        body = member.unused_data


def _unzstd(body: bytes) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    for start in range(0, len(body), _ZSTD_PIECE):
        if frame.eof:
            raise ApiError("malformed_compression", "Bytes follow the end of the zstd frame.")
        yield frame.decompress(body[start : start + _ZSTD_PIECE])
    if frame.unused_data:
        raise ApiError("malformed_compression", "Bytes follow the end of the zstd frame.")
    if body and not frame.eof:
        raise ApiError("malformed_compression", "The zstd frame ends too early.")


_INFLATERS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gunzip,
    "zstd": _unzstd,
}


def _too_large(limit: int) -> ApiError:
    return ApiError("body_too_large", f"The body is over the limit of {limit:,} bytes.")
