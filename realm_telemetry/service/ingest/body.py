"""Reading a request body within its limits, compressed or not, and its cost before it is paid.

A small body can cost much: it may inflate a thousandfold, and two bytes of JSON make a Python
object of fifty. So bytes are counted while they inflate, and values before anything is built of
them.
"""

import asyncio
import re
import threading
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


MAX_GZIP_MEMBERS: Final = 100
"""Each costs its own start; what sends a body makes one, and tools that split files a few."""

_GZIP_PIECE: Final = 64 * 1024
"""Bytes fed at once: what a member leaves over is copied, so it must not be the whole body."""

_COUNT_PIECE: Final = MIB // 4
"""Bytes counted at once: the event loop waits while a piece is counted."""

_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b'",[{'))
_STRINGS: Final = re.compile(rb'"[^"]*"')


class BodyBudget:
    """The bytes of all bodies in memory, from their first chunk to their answer, inflated ones too.

    Bounded; when it is full, further bytes raise ingest_full. One body alone always fits: its
    own limit bounds it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # Bodies arrive on the event loop and inflate in threads.
        self._lock = threading.Lock()
        self.used = 0

    @contextmanager
    def share(self) -> Iterator["BodyShare"]:
        """One body's part, given back at the end."""
        share = BodyShare(self)
        try:
            yield share
        finally:
            with self._lock:
                self.used -= share.size

    def take(self, size: int, *, alone: int) -> None:
        """Count bytes of a body that has `alone` already."""
        with self._lock:
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


async def read_body(
    request: Request, settings: ServiceSettings, share: BodyShare, *, most: int | None = None
) -> bytes:
    """Read a whole body as it was sent, up to the limit its encoding has.

    most: bytes that the path takes, where that is less.
    Raises ApiError: body_too_large, body_timeout, ingest_full, unsupported_encoding.
    """
    encoding = content_encoding(request)
    limit = settings.max_body_bytes if encoding == "identity" else settings.max_compressed_bytes
    limit = limit if most is None else min(limit, most)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            return await _collect(request, limit, share)
    except TimeoutError:
        raise ApiError("body_timeout") from None
    except ClientDisconnect:
        raise ApiError("body_timeout", "The client left before its body was whole.") from None


async def _collect(request: Request, limit: int, share: BodyShare) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
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


def inflate(body: bytes, encoding: str, settings: ServiceSettings, share: BodyShare) -> bytes:
    """Decompress a body; a bomb is noticed while it inflates, not after.

    Large bodies take long, so they belong in a thread.
    Raises ApiError: body_too_large, ingest_full, malformed_compression.
    """
    if encoding == "identity":
        return body
    out = bytearray()
    try:
        for piece in _INFLATERS[encoding](body):
            out += piece
            if len(out) > settings.max_body_bytes:
                raise _too_large(settings.max_body_bytes)
            share.grow(len(piece))
    except (zlib.error, zstandard.ZstdError) as error:
        raise ApiError("malformed_compression", f"The body does not decompress: {error}") from None
    return bytes(out)


def check_values(data: bytes, most: int) -> None:
    """Refuse JSON of more than `most` values before a decoder builds them.

    Raises ApiError too_many_values.
    """
    if may_have_more_values(data, most) and count_values(data, most) > most:
        raise ApiError("too_many_values", f"The body has over {most:,} JSON values.")


def may_have_more_values(data: bytes, most: int) -> bool:
    """Whether there could be JSON of more than `most` values in a body; cheap."""
    # Each value but the first is behind a comma or a bracket.
    return len(data) > most and _most_values(data) > most


def _most_values(data: bytes) -> int:
    """As many values as there could be, were there no strings; one memory scan."""
    pieces = range(0, len(data), _COUNT_PIECE)
    return 1 + sum(
        data.count(mark, start, start + _COUNT_PIECE) for start in pieces for mark in b",[{"
    )


def count_values(data: bytes, most: int) -> int:
    """How many values JSON has; stops once they are over `most`.

    What is no JSON has at least as many as a decoder builds until it notices.
    """
    if b"\0" in data:
        # No JSON in UTF-8, the only one whose strings are found here.
        return _most_values(data)
    found, inside, escaped = 1, False, False
    for start in range(0, len(data), _COUNT_PIECE):
        piece = data[start + escaped : start + _COUNT_PIECE]
        escaped = (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1
        marks, inside = _outside_strings(piece, inside)
        found += len(marks)
        if found > most:
            break
    return found


def _outside_strings(piece: bytes, inside: bool) -> tuple[bytes, bool]:
    """The commas and brackets outside strings, and whether the piece ends inside one."""
    marks = piece.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    if inside:
        _, quote, marks = marks.partition(b'"')
        if not quote:
            return b"", True
    marks = _STRINGS.sub(b"", marks)
    marks, quote, _ = marks.partition(b'"')
    return marks, bool(quote)


def _gunzip(body: bytes) -> Iterator[bytes]:
    members = position = 0
    while position < len(body):
        members += 1
        if members > MAX_GZIP_MEMBERS:
            problem = f"The gzip stream has over {MAX_GZIP_MEMBERS} members."
            raise ApiError("malformed_compression", problem, "Compress the body as a whole.")
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            piece = member.unconsumed_tail
            if not piece:
                piece = body[position : position + _GZIP_PIECE]
                position += len(piece)
            inflated = member.decompress(piece, MIB)
            if not (piece or inflated):
                raise ApiError("malformed_compression", "The gzip stream ends too early.")
            yield inflated
        position -= len(member.unused_data)


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
