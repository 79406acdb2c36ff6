"""Curves over HTTP: what a run measures, its series, and several runs beside each other."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.folds.comparison import COMPARED, Compared, comparison
from realm_telemetry.folds.curves import view
from realm_telemetry.folds.curves.reading import FoundCurves
from realm_telemetry.folds.curves.view import Wanted
from realm_telemetry.folds.runs import RunRecord, events_of, started_at
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.graphs import MAX_POINTS, Series
from realm_telemetry.service.api.answers import encode, encoded_answer, json_answer
from realm_telemetry.service.api.counts import fields_of
from realm_telemetry.service.api.parameters import whole
from realm_telemetry.service.api.runs import ask_run, only, read_run
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.values.rank import MAX_RANK

MAX_NAMES: Final = view.MAX_SERIES
POINTS: Final = 500
_MS: Final = 1_000_000


async def get_run_metrics(request: Request) -> Response:
    """What a run measures, and the series of some of it."""
    query = request.query_params
    if "fields" in query:
        return await _of_events(request)
    only(query, ("name", "points", "rank"))
    wanted = _wanted(request)
    run_id: str = request.path_params["id"]
    record = await read_run(request, lambda log, run_id, record: record)
    service = service_of(request.scope)
    found = await service.curves.read(run_id, record)
    content = await service.readers.work(
        lambda: encode(_metrics(run_id, started_at(record), found, wanted))
    )
    return encoded_answer(content)


def _metrics(
    run_id: str, started_ns: int, found: FoundCurves, wanted: Wanted | None
) -> dict[str, Any]:
    metrics = view.metrics_of(found.curves)
    answer: dict[str, Any] = {
        "run_id": run_id,
        "building": _building(found),
        "cut": found.curves.is_cut,
        "started_ms": started_ns // _MS,
        "groups": view.listed(metrics),
    }
    return answer if wanted is None else answer | {"series": view.wanted_series(metrics, wanted)}


def _building(found: FoundCurves) -> dict[str, float] | None:
    return None if found.done is None else {"done": round(found.done, 3)}


def _wanted(request: Request) -> Wanted | None:
    """Read the parameters of series; None where no name is given. Raises ApiError."""
    query = request.query_params
    points = whole(query, "points", POINTS, 2, MAX_POINTS)
    rank: int | str | None = None
    if "rank" in query:
        rank = "all" if query["rank"] == "all" else whole(query, "rank", 0, 0, MAX_RANK)
    names = list(dict.fromkeys(query.getlist("name")))
    if len(names) > MAX_NAMES:
        raise ApiError("invalid_parameter", f"name: at most {MAX_NAMES} of them.")
    return Wanted(names, points, rank) if names else None


async def _of_events(request: Request) -> Response:
    """Numbers among the details of a run's events over time, by the names of the details."""
    query = request.query_params
    only(query, ("fields", "points", "name", "rank"))
    points = whole(query, "points", 1000, 1, MAX_POINTS)

    def ask(log: Snapshot, run_id: str, record: RunRecord) -> Series:
        found = log.series(events_of(run_id, record), fields_of(query), points)
        # Most events of a run have no such number.
        kept = [point for point in found.points if any(v is not None for v in point[3:])]
        return msgspec.structs.replace(found, points=kept)

    try:
        return json_answer(await read_run(request, ask))
    except ValueError as error:
        raise ApiError("invalid_parameter", f"fields: {error}.") from None


async def get_comparison(request: Request) -> Response:
    """Several runs: summaries, what differs in their configuration, and their metrics.

    Those that cannot be read are named; the others are answered. Raises ApiError of the first if
    there is none.
    """
    only(request.query_params, ("run", "name", "points"))
    run_ids = request.query_params.getlist("run")
    least, most = COMPARED
    if not least <= len(set(run_ids)) == len(run_ids) <= most:
        raise ApiError("invalid_parameter", f"run: give {least} to {most} different runs.")
    wanted = _wanted(request)
    service = service_of(request.scope)
    runs, errors = [], {}
    for run_id in run_ids:
        try:
            record = await ask_run(request, run_id, lambda log, run_id, record: record)
        except ApiError as error:
            if error.code != "run_not_found":
                raise
            errors[run_id] = error
            continue
        runs.append(Compared(run_id, record, await service.curves.read(run_id, record)))
    if not runs:
        raise errors[run_ids[0]]
    missing = {run_id: error.message for run_id, error in errors.items()}
    content = await service.readers.work(lambda: encode(comparison(runs, missing, wanted)))
    return encoded_answer(content)
