"""Frames, the entries of a spool: how an event's bytes are laid out and checked.

A frame is a 17 byte header and a payload, little endian:

    length u32 | crc32 u32 | format u8 | number u64 | payload

The crc covers the payload and is seeded with format and number, so that a frame found by
scanning proves its own number. Length 0 is the end of what has been written.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec

from realm_telemetry.event import Event

FORMAT_EVENT: Final = 1
FORMAT_OTLP: Final = 2
FORMAT_CONTROL: Final = 3
FORMATS: Final = (FORMAT_EVENT, FORMAT_OTLP, FORMAT_CONTROL)

HEADER = struct.Struct("<IIBQ")
HEADER_BYTES: Final = HEADER.size
MAX_PAYLOAD_BYTES: Final = 1 << 20
"""No frame is longer; a greater length is corruption."""


class Frame(NamedTuple):
    """One entry of a spool.

    number: of an event, its number; of a control frame, the last number before it.
    position: where reading goes on after it; a token for `SpoolReader.acknowledge`.
    """

    format: int
    number: int
    payload: bytes
    position: tuple[int, int]


class EventPayload(msgspec.Struct, array_like=True, gc=False):
    """An event's payload: an array, its rarer fields at the end and left out when unset."""

    time_unix_nano: int
    kind: str
    channel: str
    severity: str
    message: str
    details: dict[str, Any]
    hero_id: str | None = None
    campaign_id: str | None = None
    run_id: str | None = None
    source: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    trace_flags: int = 0
    webhooks: tuple[str, ...] = ()


CRC_SEED_PRIME: Final = 0xFFFF_FFFB
"""The largest prime of 32 bits: format and number, modulo it, are where the crc begins."""

pack_header: Callable[[int, int, int, int], bytes] = HEADER.pack
encode_msgpack = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.msgpack.Decoder(EventPayload).decode
_decode_control = msgspec.msgpack.Decoder(dict[str, Any]).decode

UNDECODABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What decoding a payload raises whose checksum is right: not text, too deep, another shape."""


def encode_frame(format_: int, number: int, payload: bytes) -> bytes:
    """Lay out one frame."""
    return pack_header(len(payload), _crc(format_, number, payload), format_, number) + payload


def parse_frame(buffer: Any, position: int, end: int) -> tuple[int, int, bytes] | None:
    """Read the frame at a position as (format, number, payload).

    buffer: anything that slices to bytes, an mmap for one.
    None where no whole and valid frame stands before `end`.
    """
    if position + HEADER_BYTES > end:
        return None
    length, crc, format_, number = HEADER.unpack_from(buffer, position)
    stop = position + HEADER_BYTES + length
    if not 0 < length <= MAX_PAYLOAD_BYTES or stop > end or format_ not in FORMATS:
        return None
    payload = bytes(buffer[position + HEADER_BYTES : stop])
    if _crc(format_, number, payload) != crc:
        return None
    return format_, number, payload


def decode_event(payload: bytes, producer: str, number: int) -> Event:
    """Decode the payload of an event frame.

    Raises one of UNDECODABLE for bytes that are not one.
    """
    fields = _decode_event(payload)
    return Event(
        fields.kind,
        fields.channel,
        fields.severity,
        fields.message,
        fields.details,
        fields.time_unix_nano,
        producer,
        number,
        fields.hero_id,
        fields.campaign_id,
        fields.run_id,
        fields.source,
        fields.trace_id,
        fields.span_id,
        fields.trace_flags,
        fields.webhooks,
    )


def decode_control(payload: bytes) -> dict[str, Any]:
    """Decode the payload of a control frame: a map with a `type`."""
    return _decode_control(payload)


def _crc(format_: int, number: int, payload: bytes) -> int:
    return crc32(payload, (number << 2 | format_) % CRC_SEED_PRIME)
