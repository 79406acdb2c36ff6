"""JSON answers, encoded by msgspec: several times the speed of the standard library's."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response


def json_answer(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON that no cache keeps."""
    all_headers = {"cache-control": "no-store", **(headers or {})}
    return Response(msgspec.json.encode(content), status, all_headers, "application/json")
