"""Times as older callers give them."""

import time
from datetime import UTC, datetime
from typing import Final

from realm_telemetry.log.times import parse_time
from realm_telemetry.older_shapes import to_unix_nano

_LATEST: Final = 2**63 - 1 - 1_000
"""Times are 64-bit numbers in the log; a reader may ask for the microsecond after."""

Moment = str | float | datetime
"""ISO 8601 text, seconds since 1970, or a datetime."""


def moment_ns(given: Moment | None, *, utc: bool = False) -> int | None:
    """Return a time in nanoseconds, None as it is; without a zone it is local, or with utc UTC.

    A text may also be any of what `realm query --since` takes. Raises ValueError.
    """
    return None if given is None else min(max(_ns(given, utc), -(2**63)), _LATEST)


def _ns(given: Moment, utc: bool) -> int:
    if isinstance(given, int | float):
        return int(given * 1_000_000_000)
    moment = given if isinstance(given, datetime) else _moment_of(given)
    if moment is None:
        return parse_time(str(given), time.time_ns())
    if utc and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return to_unix_nano(moment)


def _moment_of(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
