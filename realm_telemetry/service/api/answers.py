"""JSON answers, encoded by msgspec: several times the speed of the standard library's."""

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
