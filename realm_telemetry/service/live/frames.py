"""Server-sent events as bytes.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
A frame is fields, one a line, ended by an empty line. The data is JSON on one line: a JSON text
has no bare line break, so nothing inside an event can end a frame or forge a field.
"""

from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_to_dict

KEEPALIVE: Final = b": keepalive\n\n"
RETRY: Final = b"retry: 1000\n\n"

_encode = msgspec.json.encode


def event_frame(log_id: str, cursor: int, event: Event) -> bytes:
    """An event with its id, `log_id-rowid`, at which a reader resumes."""
    return b"id: %s-%d\nevent: event\ndata: %s\n\n" % (
        log_id.encode(),
        cursor,
        _encode(event_to_dict(event, cursor)),
    )


def replayed_frame(cursor: int, event: Event) -> bytes:
    """An event that is shown once more. No id: a reader that resumed there would go back."""
    shape = event_to_dict(event, cursor)
    shape["replayed"] = True
    return b"event: event\ndata: %s\n\n" % _encode(shape)


def coalesced_frame(
    log_id: str, cursor: int, event: Event, coalesced: int, *, resumable: bool
) -> bytes:
    """A routine event that stands for `coalesced` others.

    resumable: False leaves the id out, because one further on has gone before: a reader that
    resumed here would get that one twice.
    """
    shape = event_to_dict(event, cursor)
    if coalesced:
        shape["coalesced"] = coalesced
    head = b"id: %s-%d\n" % (log_id.encode(), cursor) if resumable else b""
    return b"%sevent: event\ndata: %s\n\n" % (head, _encode(shape))


def message_frame(name: str, data: dict[str, Any], *, event_id: str | None = None) -> bytes:
    """Any other message: snapshot, reset, gap."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: ".encode() + _encode(data) + b"\n\n"
