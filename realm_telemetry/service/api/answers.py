"""JSON answers, encoded by msgspec: several times the speed of the standard library's."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

encode: Final = msgspec.json.Encoder().encode


def json_answer(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON that no cache keeps."""
    return encoded_answer(encode(content), status=status, headers=headers)


def encoded_answer(
    content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """As `json_answer`, for JSON that a thread has encoded: many large events take a while."""
    all_headers = {"cache-control": "no-store", **(headers or {})}
    return Response(content, status, all_headers, "application/json")


async def encode_apart(content: Mapping[str, Any]) -> bytes:
    """Encode an object in a thread: one of megabytes holds up no other client."""
    return await asyncio.to_thread(encode_by_pieces, content)


def encode_by_pieces(content: Mapping[str, Any]) -> bytes:
    """Encode an object, and each item of its lists and objects, by itself.

    The encoder keeps the interpreter lock while it runs; between pieces others have their turn.
    """
    fields = [encode(name) + b":" + _piece(value) for name, value in content.items()]
    return b"{" + b",".join(fields) + b"}"


def _piece(value: Any) -> bytes:
    if isinstance(value, list):
        return b"[" + b",".join(map(encode, value)) + b"]"
    if isinstance(value, dict):
        fields = [encode(name) + b":" + encode(each) for name, each in value.items()]
        return b"{" + b",".join(fields) + b"}"
    return encode(value)
