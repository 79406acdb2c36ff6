"""How many values a message of OTLP holds, counted before a parser builds objects from them."""

from collections.abc import Mapping
from typing import Final

from realm_telemetry.wire.fields import submessages

Layout = Mapping[int, "Layout"]
"""Which fields of a message are messages, and their layouts."""

_ANY_VALUE: Final[dict[int, Layout]] = {}
_KEY_VALUE: Final[Layout] = {2: _ANY_VALUE}
_ANY_VALUE.update({5: {1: _ANY_VALUE}, 6: {1: _KEY_VALUE}})

RESOURCE: Final[Layout] = {1: _KEY_VALUE}
SCOPE: Final[Layout] = {3: _KEY_VALUE}
LOG_RECORD: Final[Layout] = {5: _ANY_VALUE, 6: _KEY_VALUE}
SPAN: Final[Layout] = {9: _KEY_VALUE, 11: {3: _KEY_VALUE}, 13: {4: _KEY_VALUE}}


def has_more_values(data: bytes, layout: Layout, most: int) -> bool:
    """Whether a message holds more than `most` length-delimited fields, at any depth."""
    seen = 0
    waiting = [(layout, 0, len(data))]
    while waiting:
        inner, start, end = waiting.pop()
        for number, first, last in submessages(data, start, end):
            seen += 1
            if seen > most:
                return True
            if number in inner:
                waiting.append((inner[number], first, last))
    return False
