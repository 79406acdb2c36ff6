"""Times as people write them in a query."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from realm_telemetry.values.times import number_ns

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO: Final = re.compile(r"(\d{1,9})\s*([smhdw])(?:\s+ago)?")
_NUMBER: Final = re.compile(r"-?\d{5,19}(?:\.\d{1,9})?", re.ASCII)
_MAX_SECONDS: Final = 99_999_999_999
_DAY: Final = re.compile(r"\d{8}", re.ASCII)
_LOST_PLUS: Final = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$")
_FRACTION: Final = re.compile(r"[.,](\d{1,9})\d*")

TIME_HINT: Final = (
    "Write 15m, 24h or 7d ago, 2025-11-29, 2025-11-29T10:00:00Z or seconds since 1970"
)


def parse_time(text: str, now_ns: int) -> int:
    """Read a time as nanoseconds since 1970.

    text: ISO 8601 with or without a zone (then UTC, as the log writes it), a date (its start, UTC),
        an age (`15m`, `24h`, `7d`, with or without ` ago`), seconds since 1970 (or milliseconds,
        microseconds, nanoseconds: as in `values.times`), or `now`.
    Raises ValueError; TIME_HINT says what is understood.
    """
    text = text.strip()
    if text.lower() == "now":
        return now_ns
    if ago := _AGO.fullmatch(text.lower()):
        return now_ns - int(ago[1]) * _UNITS_S[ago[2]] * 1_000_000_000
    if _NUMBER.fullmatch(text):
        return _from_number(text)
    return _from_iso(text)


def _from_number(text: str) -> int:
    """Read a number of any unit that gives a plausible time; any other is a day or seconds."""
    nanos = number_ns(Decimal(text))
    if nanos is not None:
        return nanos
    if _DAY.fullmatch(text):
        try:
            return _from_iso(f"{text[:4]}-{text[4:6]}-{text[6:]}")
        except ValueError:
            pass
    if abs(Decimal(text)) > _MAX_SECONDS:
        raise ValueError(f"{text} is no time in any unit")
    whole, _, fraction = text.lstrip("-").partition(".")
    value = int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    return -value if text.startswith("-") else value


def _from_iso(text: str) -> int:
    # The plus of `+01:00` arrives as a space when a URL was not encoded.
    text = _LOST_PLUS.sub(r"\1+\2", text)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        moment = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        return round(moment.timestamp()) * 1_000_000_000
    fraction = _FRACTION.search(text)
    moment = datetime.fromisoformat(_FRACTION.sub("", text))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    nanos = int(fraction[1].ljust(9, "0")) if fraction else 0
    return round(moment.timestamp()) * 1_000_000_000 + nanos
