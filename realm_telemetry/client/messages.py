"""What a client hands out: events with their cursors, pages, and the messages of a stream."""

from collections.abc import Mapping
from typing import Any

import msgspec

from realm_telemetry.client.sse import SseMessage
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_from_dict


class StoredEvent(msgspec.Struct, frozen=True):
    """An event and its cursor in the service's log, None if the service did not give it."""

    event: Event
    cursor: int | None


class QueryPage(msgspec.Struct, frozen=True):
    """One page of the battle log, newest first.

    total, relation: how many match, exactly (`eq`) or at least (`gte`); None if not told.
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
