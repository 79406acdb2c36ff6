"""What a run printed, over HTTP: its last lines, or on from an offset."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.folds.runs import Reading, is_shown
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.service.api.parameters import whole
from realm_telemetry.service.api.runs import only
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.spool.output import Piece, read_end, read_from

MAX_LINES: Final = 10_000
MAX_OFFSET: Final = 2**53 - 1
NEXT_OFFSET: Final = "x-next-offset"
GOES_ON: Final = "x-goes-on"


async def get_run_output(request: Request) -> Response:
    """Kept output of one run, as text."""
    query = request.query_params
    only(query, ("tail", "offset"))
    if "tail" in query and "offset" in query:
        raise ApiError("invalid_parameter", "tail and offset: one of them, not both.")
    lines = whole(query, "tail", 1000, 0, MAX_LINES)
    offset = whole(query, "offset", 0, 0, MAX_OFFSET) if "offset" in query else None
    service = service_of(request.scope)
    run_id: Any = request.path_params["id"]
    home = service.settings.home

    def read(_log: Snapshot) -> Piece | None:
        return read_end(home, run_id, lines) if offset is None else read_from(home, run_id, offset)

    piece = await service.readers.run(read)
    if piece is None:
        raise await _missing(request, run_id)
    headers = {
        "cache-control": "no-store",
        NEXT_OFFSET: str(piece.next_offset),
        GOES_ON: "true" if piece.goes_on else "false",
    }
    return Response(piece.text, 200, headers, "text/plain; charset=utf-8")


async def _missing(request: Request, run_id: str) -> ApiError:
    service = service_of(request.scope)
    layers = service.runs.current.layers(run_id)

    def is_known(log: Snapshot) -> bool:
        record = Reading(log, layers).record(run_id)
        return record is not None and is_shown(record)

    if await service.readers.run(is_known):
        return ApiError("output_not_found")
    return ApiError("run_not_found", f"There is no run {run_id[:256]!r}.")
