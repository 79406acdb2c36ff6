"""The older service's ways out: workers, and the history of a section."""

import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.has import Has
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.api.parameters import moment, whole
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError

MAX_HISTORY: Final = 1_000


async def get_workers(request: Request) -> Response:
    """All workers by id."""
    return json_answer({"workers": _workers(request)})


async def get_worker(request: Request) -> Response:
    """One worker."""
    worker_id: str = request.path_params["id"]
    worker = _workers(request).get(worker_id)
    if worker is None:
        raise ApiError("unknown_worker", f"There is no worker {worker_id[:80]!r}.")
    return json_answer(worker)


async def get_history(request: Request) -> Response:
    """How a section looked when an update with _record_history had been merged, oldest first."""
    query, section = request.query_params, request.path_params["section"]
    filters = Filters(
        kinds=("section_updated",),
        has=(Has("section", section), Has("record_history", "true")),
        since_unix_nano=moment(query, "since"),
        limit=whole(query, "limit", 100, 1, MAX_HISTORY),
    )
    service = service_of(request.scope)
    page = await service.readers.run(lambda log: log.page(filters, count=False))
    return json_answer(
        {"history": [_entry(row) for row in reversed(page.rows)], "section": section}
    )


def _entry(row: LogRow) -> dict[str, Any]:
    details = row.event.details
    return {"timestamp": row.event.timestamp, "data": details.get("snapshot", details.get("data"))}


def _workers(request: Request) -> dict[str, Any]:
    return service_of(request.scope).folding.current.section("workers", time.time_ns())
