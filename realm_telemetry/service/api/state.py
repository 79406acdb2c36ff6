"""GET /api/state and /api/state/{section}: RealmState and the cursor it is true at."""

import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.event import format_time
from realm_telemetry.folds.runs import Reading, projected
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.service.api.answers import encode_apart, encoded_answer, json_answer
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import ApiError

SCHEMA_VERSION: Final = 2
"""Of the older RealmService's answers, whose shapes are kept."""


async def get_state(request: Request) -> Response:
    """All sections, with the last 50 events that are not routine."""
    content = await state_shape(service_of(request.scope))
    headers = {"x-cursor": str(content["cursor"])}
    return encoded_answer(await encode_apart(content), headers=headers)


async def state_shape(service: Service) -> dict[str, Any]:
    """All sections, the last events, and the cursor that the sections are true at.

    It is that of the call, whatever arrives while runs are read. Routine events say what the
    sections say already, and by the thousand: a loop of `update_*` or of training steps would push
    out everything else. Raises ApiError not_ready.
    """
    state = service.folding.current
    last = service.live.last_not_routine()
    now_ns = time.time_ns()
    sections = state.to_dict(now_ns)
    content = {
        "state": sections,
        "events": [event_to_dict(row.event, row.cursor) for row in last],
        "timestamp": format_time(now_ns),
        "schema_version": SCHEMA_VERSION,
        "cursor": state.cursor,
    }
    sections["training"] = await _as_runs_say(service, sections["training"])
    return content


async def section_shape(service: Service, name: str) -> dict[str, Any]:
    """One section as it is at the call. Raises KeyError for an unknown one, ApiError not_ready."""
    section = service.folding.current.section(name, time.time_ns())
    return await _as_runs_say(service, section) if name == "training" else section


async def _as_runs_say(service: Service, training: dict[str, Any]) -> dict[str, Any]:
    """The section training as the table of runs has it; as it is while that cannot be read."""
    try:
        layers = service.runs.current.layers()
        return await service.readers.run(lambda log: projected(training, Reading(log, layers)))
    except ApiError:
        return training


async def get_section(request: Request) -> Response:
    """One section."""
    service = service_of(request.scope)
    name, cursor = request.path_params["section"], service.folding.current.cursor
    try:
        section = await section_shape(service, name)
    except KeyError:
        raise ApiError("unknown_section", f"RealmState has no section {name[:80]!r}.") from None
    return json_answer(section, headers={"x-cursor": str(cursor)})
