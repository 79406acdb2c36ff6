"""Runs over HTTP: the list, one of them, and a report for people."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote, urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from realm_telemetry.folds.runs import (
    WARNINGS,
    Reading,
    RunRecord,
    changes,
    detailed,
    is_shown,
    started_at,
    statuses,
    summary,
)
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.filters import InvalidFilterError
from realm_telemetry.log.runs import Place, RunsWanted
from realm_telemetry.log.tokens import decode_place, encode_place
from realm_telemetry.service.api.answers import encode, encoded_answer, json_answer
from realm_telemetry.service.api.parameters import moment, whole
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError

MAX_RUNS: Final = 500
MAX_WORDS: Final = 1_024
STATUSES: Final = tuple(statuses())
MAX_METRICS: Final = 16
"""Numbers whose last values a list has."""

EVERY_METRIC: Final = "*"

_LIST: Final = ("status", "warnings", "tag", "metric", "since", "q", "limit", "cursor")

T = TypeVar("T")


class RunRoute(Route):
    """A route that is matched before percent-encoding is undone: a run id may have slashes."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path as it was sent."""
        raw = scope.get("raw_path")
        if scope["type"] != "http" or not raw:
            return super().matches(scope)
        match, child = super().matches(dict(scope, path=raw.decode("latin-1")))
        if match is not Match.NONE:
            given = child["path_params"]
            child["path_params"] = {name: _read_id(text) for name, text in given.items()}
        return match, child


def _read_id(text: str) -> str:
    """Return the run id of a path.

    Browsers take `%2E` for a dot, and dots alone for directories; so `%252E` is the run `.`.
    """
    run_id = unquote(text)
    return unquote(run_id) if run_id.upper() in ("%2E", "%2E%2E") else run_id


class _Listing(NamedTuple):
    """What a list is asked for beside what the table of runs can look for. metrics: names."""

    warnings: Sequence[str]
    tags: Sequence[str]
    metrics: Sequence[str]

    @property
    def is_sifted(self) -> bool:
        """Whether the records have to be looked at."""
        return bool(self.warnings or self.tags)

    def shown(self, run: tuple[str, RunRecord]) -> dict[str, Any]:
        """Return a run as the list is to have it."""
        run_id, record = run
        if EVERY_METRIC in self.metrics:
            return summary(run_id, record) | {"metrics": record.numbers.read()}
        return summary(run_id, record, self.metrics)


async def get_runs(request: Request) -> Response:
    """Runs, newest first by their start."""
    query = request.query_params
    wanted = _wanted(query)
    metrics = query.getlist("metric")
    if len(metrics) > MAX_METRICS:
        raise ApiError("invalid_parameter", f"metric: at most {MAX_METRICS} of them.")
    listing = _Listing(_names(query, "warnings", ("any", *WARNINGS)), query.getlist("tag"), metrics)
    layers = service_of(request.scope).runs.current.layers()

    def ask(log: Snapshot) -> tuple[bytes, str | None]:
        reading = Reading(log, layers)
        read = _sifted if listing.is_sifted else _all
        runs, following = read(reading, wanted, listing)
        return encode({"runs": runs}), following and encode_place(following)

    content, following = await service_of(request.scope).readers.run(ask)
    return encoded_answer(content, headers=_next_link(query, following))


def _all(
    reading: Reading, wanted: RunsWanted, listing: _Listing
) -> tuple[list[dict[str, Any]], Place | None]:
    """A page of the list, and where the next one begins."""
    page, is_more = reading.page(wanted)
    return [listing.shown(run) for run in page], _place(page[-1]) if is_more and page else None


def _sifted(
    reading: Reading, wanted: RunsWanted, listing: _Listing
) -> tuple[list[dict[str, Any]], Place | None]:
    """The runs of a part of the list whose records are as wanted, and where that part ends."""
    found, end = reading.sifted(wanted, warnings=listing.warnings, tags=listing.tags)
    return [listing.shown(run) for run in found], end


def _place(run: tuple[str, RunRecord]) -> Place:
    return started_at(run[1]), run[0]


def _wanted(query: QueryParams) -> RunsWanted:
    """Read the parameters of the list. Raises ApiError invalid_parameter."""
    only(query, _LIST)
    words = query.get("q", "")
    if len(words) > MAX_WORDS:
        raise ApiError("invalid_parameter", f"q: over {MAX_WORDS} characters.")
    return RunsWanted(
        _names(query, "status", STATUSES),
        moment(query, "since"),
        words,
        _below(query.get("cursor")),
        whole(query, "limit", 100, 1, MAX_RUNS),
    )


def _names(query: QueryParams, name: str, known: Sequence[str]) -> tuple[str, ...]:
    """Read a comma list. Raises ApiError invalid_parameter."""
    given = [part.strip() for text in query.getlist(name) for part in text.split(",")]
    unknown = [part for part in given if part and part not in known]
    if unknown:
        what = "warning" if name == "warnings" else name
        problem = f"{name}: there is no {what} {unknown[0][:80]!r}."
        raise ApiError("invalid_parameter", problem, f"Known are {', '.join(known)}.")
    return tuple(part for part in given if part)


def _below(token: str | None) -> Place | None:
    try:
        return decode_place(token) if token else None
    except InvalidFilterError as error:
        problem = f"{error.parameter}: {error.message}."
        raise ApiError("invalid_parameter", problem, f"{error.hint}.") from None


def only(query: QueryParams, known: tuple[str, ...]) -> None:
    """Refuse other parameters. Raises ApiError invalid_parameter."""
    for name in query:
        if name not in known:
            hint = f"Known are {', '.join(known)}." if known else "This path takes none."
            problem = f"{name[:80]}: there is no such parameter."
            raise ApiError("invalid_parameter", problem, hint)


def _next_link(query: QueryParams, following: str | None) -> dict[str, str]:
    if following is None:
        return {}
    pairs = [pair for pair in query.multi_items() if pair[0] != "cursor"]
    # Relative to this very path, so that it holds behind any proxy and mount point.
    return {"link": f'<?{urlencode([*pairs, ("cursor", following)])}>; rel="next"'}


async def get_run(request: Request) -> Response:
    """All of one run, with its ranks."""
    only(request.query_params, ())
    return json_answer(await read_run(request, detailed))


async def get_run_changes(request: Request) -> Response:
    """The run before one of its kind, and what was changed since."""
    only(request.query_params, ())
    layers = service_of(request.scope).runs.current.layers()
    return json_answer(
        await read_run(
            request, lambda log, run_id, record: changes(Reading(log, layers), run_id, record)
        )
    )


async def may_be_run(request: Request) -> bool:
    """Whether there is the run of a path; also true while the log cannot say."""
    try:
        return await read_run(request, lambda log, run_id, record: True)
    except ApiError as error:
        return error.code != "run_not_found"


async def read_run(request: Request, ask: Callable[[Snapshot, str, RunRecord], T]) -> T:
    """Ask something of the run of a path. Raises ApiError run_not_found."""
    run_id: Any = request.path_params["id"]
    return await ask_run(request, run_id, ask)


async def ask_run(request: Request, run_id: str, ask: Callable[[Snapshot, str, RunRecord], T]) -> T:
    """Ask something of one run. Raises ApiError run_not_found."""
    service = service_of(request.scope)
    layers = service.runs.current.layers(run_id)

    def find(log: Snapshot) -> T | None:
        record = Reading(log, layers).record(run_id)
        return ask(log, run_id, record) if record is not None and is_shown(record) else None

    found = await service.readers.run(find)
    if found is None:
        raise ApiError("run_not_found", f"There is no run {run_id[:256]!r}.")
    return found
