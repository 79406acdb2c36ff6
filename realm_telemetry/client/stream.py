"""One reader's event stream: its messages, and where to resume and when to retry.

Messages carry events with their cursors. A stream goes on across connections.
"""

import random
from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec

from realm_telemetry.client.errors import ServiceError, unexpected_answer
from realm_telemetry.client.sse import SseMessage, SseParser
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_from_dict


class StoredEvent(msgspec.Struct, frozen=True):
    """An event and its cursor in the service's log, None if the service did not give it."""

    event: Event
    cursor: int | None


class QueryPage(msgspec.Struct, frozen=True):
    """One page of the battle log, newest first.

    total, relation: how many match, exactly (`eq`) or at least (`gte`); None if unknown.
    as_of: the highest cursor that the query looked at.
    next_params: the parameters of the next page, None at the end.
    """

    rows: list[StoredEvent]
    total: int | None
    relation: str
    as_of: int | None
    next_params: str | None


class SnapshotMessage(msgspec.Struct, frozen=True):
    """What happened last, newest first; a stream that does not resume begins with it.

    rows: events that are not routine; routine: the latest of each routine kind and producer.
    """

    rows: list[StoredEvent]
    routine: list[StoredEvent]
    last_event_id: str
    data: dict[str, Any]


class EventMessage(msgspec.Struct, frozen=True):
    """An event from the tail of the log.

    coalesced: routine events that were left out for this one (`routine="latest"`).
    """

    event: Event
    cursor: int | None
    last_event_id: str
    coalesced: int = 0


class ResetMessage(msgspec.Struct, frozen=True):
    """The stream could not go on where it was: forget what was shown, a snapshot follows."""

    reason: str
    last_event_id: str
    data: dict[str, Any]


class OtherMessage(msgspec.Struct, frozen=True):
    """A message of another name: `gap`, or one that a later service knows."""

    name: str
    data: Any
    last_event_id: str


StreamMessage = SnapshotMessage | EventMessage | ResetMessage | OtherMessage


def stored_event(shape: Mapping[str, Any]) -> StoredEvent:
    """Return the event of its JSON shape. Raises InvalidEventError."""
    cursor = shape.get("cursor")
    return StoredEvent(event_from_dict(shape), cursor if type(cursor) is int else None)


def read_message(message: SseMessage) -> StreamMessage:
    """Return the typed form of a server-sent message.

    Raises ValueError if its data is not what its name promises.
    """
    name, resume_id = message.event, message.last_event_id
    data = msgspec.json.decode(message.data)
    if name not in ("event", "snapshot", "reset"):
        return OtherMessage(name, data, resume_id)
    if not isinstance(data, dict):
        raise ValueError(f"the data of {name!r} is not an object")
    if name == "event":
        stored = stored_event(data)
        return EventMessage(stored.event, stored.cursor, resume_id, _count(data.get("coalesced")))
    if name == "snapshot":
        rows, routine = stored_events(data.get("events")), stored_events(data.get("routine", []))
        return SnapshotMessage(rows, routine, resume_id, data)
    return ResetMessage(str(data.get("reason", "")), resume_id, data)


def stored_events(shapes: Any) -> list[StoredEvent]:
    """Return the events of a JSON array. Raises ValueError."""
    if not isinstance(shapes, list):
        raise ValueError("events are not an array")
    return [stored_event(shape) for shape in shapes]


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


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
