"""GET /api/hosts, and POST /api/v1/heartbeat that it is made of."""

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.delivery.heartbeats import (
    HEARTBEAT_TYPE,
    MAX_HEARTBEAT_BYTES,
    read_heartbeat,
)
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.ingest.body import content_encoding, read_body


async def get_hosts(request: Request) -> Response:
    """The hosts that heartbeats came from, with what runs there."""
    return json_answer({"hosts": service_of(request.scope).host_watch.hosts.shown()})


async def post_heartbeat(request: Request) -> Response:
    """Take in a heartbeat of a host; nothing of it is stored."""
    service = service_of(request.scope)
    # A form of another site's page cannot send this type without asking first.
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != HEARTBEAT_TYPE:
        raise ApiError("unsupported_media_type", hint=f"Send {HEARTBEAT_TYPE}.")
    if content_encoding(request) != "identity":
        raise ApiError("unsupported_encoding", hint="Send it as it is.")
    with service.bodies.share() as share:
        body = await read_body(request, service.settings, share, most=MAX_HEARTBEAT_BYTES)
        try:
            beat = read_heartbeat(body)
        except ValueError as error:
            problem = f"The body is not a heartbeat: {error}"
            raise ApiError("malformed_json", problem, "docs/http-api.md has its form.") from None
    service.host_watch.hear(beat)
    return json_answer({"log_id": service.log_id})
