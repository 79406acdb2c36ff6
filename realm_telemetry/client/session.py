"""One reader's stream across its connections: where to resume, and when to try again."""

import random
from typing import Final

import httpx

from realm_telemetry.client.errors import ServiceError, unexpected_answer
from realm_telemetry.client.messages import StreamMessage, read_message
from realm_telemetry.client.sse import SseParser

STREAM_PATH: Final = "/api/events/stream"

READ_TIMEOUT_S: Final = 60.0
"""The service sends a comment every 15 s; silence for longer is a dead connection."""

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0


class StreamSession:
    """Sans I/O. Both clients open connections, feed their bytes and ask how long to wait.

    reconnect: False ends the stream with its first connection.
    """

    def __init__(self, last_event_id: str | None, *, reconnect: bool = True) -> None:
        self.last_event_id = last_event_id or ""
        self._reconnect = reconnect
        self._ever_open = False
        self._failures = 0
        self._retry_ms: int | None = None
        self._parser = SseParser()

    def headers(self) -> dict[str, str]:
        """Return the headers of the next connection."""
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self.last_event_id:
            headers["last-event-id"] = self.last_event_id
        return headers

    def opened(self, response: httpx.Response) -> None:
        """Look at an answer with status 200, whose bytes come next. Raises ServiceError."""
        content_type = response.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != "text/event-stream":
            raise unexpected_answer(response, "an event stream")
        self._parser = SseParser(self.last_event_id)
        self._ever_open = True

    def feed(self, chunk: bytes) -> list[StreamMessage]:
        """Return the messages that these bytes complete.

        Raises ServiceError if they are not those of a RealmService.
        """
        try:
            found = self._parser.feed(chunk)
            messages = [read_message(message) for message in found]
        except ValueError as error:
            raise ServiceError(
                200,
                "unexpected_answer",
                f"The stream sent a message that cannot be read: {error}.",
                "Compare the versions of client and service.",
            ) from error
        if messages:
            self._failures = 0
        self._retry_ms = self._parser.retry_ms or self._retry_ms
        return messages

    def handed_out(self, message: StreamMessage) -> None:
        """Resume behind this message from now on: the reader has it."""
        self.last_event_id = message.last_event_id

    def handed_out_all(self) -> None:
        """Resume behind all that was fed: an id may have come without a message."""
        self.last_event_id = self._parser.last_event_id

    def wait_s(self, error: ServiceError | None) -> float | None:
        """Return seconds until the next connection, None if the stream is over.

        error: why the connection failed, None if it ended without one.
        Raises the error if trying again will not help, or if there was no connection yet.
        """
        if error is not None and not (self._ever_open and self._reconnect and error.retryable):
            raise error
        if not self._reconnect:
            return None
        self._failures += 1
        first_s = FIRST_WAIT_S if self._retry_ms is None else self._retry_ms / 1000
        longest_s: float = min(first_s * 2 ** min(self._failures - 1, 10), LONGEST_WAIT_S)
        asked_s = error.retry_after_s if error and error.retry_after_s else 0.0
        # Jittered, so that a hundred readers do not come back in the same instant.
        return max(asked_s, longest_s * random.uniform(0.5, 1.0))
