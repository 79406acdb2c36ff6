"""GET /api/state and /api/state/{section}: RealmState and the cursor it is true at."""

import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.event import format_time
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import ApiError

SCHEMA_VERSION: Final = 2
"""Of the older RealmService's answers, whose shapes are kept."""


async def get_state(request: Request) -> Response:
    """All sections, with the last 50 events that are not routine."""
    content = state_shape(service_of(request.scope))
    return json_answer(content, headers={"x-cursor": str(content["cursor"])})


def state_shape(service: Service) -> dict[str, Any]:
    """All sections, the last events, and the cursor that the sections are true at.

    Routine events say what the sections say already, and by the thousand: a loop of `update_*`
    or of training steps would push out everything else. Raises ApiError not_ready.
    """
    state = service.folding.current
    last = service.live.last_not_routine()
    now_ns = time.time_ns()
    return {
        "state": state.to_dict(now_ns),
        "events": [event_to_dict(row.event, row.cursor) for row in last],
        "timestamp": format_time(now_ns),
        "schema_version": SCHEMA_VERSION,
        "cursor": state.cursor,
    }


async def get_section(request: Request) -> Response:
    """One section."""
    state = service_of(request.scope).folding.current
    name = request.path_params["section"]
    try:
        section = state.section(name, time.time_ns())
    except KeyError:
        raise ApiError("unknown_section", f"RealmState has no section {name[:80]!r}.") from None
    return json_answer(section, headers={"x-cursor": str(state.cursor)})
