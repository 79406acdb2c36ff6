"""Events over HTTP: pages of the log, one event with its neighbours, and the live view's last."""

import re
import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import LogRow, Page
from realm_telemetry.plugins import extension
from realm_telemetry.service.api.answers import encode, encoded_answer, json_answer
from realm_telemetry.service.api.parameters import choice, filters_of, optional_whole, whole
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError

MAX_CONTEXT: Final = 200
_ALL: Final = 1_000_000
_EVENT_KEY: Final = re.compile(r"[0-9a-fA-F]{32}|[0-9]{1,19}")


async def get_events(request: Request) -> Response:
    """The last events, newest first."""
    service = service_of(request.scope)
    filters = filters_of(request.query_params)
    if not request.query_params:
        return json_answer({"events": _shapes(service.live.last(filters.limit))})
    rows = service.live.last(_ALL)
    deadline = time.monotonic() + service.settings.query_timeout_s
    # In a thread: to look for words in large events takes a while.
    content = await service.readers.work(
        lambda: encode({"events": _shapes(_matching(rows, filters, deadline))})
    )
    return encoded_answer(content)


def _matching(rows: Sequence[LogRow], filters: Filters, deadline: float) -> list[LogRow]:
    found: list[LogRow] = []
    for row in rows:
        if time.monotonic() > deadline:
            raise ApiError("query_timeout")
        if filters.matches(row.event):
            found.append(row)
        if len(found) == filters.limit:
            break
    return found


def _shapes(rows: Sequence[LogRow]) -> list[dict[str, Any]]:
    return [event_to_dict(row.event, row.cursor) for row in rows]


async def get_page(request: Request) -> Response:
    """One page, newest first: an array, or the older object with format=object."""
    query = request.query_params
    shape = choice(query, "format", ("array", "object"), "array")
    as_of = optional_whole(query, "as_of")
    filters = filters_of(query, own=("format", "as_of"))

    def ask(log: Snapshot) -> tuple[Page, bytes]:
        page = log.page(filters, as_of=as_of)
        events = _shapes(page.rows)
        if shape == "array":
            return page, encode(events)
        counts = log.channels(filters.since_unix_nano)
        return page, encode(extension("service.page")(events, counts))

    page, content = await service_of(request.scope).readers.run(ask)
    return encoded_answer(content, headers=_page_headers(request, page))


def _page_headers(request: Request, page: Page) -> dict[str, str]:
    headers = {
        "x-total-count": str(page.total),
        "x-total-relation": page.relation,
        "x-as-of": str(page.as_of),
    }
    if page.next_token is not None:
        query = [pair for pair in request.query_params.multi_items() if pair[0] not in _PAGING]
        query += [("cursor", page.next_token), ("as_of", str(page.as_of))]
        # Relative to this very path, so that it holds behind any proxy and mount point.
        headers["link"] = f'<?{urlencode(query)}>; rel="next"'
    return headers


_PAGING: Final = ("cursor", "as_of")


async def get_event(request: Request) -> Response:
    """One event, by its id or its cursor."""
    key = _event_key(request)
    row = await service_of(request.scope).readers.run(lambda log: log.get(key))
    if row is None:
        raise ApiError("event_not_found")
    return json_answer(event_to_dict(row.event, row.cursor))


async def get_context(request: Request) -> Response:
    """An event among those before and after it, oldest first."""
    key, query = _event_key(request), request.query_params
    before = whole(query, "before", 20, 0, MAX_CONTEXT)
    after = whole(query, "after", 20, 0, MAX_CONTEXT)

    def ask(log: Snapshot) -> bytes | None:
        rows = log.context(key, before, after)
        return encode(_shapes(rows)) if rows else None

    content = await service_of(request.scope).readers.run(ask)
    if content is None:
        raise ApiError("event_not_found")
    return encoded_answer(content)


def _event_key(request: Request) -> str | int:
    text: str = request.path_params["id"]
    if not _EVENT_KEY.fullmatch(text):
        raise ApiError("invalid_event_id", f"{text[:80]!r} is neither an event id nor a cursor.")
    if len(text) == 32:
        return text.lower()
    return min(int(text), 2**63 - 1)
