"""GET /api/stream: the older stream, for screens that have not moved yet.

It begins with `init`, the whole state and the last events. Then every event is an `event`; a
section that changed comes whole under its own name, a worker as `worker_update` or
`worker_removed`, each at most twice a second. A stream that falls off the ring gets `init` again.
"""

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from realm_telemetry.event import Event
from realm_telemetry.folds.state import section_of
from realm_telemetry.service.api.state import section_shape, state_shape
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.live.frames import KEEPALIVE, message_frame
from realm_telemetry.service.live.ring import StreamFrame
from realm_telemetry.service.live.sse import run_stream
from realm_telemetry.service.live.streams import Stream

SECTION_INTERVAL_S: Final = 0.5
"""What a section's messages are apart, however often it changes."""

_FRAMES_AT_ONCE: Final = 200
_UNSEEN: Final = ("section_updated", "worker_heartbeat")
"""Kinds that were no events to the older service, but changes of the state."""

_MESSAGE_NAME: Final = re.compile(r"[\w.-]{1,64}")
_OURS: Final = ("init", "event", "worker_update", "worker_removed", "workers")


class OlderStream:
    """The route, as an ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = service_of(scope)
        _ = service.folding.current  # not_ready must be answered before the stream begins
        await run_stream(scope, receive, send, lambda stream: _Session(service, stream).run())


class _Session:
    """One older stream from its first message to its last.

    position: of the next frame in the ring.
    """

    def __init__(self, service: Service, stream: Stream) -> None:
        self._service = service
        self._stream = stream
        self._feed = service.hub.feeds["all"]
        self._position = 0
        self._changed: dict[str, None] = {}
        self._heard: dict[str, None] = {}
        self._sections_at_s = 0.0

    async def run(self) -> None:
        """Serve the stream until it leaves or the service ends."""
        stream, ring = self._stream, self._feed.ring
        stream.view = self._view = self._feed.enter("", None)
        self._service.hub.streams += 1
        try:
            await self._begin()
            while not stream.over:
                if self._position < ring.tail:
                    self._service.places.fell_off += 1
                    await self._begin()
                elif data := self._events() + await self._sections():
                    await stream.write(data)
                elif stream.idle_s > self._service.settings.keepalive_s:
                    await stream.write(KEEPALIVE)
                else:
                    await self._news()
        finally:
            self._service.hub.streams -= 1
            self._feed.leave("")

    async def _begin(self) -> None:
        # The state is that of this step of the loop: it holds what the ring has had up to here.
        self._position = self._feed.ring.head
        state = await state_shape(self._service)
        await self._stream.write(await asyncio.to_thread(message_frame, "init", state))

    def _events(self) -> bytes:
        ring = self._feed.ring
        end = min(ring.head, self._position + _FRAMES_AT_ONCE)
        frames, self._position = ring.frames(self._position, end), end
        self._note(frames)
        return b"".join(frame.data for frame in frames if _is_seen(frame.event))

    def _note(self, frames: Sequence[StreamFrame]) -> None:
        """Remember which sections and workers the frames have changed."""
        for event in (frame.event for frame in frames):
            section = _section(event)
            if section == "workers":
                self._heard.update(dict.fromkeys(_worker_ids(event)))
            elif section is not None:
                self._changed[section] = None

    async def _sections(self) -> bytes:
        """Return the changed sections and workers, when the interval has passed."""
        if not (self._changed or self._heard) or self._wait_s() > 0:
            return b""
        self._sections_at_s = asyncio.get_running_loop().time()
        state, now_ns = self._service.folding.current, time.time_ns()
        changed, heard = self._changed, self._heard
        self._changed, self._heard = {}, {}
        parts = [_worker_frame(one, state.section("workers", now_ns)) for one in heard]
        parts += [message_frame(name, await section_shape(self._service, name)) for name in changed]
        return b"".join(parts)

    def _wait_s(self) -> float:
        return self._sections_at_s + SECTION_INTERVAL_S - asyncio.get_running_loop().time()

    async def _news(self) -> None:
        """Wait for the ring, or until it is time for the sections."""
        due = bool(self._changed or self._heard)
        try:
            async with asyncio.timeout(max(self._wait_s(), 0.0) if due else None):
                await self._view.next_place(self._stream)
        except TimeoutError:
            pass


def _is_seen(event: Event) -> bool:
    return event.kind not in _UNSEEN


def _section(event: Event) -> str | None:
    """The section that an event changes, if its name can be a message's."""
    if event.kind != "section_updated":
        return section_of(event.kind)
    name = event.details.get("section")
    # A name with a line break would forge a message.
    usable = isinstance(name, str) and _MESSAGE_NAME.fullmatch(name)
    return name if usable and (name == "workers" or name not in _OURS) else None


def _worker_ids(event: Event) -> Iterable[str]:
    details = event.details
    if event.kind == "section_updated":
        data = details.get("data")
        return list(data) if isinstance(data, dict) else ()
    return [str(details["worker_id"])] if "worker_id" in details else ()


def _worker_frame(worker_id: str, workers: dict[str, Any]) -> bytes:
    worker = workers.get(worker_id)
    if worker is None:
        return message_frame("worker_removed", {"worker_id": worker_id})
    return message_frame("worker_update", worker)
