"""How long another server asks to be left alone."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_S: Final = 3600.0


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Read Retry-After, seconds or an HTTP date (RFC 9110, 10.2.3); None if it is neither.

    At least 0 and at most an hour: another machine's mistake must not stop this one for days.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        wait_s = float(text[:10])
    else:
        try:
            moment = parsedate_to_datetime(text)
            wait_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
