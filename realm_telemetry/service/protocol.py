"""uvicorn's HTTP protocol with what it lacks: a way to abort, and bounds on slow clients.

Slow headers ("slowloris"): a client that sends one header byte now and then holds a connection
for ever, because uvicorn's timeouts begin after the first response.
Endless headers: the parser collects them without a limit.
Slow reading: a client that takes none of its answer holds what the answer holds, for ever.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from realm_telemetry.service.live.streams import ABORT_EXTENSION

HEADER_TIMEOUT_S: Final = 15.0
MAX_HEADER_BYTES: Final = 64 * 1024
WRITE_TIMEOUT_S: Final = 30.0


class RealmProtocol(HttpToolsProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client a while for its first request's headers."""
        super().connection_made(transport)
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._disarm()
        self.resume_writing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Offer the application a way to drop the connection."""
        super().on_message_begin()
        self._arm()
        self._header_bytes = 0
        extensions: dict[str, Any] = {ABORT_EXTENSION: self.transport.abort}
        self.scope["extensions"] = extensions

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """All headers are there: the rest has its own limits."""
        self._disarm()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client does not keep up: give it a while."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It took what there was."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            self.transport.abort()

    def _arm(self) -> None:
        if self._header_timer is None:
            abort = self.transport.abort
            self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, abort)

    def _disarm(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
