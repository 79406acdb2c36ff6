"""What is asked about alerts, away from all that is read and stored: receivers may be slow.

A test waits up to ten seconds for a receiver, and a look back reads the whole log. Both have
threads of their own, few may wait, and only so many messages leave in a minute.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from typing import Final, TypeVar

from realm_telemetry.service.errors import ApiError
from realm_telemetry.values.clock import monotonic

T = TypeVar("T")

THREADS: Final = 2
MAX_WAITING: Final = 4
"""Jobs at once, with those that wait for a thread; for one more there is 429."""

MAX_SENT: Final = 20
WINDOW_S: Final = 60.0
"""Tests, and messages that are sent again, in so many seconds."""


class AlertJobs:
    """Runs such jobs. For the event loop's thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="realm-telemetry-alerts")
        self._waiting = 0
        self._sent: deque[float] = deque(maxlen=MAX_SENT)

    async def run(self, job: Callable[[], T], *, sends: bool = False) -> T:
        """Run a job; sends: whether it sends a message. Raises ApiError too_many_alerts."""
        if self._waiting >= MAX_WAITING:
            raise ApiError("too_many_alerts")
        if sends:
            self._count_sent()
        self._waiting += 1
        try:
            future = self._threads.submit(job)
        except RuntimeError:
            self._waiting -= 1
            raise ApiError("shutting_down") from None
        loop = asyncio.get_running_loop()
        # Not before the job has ended: one that runs goes on when its client leaves.
        future.add_done_callback(lambda _: _on_loop(loop, self._ended))
        return await asyncio.wrap_future(future)

    def _count_sent(self) -> None:
        now_s = self._clock()
        if len(self._sent) == MAX_SENT and now_s - self._sent[0] < WINDOW_S:
            wait_s = ceil(WINDOW_S - (now_s - self._sent[0]))
            problem = f"{MAX_SENT} messages were sent by hand within {WINDOW_S:g} s."
            raise ApiError("too_many_alerts", problem, retry_after_s=wait_s)
        self._sent.append(now_s)

    def _ended(self) -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Take no further jobs, and wait for none."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended before the job
        loop.call_soon_threadsafe(call)
