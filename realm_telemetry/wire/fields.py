"""Protobuf messages taken apart field by field, before a parser builds objects from them.

64 MiB of two-byte records would become gigabytes of empty messages.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from typing import Final

from realm_telemetry.event import InvalidEventError

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
