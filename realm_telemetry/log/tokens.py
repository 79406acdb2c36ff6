"""Page tokens: opaque to callers, a position and the state of the log that is paged through.

The parameter of the HTTP API is called `cursor`.
"""

import base64
import binascii
from typing import NamedTuple

import msgspec

from realm_telemetry.log.filters import InvalidFilterError
from realm_telemetry.log.runs import Place


class Position(NamedTuple):
    """A place in history's order; a page holds what lies strictly below."""

    time_unix_nano: int
    cursor: int


NEWEST = Position(2**63 - 1, 2**63 - 1)


def encode_token(position: Position, as_of: int) -> str:
    """Write a page token: URL-safe, without padding."""
    packed = msgspec.msgpack.encode((*position, as_of))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def encode_place(place: Place) -> str:
    """Write where a page of runs ended."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).rstrip(b"=").decode()


def decode_place(token: str) -> Place:
    """Read where a page of runs ended. Raises InvalidFilterError."""
    try:
        started, run_id = msgspec.msgpack.decode(_packed(token), type=tuple[int, str])
        if not -(2**63) <= started < 2**63:
            raise ValueError
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _no_token(token) from None
    return started, run_id


def _packed(token: str) -> bytes:
    return base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)


def _no_token(token: str) -> InvalidFilterError:
    hint = "Pass on the cursor of the page before as it is, or leave it out for the first page"
    return InvalidFilterError("cursor", f"{token[:40]!r} is not a page's cursor", hint)


def decode_token(token: str) -> tuple[Position, int]:
    """Read a page token. Raises InvalidFilterError."""
    try:
        time_unix_nano, cursor, as_of = msgspec.msgpack.decode(
            _packed(token), type=tuple[int, int, int]
        )
        if not all(-(2**63) <= value < 2**63 for value in (time_unix_nano, cursor, as_of)):
            raise ValueError
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _no_token(token) from None
    return Position(time_unix_nano, cursor), as_of
