"""AsyncRealmClient: reads a RealmService from asyncio code; the twin of RealmClient."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import httpx

from realm_telemetry.client.errors import (
    ServiceError,
    ServiceUnreachableError,
    error_from_response,
    problem_of,
)
from realm_telemetry.client.requests import (
    FilterValue,
    NoteWriter,
    Params,
    RunOutput,
    RunsPage,
    connection_settings,
    event_batch,
    filter_params,
    metrics_params,
    moves_on,
    output_params,
    read_context,
    read_events,
    read_hosts,
    read_json,
    read_output,
    read_page,
    read_runs,
    read_runs_page,
    read_text,
    run_params,
    run_path,
    section_path,
    timeout_of,
    unreachable,
)
from realm_telemetry.client.stream import (
    READ_TIMEOUT_S,
    STREAM_PATH,
    QueryPage,
    StoredEvent,
    StreamMessage,
    StreamSession,
)
from realm_telemetry.event import Event


class AsyncRealmClient:
    """Reads the live view, history and state of a RealmService.

    url, token: from REALM_SERVICE_URL and REALM_TOKEN if None, else from realm.toml.
    url: one address, or several of services with one log: where one does not answer or answers 503,
        the next is asked, and kept to.
    timeout_s: for each request but streams, at all addresses.
    Filters are those of docs/http-api.md, such as kind and since; not_ stands for `not`.
    Every method raises ServiceError.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        token: str | None = None,
        *,
        timeout_s: float = 10.0,
    ) -> None:
        self._addresses, options = connection_settings(url, token)
        self._http = httpx.AsyncClient(**options, timeout=timeout_of(self._addresses, timeout_s))
        self._timeout_s = timeout_s
        self._notes = NoteWriter()

    async def __aenter__(self) -> "AsyncRealmClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The address that answered last; before that the first."""
        return self._addresses.current

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def events(self, **filters: FilterValue) -> list[StoredEvent]:
        """Return the live view: what happened last, newest first."""
        return read_events(await self._get("/api/events", filter_params(filters)))

    async def query(self, **filters: FilterValue) -> AsyncIterator[StoredEvent]:
        """Yield all events of the log that match, newest first, fetched page by page.

        `limit` is the size of a page. Events that arrive meanwhile are not among them.
        """
        page = await self.query_page(**filters)
        for row in page.rows:
            yield row
        while page.next_params is not None:
            page = read_page(await self._get(f"/api/battle_log?{page.next_params}"))
            for row in page.rows:
                yield row

    async def query_page(self, **filters: FilterValue) -> QueryPage:
        """Return the first page of a query, and how many events match."""
        return read_page(await self._get("/api/battle_log", filter_params(filters)))

    async def state(self, section: str | None = None) -> dict[str, Any]:
        """Return RealmState with the cursor it is true at, or one section; see docs/state.md."""
        return dict(read_json(await self._get(section_path(section))))

    async def runs(
        self,
        *,
        status: str | Sequence[str] | None = None,
        warnings: str | Sequence[str] | None = None,
        tags: str | Sequence[str] | None = None,
        metrics: Sequence[str] = (),
        since: FilterValue = None,
        q: str | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Return up to `limit` runs, newest first by their start; see docs/state.md.

        status: one, or several. warnings: that had some of these, `any` for all, however they
        ended. tags: that have all of these. metrics: numbers whose last values each run is to have.
        since: heard of since then. q: part of the id or the command.
        """
        params = run_params(status, since, q, limit, warnings=warnings, tags=tags, metrics=metrics)
        found, following = read_runs(await self._get("/api/runs", params))
        while following is not None and len(found) < limit:
            page, following = read_runs(await self._get(f"/api/runs?{following}"))
            found += page
        return found[:limit]

    async def runs_page(
        self,
        *,
        status: str | Sequence[str] | None = None,
        warnings: str | Sequence[str] | None = None,
        tags: str | Sequence[str] | None = None,
        since: FilterValue = None,
        q: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RunsPage:
        """Return one page of runs, up to 500, as `runs` does. cursor: where the last one ended."""
        params = run_params(status, since, q, limit, cursor, warnings, tags)
        return read_runs_page(await self._get("/api/runs", params))

    async def run(self, run_id: str) -> dict[str, Any]:
        """Return all of one run."""
        return dict(read_json(await self._get(run_path(run_id))))

    async def run_changes(self, run_id: str) -> dict[str, Any]:
        """Return the run before of the same kind, and in what they differ."""
        return dict(read_json(await self._get(run_path(run_id, "/changes"))))

    async def run_report(self, run_id: str, format: str = "md") -> str:
        """Return a run as Markdown (`md`), or as one document of HTML (`html`), for people."""
        params: Params = [] if format == "md" else [("format", format)]
        return read_text(await self._get(run_path(run_id, "/report"), params))

    async def run_output(
        self, run_id: str, *, tail: int | None = None, offset: int | None = None
    ) -> RunOutput:
        """Return what a run printed: the last 1,000 lines, or as many as `tail` says.

        offset: read on from there, up to 1 MiB.
        """
        params = output_params(tail, offset)
        return read_output(await self._get(run_path(run_id, "/output"), params))

    async def run_metrics(
        self,
        run_id: str,
        names: Sequence[str] = (),
        *,
        points: int = 500,
        rank: int | str | None = None,
    ) -> dict[str, Any]:
        """Return what a run measures, and the series of some names (`*`: the first 64).

        points: the most of a series. rank: one, or "all"; the lowest by default.
        """
        params = metrics_params(names, points, rank)
        return dict(read_json(await self._get(run_path(run_id, "/metrics"), params)))

    async def compare(
        self, run_ids: Sequence[str], names: Sequence[str] = (), *, points: int = 500
    ) -> dict[str, Any]:
        """Return two to six runs beside each other, and the series of some names."""
        params = [("run", run_id) for run_id in run_ids] + metrics_params(names, points)
        return dict(read_json(await self._get("/api/compare", params)))

    async def hosts(self) -> list[dict[str, Any]]:
        """Return the hosts that the service has heard, and what runs there."""
        return read_hosts(await self._get("/api/hosts"))

    async def alerts(self) -> dict[str, Any]:
        """Return rules, targets and the last messages, as `GET /api/alerts` answers."""
        return dict(read_json(await self._get("/api/alerts")))

    async def event(self, event: str | int) -> dict[str, Any]:
        """Return one event, by its id or its cursor."""
        return dict(read_json(await self._get(f"/api/battle_log/{event}")))

    async def context(
        self, event: str | int, *, before: int = 20, after: int = 20
    ) -> list[StoredEvent]:
        """Return an event, by its id or its cursor, among those around it, oldest first."""
        params: Params = [("before", before), ("after", after)]
        return read_context(await self._get(f"/api/battle_log/{event}/context", params))

    async def receipts(self) -> dict[str, Any]:
        """Return what each producer emitted, and what of it was stored and dropped."""
        return dict(read_json(await self._get("/api/receipts")))

    async def health(self) -> dict[str, Any]:
        """Return the service's health, with its `log_id`."""
        return dict(read_json(await self._get("/health")))

    async def note(self, message: str, **fields: Any) -> Event:
        """Store a note and return it.

        fields: kind, channel, severity, details, hero_id, campaign_id, source, run_id.
        """
        event = self._notes.note(message, **fields)
        await self.post([event])
        return event

    async def post(self, events: Iterable[Event]) -> dict[str, Any]:
        """Store events; answered after commit: accepted, duplicates, rejected with reasons."""
        return dict(read_json(await self._send("POST", "/api/v1/events", json=event_batch(events))))

    async def stream(
        self,
        filters: Mapping[str, FilterValue] | None = None,
        last_event_id: str | None = None,
        *,
        routine: str = "all",
        reconnect: bool = True,
    ) -> AsyncIterator[StreamMessage]:
        """Yield the messages of the live stream, for ever.

        A lost connection is opened again and goes on behind the last message that was taken.
        Raises ServiceError if there is no connection at first, or trying again cannot help.
        last_event_id: where an earlier stream stopped; routine: "all" or "latest".
        """
        session = StreamSession(last_event_id, reconnect=reconnect)
        params = [*filter_params(filters or {}), ("routine", routine)]
        while True:
            error: ServiceError | None = None
            try:
                async for message in self._connection(session, params):
                    yield message
            except httpx.RequestError as failure:
                self._addresses.failed(self.url)
                error = ServiceUnreachableError(self.url, problem_of(failure))
            except ServiceError as failure:
                error = failure
            wait_s = session.wait_s(error)
            if wait_s is None:
                return
            await asyncio.sleep(wait_s)

    async def _connection(
        self, session: StreamSession, params: Params
    ) -> AsyncIterator[StreamMessage]:
        response = await self._opened(STREAM_PATH, params, session.headers())
        try:
            session.opened(response)
            async for chunk in response.aiter_bytes():
                for message in session.feed(chunk):
                    session.handed_out(message)
                    yield message
                session.handed_out_all()
        finally:
            await response.aclose()

    async def _opened(self, path: str, params: Params, headers: dict[str, str]) -> httpx.Response:
        """Return an answer with status 200 whose body has not been read; the caller closes it."""
        options: dict[str, Any] = {
            "params": params,
            "headers": headers,
            "timeout": timeout_of(self._addresses, self._timeout_s, READ_TIMEOUT_S),
        }
        for url, goes_on in self._addresses.turn():
            request = self._http.build_request("GET", url + path, **options)
            try:
                response = await self._http.send(request, stream=True)
            except httpx.RequestError as error:
                self._addresses.failed(url)
                if not goes_on:
                    raise unreachable(self._addresses, problem_of(error)) from error
                continue
            if response.status_code == 200:
                self._addresses.answered(url)
                return response
            try:
                await response.aread()
            finally:
                await response.aclose()
            if not moves_on(self._addresses, url, response, goes_on):
                break
        raise error_from_response(response)

    async def _get(self, path: str, params: Params | None = None) -> httpx.Response:
        return await self._send("GET", path, params=params)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        # The timeout of httpx is for each read: an answer that drips would hold us for ever.
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        for url, goes_on in self._addresses.turn():
            try:
                async with asyncio.timeout_at(deadline_s):
                    answer = await self._http.request(method, url + path, **options)
            except TimeoutError as error:
                self._addresses.failed(url)
                late = f"no answer within {self._timeout_s:g} s"
                raise ServiceUnreachableError(url, late) from error
            except httpx.RequestError as error:
                self._addresses.failed(url)
                if not goes_on:
                    raise unreachable(self._addresses, problem_of(error)) from error
            else:
                if not moves_on(self._addresses, url, answer, goes_on):
                    return answer
        raise AssertionError("the last address returns or raises")
