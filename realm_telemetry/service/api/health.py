"""GET /health, /ready, /api/health and /api/receipts."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.api.state import SCHEMA_VERSION
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError


async def get_health(request: Request) -> Response:
    """Whether the service runs, on which log, and whether that can be read and written."""
    try:
        service = service_of(request.scope)
    except ApiError as error:
        if error.code != "log_unavailable":
            raise
        return json_answer(_opening_again(error.message))
    problem = service.problem
    content = {
        "status": "ok" if problem is None else "degraded",
        "service": "realm",
        "schema_version": SCHEMA_VERSION,
        "sse_clients": len(service.places),
        "log_id": service.log_id,
        "cursor": service.tail.cursor,
        "ready": service.folding.ready,
    }
    return json_answer(content if problem is None else content | {"problem": problem})


def _opening_again(problem: str) -> dict[str, object]:
    """The answer while there is no log to say anything about."""
    return {
        "status": "degraded",
        "service": "realm",
        "schema_version": SCHEMA_VERSION,
        "sse_clients": 0,
        "log_id": None,
        "cursor": 0,
        "ready": False,
        "problem": problem,
    }


async def get_ready(request: Request) -> Response:
    """200 once the log is followed and RealmState is folded, while the log can be written."""
    service = service_of(request.scope)
    if service.problem is not None:
        raise ApiError("log_unavailable", service.problem)
    cursor = service.folding.current.cursor
    return json_answer({"ready": True, "cursor": cursor})


async def get_health_details(request: Request) -> Response:
    """What is wrong on the way of an event, and what to do; it answers whatever is broken."""
    return json_answer(await request.app.state.health.answer())


async def get_receipts(request: Request) -> Response:
    """What each producer emitted, what of it is stored, and whether that is all."""
    receipts = await service_of(request.scope).readers.run(lambda log: log.receipts())
    return json_answer({"receipts": [msgspec.to_builtins(receipt) for receipt in receipts]})
