"""Times as older callers give them."""

import time
from datetime import UTC, datetime

from realm_telemetry.log.times import parse_time
from realm_telemetry.older_shapes import to_unix_nano

Moment = str | float | datetime
"""ISO 8601 text, seconds since 1970, or a datetime."""


def moment_ns(given: Moment | None, *, utc: bool = False) -> int | None:
    """Return a time in nanoseconds, None as it is; without a zone it is local, or with utc UTC.

    A text may also be any of what `realm query --since` takes. Raises ValueError.
    """
    if given is None:
        return None
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
