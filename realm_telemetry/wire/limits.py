"""Limits of the wire format, checked before a body costs more memory than it has bytes."""

from typing import Final

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import InvalidEventError

MAX_BATCH_EVENTS: Final = 512
"""What a sender puts into one batch: a few hundred KiB, one commit at the other side."""

MAX_READ_ENTRIES: Final = 50_000
"""What a reader takes in one batch: events and producers together."""

MAX_BATCH_BYTES: Final = 64 * 1024 * 1024
"""An EventBatch, uncompressed."""

MAX_ENTRY_BYTES: Final = 1024 * 1024
"""One event or producer of a batch; `emit` keeps its events below 64 KiB."""

_TRUNCATED: Final = "the body is not an EventBatch: it ends inside a field"


def check_shape(data: bytes, max_bytes: int, max_entries: int) -> None:
    """Walk over a message's top-level fields before a parser builds objects from them.

    64 MiB of two-byte entries would become gigabytes of empty events.
    Raises PayloadTooLargeError for too many or too large entries, InvalidEventError for bytes
    that are not a protobuf message.
    """
    if len(data) > max_bytes:
        raise PayloadTooLargeError(f"the batch has {len(data):,} bytes, the limit is {max_bytes:,}")
    position = entries = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == 2:
            size, position = _varint(data, position)
            entries += 1
            if entries > max_entries or size > MAX_ENTRY_BYTES:
                raise _too_large(entries, size, max_entries)
            position += size
        elif wire_type == 0:
            _, position = _varint(data, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise InvalidEventError(f"the body is not an EventBatch: wire type {wire_type}")
    if position != len(data):
        raise InvalidEventError(_TRUNCATED)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > 63:
                raise InvalidEventError("the body is not an EventBatch: a number is too long")
    except IndexError:
        raise InvalidEventError(_TRUNCATED) from None


def _too_large(entries: int, size: int, max_entries: int) -> PayloadTooLargeError:
    if entries > max_entries:
        return PayloadTooLargeError(f"the batch has more than {max_entries:,} entries")
    return PayloadTooLargeError(
        f"entry {entries} of the batch has {size:,} bytes, the limit is {MAX_ENTRY_BYTES:,}"
    )
