"""What every HTTP sender shares: what a receiver's answer means, and quiet requests."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


class _NotOurs(logging.Filter):
    """Drops what this thread's own requests log."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.ours, "active", False)


_NOT_OURS: Final = _NotOurs()
for _name in (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.proxy",
    "urllib3.connectionpool",
    "urllib3.util.retry",
):
    logging.getLogger(_name).addFilter(_NOT_OURS)


@contextmanager
def unlogged() -> Iterator[None]:
    """Log nothing of the requests that this thread makes inside."""
    _NOT_OURS.ours.active = True
    try:
        yield
    finally:
        _NOT_OURS.ours.active = False
