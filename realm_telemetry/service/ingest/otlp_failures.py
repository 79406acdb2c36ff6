"""Failures below /v1/ as OTLP wants them: google.rpc.Status in the request's encoding.

Source: https://opentelemetry.io/docs/specs/otlp/#failures-1
"""

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from realm_telemetry.otel.otlp import failure_body
from realm_telemetry.service.paths import route_path
from realm_telemetry.wire import CONTENT_TYPE as PROTOBUF

JSON: Final = "application/json"

RETRYABLE: Final = {"body_timeout": 503}
"""Statuses that differ: a client must not send again on any but 429, 502, 503 and 504."""

_RETRY_AFTER_S: Final = 5
_WAITING: Final = (429, 503)


def is_otlp(scope: Scope) -> bool:
    """Whether a request is one to OTLP's own paths."""
    return scope["type"] == "http" and route_path(scope).startswith("/v1/")


def media_type(headers: Mapping[str, str]) -> str:
    """The media type of a body, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def failure(
    scope: Scope, code: str, status: int, text: str, headers: Mapping[str, str]
) -> Response:
    """Answer a failure; what is not protobuf is answered in JSON, which a person can read."""
    status = RETRYABLE.get(code, status)
    as_json = media_type(Headers(scope=scope)) != PROTOBUF
    body = failure_body(status, f"{code}: {text}", as_json=as_json)
    wait = {"retry-after": str(_RETRY_AFTER_S)} if status in _WAITING else {}
    return Response(body, status, wait | dict(headers), JSON if as_json else PROTOBUF)
