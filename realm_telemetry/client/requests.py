"""What both clients send and how they read the answers; nothing here does I/O."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote

import httpx
import msgspec

from realm_telemetry.client.errors import (
    ServiceUnreachableError,
    error_from_response,
    unexpected_answer,
)
from realm_telemetry.client.stream import QueryPage, StoredEvent, stored_events
from realm_telemetry.config import load_settings, located, token_for
from realm_telemetry.delivery.addresses import CONNECT_S, ELSEWHERE, Addresses
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_to_dict, resolve
from realm_telemetry.log.fields import FILTER_PARAMETERS, OTHER_FILTERS

_REPEATED: Final = frozenset(other.name for other in OTHER_FILTERS if other.repeated)
"""Their values may hold commas, so a list is sent as several parameters."""

MAX_RUNS: Final = 500
"""Runs of a page."""

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

Params = list[tuple[str, str | int | float | bool | None]]

FilterValue = str | int | float | datetime | Sequence[str] | None


def connection_settings(
    url: str | Sequence[str] | None, token: str | None
) -> tuple[Addresses, dict[str, Any]]:
    """Return the service's addresses, and what an httpx client of them is made with.

    What is None comes from REALM_SERVICE_URL and REALM_TOKEN, else from realm.toml; an address also
    from the service that runs on the home.
    """
    settings = load_settings({"service_url": url, "token": token})
    if url is None:
        settings = located(settings)
    elif token is None:
        kept = token_for(settings.home, settings.token, settings.service_url)
        settings = msgspec.structs.replace(settings, token=kept)
    headers = {"authorization": f"Bearer {settings.token}"} if settings.token else {}
    addresses = Addresses(settings.service_url)
    # A proxy set for the internet cannot reach this machine's loopback.
    hosts = [httpx.URL(each).host for each in addresses.all]
    mounts = {f"all://[{each}]" if ":" in each else f"all://{each}": None for each in _LOOPBACK}
    remote = any(host not in _LOOPBACK for host in hosts)
    options = {"headers": headers, "trust_env": remote, "mounts": mounts if remote else None}
    return addresses, options


def timeout_of(
    addresses: Addresses, timeout_s: float, read_s: float | None = None
) -> httpx.Timeout:
    """Return the times of a request: a connection has less where another address can be tried."""
    connect_s = min(timeout_s, CONNECT_S) if addresses.are_several else timeout_s
    return httpx.Timeout(timeout_s, connect=connect_s, read=timeout_s if read_s is None else read_s)


def moves_on(addresses: Addresses, url: str, response: httpx.Response, goes_on: bool) -> bool:
    """Note how an address did; whether the next one is to be asked. goes_on: there is one."""
    if response.status_code in ELSEWHERE:
        addresses.failed(url)
        return goes_on
    addresses.answered(url)
    return False


def unreachable(addresses: Addresses, problem: str) -> ServiceUnreachableError:
    """Return the error for a service that answers at none of its addresses."""
    return ServiceUnreachableError(" nor at ".join(addresses.all), problem)


def section_path(section: str | None) -> str:
    """Return the path of the whole state or of one section."""
    return "/api/state" if section is None else f"/api/state/{quote(section, safe='')}"


def run_path(run_id: str, below: str = "") -> str:
    """Return the path of one run, or of what is below it."""
    # Dots alone would be taken for directories.
    name = run_id.replace(".", "%2E") if run_id in (".", "..") else quote(run_id, safe="")
    return f"/api/runs/{name}{below}"


def run_params(
    status: str | Sequence[str] | None,
    since: FilterValue,
    q: str | None,
    limit: int,
    cursor: str | None = None,
    warnings: str | Sequence[str] | None = None,
    tags: str | Sequence[str] | None = None,
) -> Params:
    """Return the parameters of the list of runs; a page has 500 at the most."""
    lists = {"status": status, "warnings": warnings}
    given: dict[str, FilterValue] = {
        name: names if isinstance(names, str) or names is None else ",".join(names)
        for name, names in lists.items()
    }
    given |= {"since": since, "q": q, "cursor": cursor}
    params: Params = [(name, text) for name, value in given.items() for text in _texts(name, value)]
    params += [("tag", tag) for tag in ([tags] if isinstance(tags, str) else tags or ())]
    return [*params, ("limit", max(1, min(limit, MAX_RUNS)))]


def read_runs(response: httpx.Response) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of runs, and the parameters of the next one. Raises ServiceError."""
    runs = read_json(response).get("runs")
    if not isinstance(runs, list):
        raise unexpected_answer(response, "runs")
    return runs, _next_params(response)


class RunsPage(NamedTuple):
    """A page of runs. next_cursor: where the next one begins, None at the end."""

    runs: list[dict[str, Any]]
    next_cursor: str | None


def read_runs_page(response: httpx.Response) -> RunsPage:
    """Return a page of runs. Raises ServiceError."""
    runs, following = read_runs(response)
    return RunsPage(runs, next_cursor(following))


def next_cursor(params: str | None) -> str | None:
    """Return the cursor among the parameters of a next page, None at the end."""
    return parse_qs(params or "").get("cursor", [None])[0]


def read_context(response: httpx.Response) -> list[StoredEvent]:
    """Return an event and its neighbours. Raises ServiceError."""
    return _read_shapes(response, read_json(response, list))


def read_hosts(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the hosts of an answer. Raises ServiceError."""
    hosts = read_json(response).get("hosts")
    if not isinstance(hosts, list):
        raise unexpected_answer(response, "hosts")
    return hosts


def read_text(response: httpx.Response) -> str:
    """Return the text of an answer. Raises ServiceError."""
    if not response.is_success:
        raise error_from_response(response)
    return response.text


def metrics_params(names: Sequence[str], points: int, rank: int | str | None = None) -> Params:
    """Return the parameters of a run's curves; points and rank belong to names."""
    if not names:
        return []
    params: Params = [("name", name) for name in names]
    params.append(("points", points))
    return params if rank is None else [*params, ("rank", rank)]


class RunOutput(NamedTuple):
    """Some of what a run printed.

    text: whole lines. next_offset: where to read on. goes_on: whether more may come.
    """

    text: str
    next_offset: int
    goes_on: bool


def output_params(tail: int | None, offset: int | None) -> Params:
    """Return the parameters of a run's output. Raises TypeError for both."""
    if tail is not None and offset is not None:
        raise TypeError("tail and offset: give one of them")
    given = {"tail": tail, "offset": offset}
    return [(name, value) for name, value in given.items() if value is not None]


def read_output(response: httpx.Response) -> RunOutput:
    """Return the answer of `GET /api/runs/{id}/output`. Raises ServiceError."""
    text = read_text(response)
    following = _whole(response.headers.get("x-next-offset"))
    if following is None:
        raise unexpected_answer(response, "the output of a run")
    return RunOutput(text, following, response.headers.get("x-goes-on") == "true")


def filter_params(filters: Mapping[str, FilterValue]) -> Params:
    """Return query parameters; `not_` stands for `not`, which Python keeps for itself.

    Raises TypeError for a filter that there is not.
    """
    params: Params = []
    for given, value in filters.items():
        name = given.removesuffix("_")
        if name not in FILTER_PARAMETERS:
            known = ", ".join(sorted(FILTER_PARAMETERS))
            raise TypeError(f"there is no filter {given!r}; there are {known}")
        params += [(name, text) for text in _texts(name, value)]
    return params


def _texts(name: str, value: FilterValue) -> list[str]:
    if value is None:
        return []
    if isinstance(value, datetime):
        return [value.isoformat()]
    if isinstance(value, str | int | float):
        return [str(value)]
    return list(value) if name in _REPEATED else [",".join(value)]


def read_json(response: httpx.Response, wanted: type = dict) -> Any:
    """Return the JSON of an answer. Raises ServiceError."""
    if not response.is_success:
        raise error_from_response(response)
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, wanted):
        raise unexpected_answer(response, f"a JSON {'array' if wanted is list else 'object'}")
    return body


def read_events(response: httpx.Response) -> list[StoredEvent]:
    """Return the events of `GET /api/events`. Raises ServiceError."""
    return _read_shapes(response, read_json(response).get("events"))


def read_page(response: httpx.Response) -> QueryPage:
    """Return one page of `GET /api/battle_log`. Raises ServiceError."""
    headers = response.headers
    return QueryPage(
        rows=_read_shapes(response, read_json(response, list)),
        total=_whole(headers.get("x-total-count")),
        relation=headers.get("x-total-relation", "eq"),
        as_of=_whole(headers.get("x-as-of")),
        next_params=_next_params(response),
    )


def _next_params(response: httpx.Response) -> str | None:
    # Only its parameters: behind a proxy the address may be one that is not reached from here, and
    # the token goes only to the service that was given.
    following = response.links.get("next", {}).get("url")
    return httpx.URL(following).query.decode() if following else None


def _read_shapes(response: httpx.Response, shapes: Any) -> list[StoredEvent]:
    try:
        return stored_events(shapes)
    except (ValueError, AttributeError) as error:
        raise unexpected_answer(response, f"events ({error})") from error


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


class NoteWriter:
    """Makes events of a client's own: it is a producer, so that a repeated post is no repeat."""

    def __init__(self) -> None:
        self._producer = secrets.token_hex(8)
        self._numbers = count(1)

    def note(
        self,
        message: str,
        *,
        kind: str = "note",
        channel: str | None = None,
        severity: str | None = None,
        details: Mapping[str, Any] | None = None,
        hero_id: str | None = None,
        campaign_id: str | None = None,
        source: str | None = None,
        run_id: str | None = None,
    ) -> Event:
        """Return a new event; channel and severity come from the catalog if not given."""
        channel, severity = resolve(kind, channel, severity)
        return Event(
            kind=kind,
            channel=channel,
            severity=severity,
            message=message,
            details=dict(details or {}),
            time_unix_nano=time.time_ns(),
            producer=self._producer,
            number=next(self._numbers),
            hero_id=hero_id,
            campaign_id=campaign_id,
            source=source,
            run_id=run_id,
        )


def event_batch(events: Iterable[Event]) -> dict[str, Any]:
    """Return the JSON body of `POST /api/v1/events`."""
    return {"events": [event_to_dict(event) for event in events]}
