"""GET /api/events/stream: a snapshot or a resume, then every event as the log gets it.

A stream first subscribes (its view notes where the ring is), then replays from the log what lies
between its cursor and the ring, then follows the ring. Because both are read by cursor, an event
stored in between is in exactly one of them. A stream that is too slow for the ring gets a message
(`gap`) and goes back to the log, as if it had come anew.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, cast

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from realm_telemetry.kinds.catalog import event_to_dict, is_routine
from realm_telemetry.log.filters import Filters, to_params
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.api.parameters import choice, filters_of
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.live.frames import (
    KEEPALIVE,
    RETRY,
    coalesced_frame,
    event_frame,
    message_frame,
    thin_batch,
)
from realm_telemetry.service.live.hub import RoutineMode
from realm_telemetry.service.live.streams import Stream
from realm_telemetry.service.live.view import Piece, Place, join_pieces

REPLAY_ROWS: Final = 500
AHEAD_S: Final = 1.0
"""How long a stream waits for what another service has shown its reader."""

_LOOK_S: Final = 0.02

_logger = logging.getLogger(__name__)

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # Buffering proxies would hold events back.
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """The route, as an ASGI application: a stream writes to its connection without a detour."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = service_of(scope)
        wanted = Wanted.of(Request(scope))
        await run_stream(
            scope, receive, send, lambda stream: Session(service, stream, wanted).run()
        )


async def run_stream(
    scope: Scope,
    receive: Receive,
    send: Send,
    session: Callable[[Stream], Awaitable[None]],
) -> None:
    """Give a stream its place, and run its session to the end.

    Raises ApiError if there is no place: too_many_clients, shutting_down.
    """
    places = service_of(scope).places
    places.check()
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    stream = Stream(scope, receive, send)
    places.enter(stream)
    try:
        await session(stream)
    except asyncio.CancelledError:
        if not stream.stalled:
            raise
    except ApiError as error:
        # The answer has begun, so all that can be done is to end it: the reader comes back.
        _logger.warning("A stream ended: %s", error)
    finally:
        places.leave(stream)
    if not stream.stalled:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Wanted(NamedTuple):
    """What a stream asks for."""

    filters: Filters
    routine: RoutineMode
    last_event_id: str | None

    @classmethod
    def of(cls, request: Request) -> "Wanted":
        """Read a request's parameters; the header wins, because a browser keeps it current."""
        query: QueryParams = request.query_params
        last = request.headers.get("last-event-id") or query.get("last_event_id")
        routine = choice(query, "routine", ("all", "latest"), "all")
        filters = filters_of(query, own=("routine", "last_event_id"))
        return cls(filters, cast(RoutineMode, routine), last)

    @property
    def unfiltered(self) -> bool:
        """Whether every event is wanted."""
        return not self.view_key

    @property
    def view_key(self) -> str:
        """Equal for streams that want the same events."""
        params = to_params(self.filters)
        return "&".join(
            f"{name}={params[name]}" for name in sorted(params) if name not in ("limit", "cursor")
        )


class Session:
    """One stream from its first message to its last.

    cursor: everything up to it was sent, or was not wanted.
    """

    def __init__(self, service: Service, stream: Stream, wanted: Wanted) -> None:
        self._service = service
        self._hub = service.hub
        self._stream = stream
        self._wanted = wanted
        self._matches = None if wanted.unfiltered else wanted.filters.matches
        self._feed = service.hub.feeds[wanted.routine]
        self.cursor = 0

    async def run(self) -> None:
        """Serve the stream until it leaves or the service ends."""
        key = self._wanted.view_key
        # Subscribe before replay: an event stored between the two would otherwise be lost.
        self._stream.view = self._view = self._feed.enter(key, self._matches)
        self._hub.streams += 1
        try:
            await self._begin()
            while not self._stream.over:
                await self._replay()
                await self._follow()
        finally:
            self._hub.streams -= 1
            self._feed.leave(key)

    async def _begin(self) -> None:
        await self._stream.write(RETRY)
        if self._wanted.last_event_id is None:
            await self._send_snapshot()
            return
        problem = await self._resume(self._wanted.last_event_id)
        if problem is not None:
            await self._reset(problem)

    async def _resume(self, last_event_id: str) -> str | None:
        """Stand at a cursor that a reader brings; returns why that cannot be."""
        name, _, cursor = last_event_id.rpartition("-")
        log_id, dot, failovers = name.partition(".")
        if not (_is_number(cursor) and (_is_number(failovers) or not dot)):
            return "unreadable"
        if log_id != self._hub.log_id:
            return "other_log"
        self.cursor = int(cursor)
        if self._service.is_lost(self.cursor, int(failovers or 0)):
            return "failover"
        if self.cursor > self._hub.cursor and not await self._catches_up():
            return "ahead"
        floor = await self._service.readers.run(lambda log: log.min_cursor())
        return "retention" if self.cursor < floor else None

    async def _catches_up(self) -> bool:
        """Whether the tail comes to a cursor within a moment that the log has.

        Another service of the same log may have shown it already.
        """
        head = await self._service.readers.run(lambda log: log.max_cursor())
        if self.cursor > head:
            return False
        for _ in range(round(AHEAD_S / _LOOK_S)):
            if self.cursor <= self._hub.cursor:
                return True
            await asyncio.sleep(_LOOK_S)
        return self.cursor <= self._hub.cursor

    async def _reset(self, reason: str) -> None:
        """Say that what a reader has no longer connects, and start it anew."""
        await self._stream.write(message_frame("reset", {"reason": reason}))
        await self._send_snapshot()

    async def _send_snapshot(self) -> None:
        view, place = self._view, Place(0, self._hub.cursor)
        if view.snapshot is None or view.snapshot.place != place:
            view.snapshot = Piece(self._snapshot(place.cursor), place)
        self.cursor = place.cursor
        await self._stream.write(view.snapshot.data)

    def _snapshot(self, cursor: int) -> bytes:
        live, log_id = self._service.live, self._hub.log_id
        data = {
            "events": _shapes(live.last_not_routine(matches=self._matches)),
            "routine": _shapes(live.latest_routine(matches=self._matches)),
            "cursor": cursor,
            "log_id": log_id,
        }
        return message_frame("snapshot", data, event_id=f"{self._hub.name}-{cursor}")

    async def _replay(self) -> None:
        """Read from the log until the ring holds what comes next."""
        while not self._stream.over and not self._feed.ring.holds_after(self.cursor):
            # Noted before reading: what the ring gets meanwhile may be too new for the rows.
            seen = self._feed.ring.watermark
            rows = await self._service.readers.run(lambda log: log.after(self.cursor, REPLAY_ROWS))
            # What the tail has not brought yet will come through the ring.
            rows = [row for row in rows if row.cursor <= seen]
            if not rows:
                self.cursor = seen
                return
            await self._send_rows(rows)
            self.cursor = rows[-1].cursor

    async def _send_rows(self, rows: Sequence[LogRow]) -> None:
        wanted = [row for row in rows if self._matches is None or self._matches(row.event)]
        if self._wanted.routine == "latest":
            frames = self._latest_frames(wanted)
        else:
            frames = [event_frame(self._hub.name, row.cursor, row.event) for row in wanted]
        for piece in join_pieces(frames):
            await self._stream.write(piece)

    def _latest_frames(self, rows: Sequence[LogRow]) -> list[bytes]:
        routine = frozenset(row.cursor for row in rows if is_routine(row.event.kind))
        kept = thin_batch([(row.cursor, row.event) for row in rows], routine)
        return [coalesced_frame(self._hub.name, *one, resumable=True) for one in kept]

    async def _follow(self) -> None:
        """Follow the ring until the stream ends or falls off."""
        ring, stream, view = self._feed.ring, self._stream, self._view
        position, after = ring.position_after(self.cursor), self._settling_cursor()
        settled_at = asyncio.get_running_loop().time() + self._settling_s()
        while not stream.over:
            if position < ring.tail:
                self._service.places.fell_off += 1
                await stream.write(message_frame("gap", {"after": self.cursor, "reason": "slow"}))
                return
            if after and asyncio.get_running_loop().time() > settled_at:
                after = 0
            data, (position, self.cursor) = view.piece(position, after)
            if data:
                await stream.write(data)
            elif stream.idle_s > self._service.settings.keepalive_s:
                await stream.write(KEEPALIVE)
            else:
                place = await view.next_place(stream)
                position = max(position, place.position)
                self.cursor = max(self.cursor, place.cursor)

    def _settling_cursor(self) -> int:
        """Which cursors a new reader of coalesced events may still find held back in the feed.

        A held event comes with a cursor below the feed's watermark, so also below the cursor of
        a stream that has just had it from snapshot or log.
        """
        return self.cursor if self._wanted.routine == "latest" else 0

    def _settling_s(self) -> float:
        return 2 * self._service.settings.routine_interval_s


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _shapes(rows: Sequence[LogRow]) -> list[dict[str, object]]:
    return [event_to_dict(row.event, row.cursor) for row in rows]
