"""GET /api/events: the live view from memory."""

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.api.parameters import filters_of
from realm_telemetry.service.core import service_of


async def get_events(request: Request) -> Response:
    """The last events, newest first."""
    service = service_of(request.scope)
    filters = filters_of(request.query_params)
    rows = service.live.last(filters.limit, filters.matches if request.query_params else None)
    return json_answer({"events": [event_to_dict(row.event, row.cursor) for row in rows]})
