"""Protobuf messages field by field: limits are checked before a parser builds objects.

64 MiB of two-byte records would become gigabytes of empty messages.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import InvalidEventError
from realm_telemetry.values.json_text import utf_8_text

M = TypeVar("M", bound=Message)

MAX_SCALARS: Final = 100_000
"""Numbers in one message that are passed over; no message that is walked has more than a dozen."""

_TRUNCATED: Final = "it ends inside a field"


def submessages(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of each length-delimited field; others are passed over.

    Raises InvalidEventError for bytes that are no protobuf message.
    """
    scalars = 0
    while position < end:
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == 2:
            size, position = _varint(data, position)
            start, position = position, position + size
            if position > end:
                raise InvalidEventError(_TRUNCATED)
            yield tag >> 3, start, position
            continue
        scalars += 1
        if scalars > MAX_SCALARS:
            raise InvalidEventError("it has too many numbers")
        if wire_type == 0:
            _, position = _varint(data, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise InvalidEventError(f"wire type {wire_type}")
    if position != end:
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
                raise InvalidEventError("a number is too long")
    except IndexError:
        raise InvalidEventError(_TRUNCATED) from None


def parse_mended(message: type[M], data: bytes) -> M:
    """Parse a message; text in it that is not UTF-8 is mended as everywhere.

    Parsers refuse a whole message for half an emoji, as some encoders write it.
    Raises DecodeError for bytes that are no such message.
    """
    try:
        return message.FromString(data)
    except DecodeError:
        try:
            mended = _mended(data, message.DESCRIPTOR, 0, [MAX_MENDED])
        except (InvalidEventError, RecursionError) as error:
            raise DecodeError(str(error)) from None
        return message.FromString(mended)


MAX_MENDED: Final = 1_000_000
"""Fields that are looked at to mend a message: a second or so of a thread."""

_MAX_NESTING: Final = 100
"""Parsers of protobuf take no more."""


def _mended(data: bytes, descriptor: Any, depth: int, left: list[int]) -> bytes:
    """Return a message with all its text as UTF-8. left: how many fields may still be read."""
    out, position = bytearray(), 0
    while position < len(data):
        tag, start, end = _field(data, position)
        left[0] -= 1
        if left[0] < 0 or depth > _MAX_NESTING:
            raise InvalidEventError("it has too many fields, or is nested too deep")
        known = descriptor.fields_by_number.get(tag >> 3) if tag & 7 == 2 else None
        content = data[start:end]
        if known is not None and known.type == FieldDescriptor.TYPE_STRING:
            content = utf_8_text(content).encode()
        elif known is not None and known.message_type is not None:
            content = _mended(content, known.message_type, depth + 1, left)
        if content != data[start:end]:
            out += _as_varint(tag) + _as_varint(len(content)) + content
        else:
            out += data[position:end]
        position = end
    return bytes(out)


def _field(data: bytes, position: int) -> tuple[int, int, int]:
    """Return the tag of the field at a position, and where its content begins and ends."""
    tag, start = _varint(data, position)
    wire_type = tag & 7
    if wire_type == 2:
        size, start = _varint(data, start)
        end = start + size
    elif wire_type == 0:
        _, end = _varint(data, start)
    elif wire_type in (1, 5):
        end = start + (8 if wire_type == 1 else 4)
    else:
        raise InvalidEventError(f"wire type {wire_type}")
    if end > len(data):
        raise InvalidEventError(_TRUNCATED)
    return tag, start, end


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


MAX_BATCH_EVENTS: Final = 512
"""What a sender puts into one batch: a few hundred KiB, one commit at the other side."""

MAX_READ_ENTRIES: Final = 50_000
"""What a reader takes in one batch: events and producers together."""

MAX_BATCH_BYTES: Final = 64 * 1024 * 1024
"""An EventBatch, uncompressed."""

MAX_ENTRY_BYTES: Final = 1024 * 1024
"""One event or producer of a batch; `emit` keeps its events below 64 KiB."""


def check_shape(data: bytes, max_bytes: int, max_entries: int) -> None:
    """Walk over a message's top-level fields before a parser builds objects from them.

    64 MiB of two-byte entries would become gigabytes of empty events.
    Raises PayloadTooLargeError for too many or too large entries, InvalidEventError for bytes
    that are not a protobuf message.
    """
    if len(data) > max_bytes:
        raise PayloadTooLargeError(f"the batch has {len(data):,} bytes, the limit is {max_bytes:,}")
    entries = 0
    try:
        for _, start, end in submessages(data, 0, len(data)):
            entries += 1
            if entries > max_entries or end - start > MAX_ENTRY_BYTES:
                raise _too_large(entries, end - start, max_entries)
    except InvalidEventError as error:
        raise InvalidEventError(f"the body is not an EventBatch: {error}") from None


def _too_large(entries: int, size: int, max_entries: int) -> PayloadTooLargeError:
    if entries > max_entries:
        return PayloadTooLargeError(f"the batch has more than {max_entries:,} entries")
    return PayloadTooLargeError(
        f"entry {entries} of the batch has {size:,} bytes, the limit is {MAX_ENTRY_BYTES:,}"
    )
