"""The accident of every campaign: a worker is killed in the middle of a job."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from realm_telemetry.demo.campaign import Campaign
from realm_telemetry.demo.children import Child
from realm_telemetry.demo.jobs import SKILLS

AFTER_RESULTS: Final = 3


class Incident:
    """Kills one worker with SIGKILL, once, when it is half-way through a job.

    So its last events have to survive in its spool, somebody has to notice that it is gone, and
    the other worker has to do its job.
    """

    def __init__(
        self,
        campaign: Campaign,
        workers: Mapping[str, Child],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = campaign.queue
        self._half_s = campaign.plan.seconds_per_skill * SKILLS / 2
        self._workers = workers
        self._clock = clock
        self._claimed_at_s: dict[Path, float] = {}
        self.victim: str | None = None

    def step(self) -> None:
        """Look at the claims; to be called often."""
        if self.victim is not None or len(self._queue.results()) < AFTER_RESULTS:
            return
        now_s = self._clock()
        for worker_id, paths in self._queue.claims().items():
            for path in paths:
                if now_s - self._claimed_at_s.setdefault(path, now_s) >= self._half_s:
                    self._kill(worker_id)
                    return

    def _kill(self, worker_id: str) -> None:
        self.victim = worker_id
        self._workers[worker_id].kill()
