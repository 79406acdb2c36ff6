"""Requests of ours that the HTTP library does not log.

Where a program exports its logging through an exporter of ours, each request would bring forth the
record that needs the next one; and an address may be a secret.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


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
