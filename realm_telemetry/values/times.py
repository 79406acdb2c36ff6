"""Times that other software wrote: one rule for all doors.

A number is taken for the seconds, milliseconds, microseconds or nanoseconds since 1970 that give
a time from 2000 to 2262, where the log's clock ends; those ranges do not overlap. A text is ISO
8601 or such a number. What gives no time in that span is refused: shown as another time it would
be the newest or the oldest event for ever.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from realm_telemetry.event import InvalidEventError

EARLIEST_NS: Final = 946_684_800 * 1_000_000_000
"""2000-01-01T00:00:00Z"""
LATEST_NS: Final = 2**63 - 1
"""2262-04-11T23:47:16.854775807Z"""

_UNITS_NS: Final = (1_000_000_000, 1_000_000, 1_000, 1)
_MAX_CHARS: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS: Final = re.compile(r"[+-]?\d+(?:\.\d*)?(?:E[+-]?\d+)?", re.ASCII)
_DAY: Final = re.compile(r"\d{8}", re.ASCII)
_FRACTION: Final = re.compile(r"(?<=\d)[.,](\d{1,9})\d*", re.ASCII)
_NAMED_UTC: Final = re.compile(r"\s*(?:UTC|GMT)$")
_SPACE_BEFORE_ZONE: Final = re.compile(r"\s+([+-]\d\d:?\d\d)$", re.ASCII)

MINUTE_S: Final = 60
_SPOKEN: Final = ((86_400, "d"), (3_600, "h"), (MINUTE_S, "min"), (1, "s"))

ToZone = Callable[[datetime], datetime]
"""Gives a time without a zone its zone."""


def in_words(seconds: float) -> str:
    """Return a span of time in its two largest units: 45 s, 9 min 20 s, 2 h, 3 d 4 h."""
    left = round(seconds)
    at = next((at for at, (unit_s, _) in enumerate(_SPOKEN) if left >= unit_s), len(_SPOKEN) - 1)
    parts: list[str] = []
    for unit_s, unit in _SPOKEN[at : at + 2]:
        count, left = divmod(left, unit_s)
        if count or not parts:
            parts.append(f"{count:,} {unit}")
    return " ".join(parts)


def number_ns(number: float | Decimal) -> int | None:
    """Return the nanoseconds since 1970 that a number of any unit means, None if none fits."""
    if not 0 < number <= LATEST_NS:  # not so for NaN either
        return None
    if isinstance(number, float):
        number = Decimal(repr(number))  # the digits that were written
    for unit_ns in _UNITS_NS:
        if EARLIEST_NS <= (nanos := int(number * unit_ns)) <= LATEST_NS:
            return nanos
    return None


def read_time(value: Any, name: str, to_zone: ToZone | None = None) -> int:
    """Return the nanoseconds since 1970 of a number or a text.

    name: of the field, for errors. to_zone: None refuses a text without a zone.
    Raises InvalidEventError.
    """
    nanos = None
    if isinstance(value, str):
        nanos = _from_text(value.strip()[: _MAX_CHARS + 1].upper(), name, to_zone)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        nanos = number_ns(value)
    if nanos is None:
        raise InvalidEventError(
            f"{name}: {str(value)[:40] if _is_short(value) else 'a huge number'!r} is no time from"
            " 2000 to 2262; it must be ISO 8601, or seconds, milliseconds, microseconds or"
            " nanoseconds since 1970"
        )
    return nanos


def _is_short(value: Any) -> bool:
    # Python refuses to write an integer of over 4,300 digits.
    return not isinstance(value, int) or value.bit_length() < 1_000


def _from_text(text: str, name: str, to_zone: ToZone | None) -> int | None:
    if len(text) > _MAX_CHARS:
        return None
    if _DIGITS.fullmatch(text):
        nanos = number_ns(_decimal(text))
        if nanos is not None or not _DAY.fullmatch(text):
            return nanos
    try:
        return _from_iso(text, name, to_zone)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidEventError):
            raise
        return None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(0)


def _from_iso(text: str, name: str, to_zone: ToZone | None) -> int | None:
    text = _SPACE_BEFORE_ZONE.sub(r"\1", _NAMED_UTC.sub("Z", text))
    fraction = _FRACTION.search(text)
    moment = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
    if moment.tzinfo is None:
        if to_zone is None:
            raise InvalidEventError(
                f"{name} must be ISO 8601 with its zone (2025-11-29T00:00:00Z), got {text!r}"
            )
        moment = to_zone(moment)
    since = moment - _EPOCH
    nanos = (since.days * 86_400 + since.seconds) * 1_000_000_000
    nanos += int(fraction[1].ljust(9, "0")) if fraction else 0
    return nanos if EARLIEST_NS <= nanos <= LATEST_NS else None
