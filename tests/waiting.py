"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""Enough for a busy machine with a cold disk. Tests marked `alone` hold what has to be quick."""

SOON_S = 20.0
"""What has a deadline ends before this on a busy machine too; else it takes a minute or more."""


def wait_until(
    done: Callable[[], Any], timeout_s: float = PATIENCE_S, explain: Callable[[], Any] = lambda: ""
) -> None:
    """Ask again and again until it is true."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline_s, f"it did not come to pass. {explain()}"
        time.sleep(0.01)
