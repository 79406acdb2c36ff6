"""Who is connected to a stream: the places, keepalives, and the end of those who stall.

A stream that does not take its bytes waits in its own write and delays no other. After the write
timeout its connection is aborted: closing it would wait for the very bytes it does not take.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import Receive, Scope, Send

from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.live.view import View
from realm_telemetry.service.settings import ServiceSettings

ABORT_EXTENSION: Final = "realm.abort"
"""In scope["extensions"] where our own server runs: drops the connection at once."""

_SWEEP_S: Final = 0.5


class Stream:
    """One connected stream: writes, and knows since when it has been writing."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._send = send
        self._abort: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT_EXTENSION)
        self._task = asyncio.current_task()
        self._left = asyncio.ensure_future(self._watch())
        self.view: View | None = None
        self.writing_since: float | None = None
        self.last_write = self._loop.time()
        self.over = False
        self.stalled = False

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.finish()

    @property
    def idle_s(self) -> float:
        """Seconds since the last write."""
        return self._loop.time() - self.last_write

    def finish(self) -> None:
        """Have the stream end at its next step."""
        self.over = True
        self.wake()

    def wake(self) -> None:
        """Wake the stream if it waits for events."""
        if self.view is not None:
            self.view.nudge(self)

    async def write(self, data: bytes) -> None:
        """Hand bytes to the transport; waits while it is full."""
        self.writing_since = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self.writing_since = None
        self.last_write = self._loop.time()

    def drop(self) -> None:
        """Cut a stream off that does not take its bytes."""
        self.over = self.stalled = True
        if self._abort is not None:
            self._abort()
        elif self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Stop watching for the disconnect."""
        self._left.cancel()


class StreamPlaces:
    """The connected streams, at most `max_stream_clients`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._streams: set[Stream] = set()
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self.refused = 0
        self.stalled = 0
        self.fell_off = 0

    def __len__(self) -> int:
        return len(self._streams)

    def check(self) -> None:
        """Raises ApiError if there is no place: too_many_clients, shutting_down."""
        if self._closing:
            raise ApiError("shutting_down")
        if len(self._streams) >= self._settings.max_stream_clients:
            self.refused += 1
            raise ApiError("too_many_clients")

    def enter(self, stream: Stream) -> None:
        """Give a stream its place."""
        self._streams.add(stream)
        self._timer = self._timer or self._loop.call_later(_SWEEP_S, self._sweep)

    def leave(self, stream: Stream) -> None:
        """Take the place back."""
        self._streams.discard(stream)
        stream.close()

    def close(self) -> None:
        """End all streams; browsers come back by themselves."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for stream in self._streams:
            stream.finish()

    def _sweep(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        for stream in list(self._streams):
            if stream.over:
                continue
            if stream.writing_since is not None:
                if now_s - stream.writing_since > self._settings.write_timeout_s:
                    self.stalled += 1
                    stream.drop()
            elif stream.idle_s > self._settings.keepalive_s:
                stream.wake()
        if self._streams:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)
