"""The time between events, kept at a speed."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from realm_telemetry.transfer.formats import Exported
from realm_telemetry.transfer.source import Step

BATCH: Final = 500
LONGEST_SILENCE_S: Final = 5.0
"""A night without an event is cut to this, at any speed."""

_AT_ONCE_S: Final = 0.02


def paced(
    steps: Iterable[Step],
    speed: float | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Step]:
    """Yield the rows of some steps as batches, each when it is due.

    speed: 10.0 is ten times as fast as it was; None is as fast as can be. What is due within 20 ms
        goes together.
    """
    due_s, last_ns = clock(), None
    for step in steps:
        start = 0
        for place, row in enumerate(step.rows):
            time_ns = row.event.time_unix_nano
            if speed is not None and last_ns is not None:
                due_s += min(max(time_ns - last_ns, 0) / 1e9 / speed, LONGEST_SILENCE_S)
            last_ns = time_ns if last_ns is None else max(last_ns, time_ns)
            wait_s = due_s - clock()
            if speed is not None and wait_s > _AT_ONCE_S:
                yield from _batches(step.rows[start:place], step.share)
                start = place
                sleep(max(due_s - clock(), 0.0))
        yield from _batches(step.rows[start:], step.share)


def _batches(rows: Sequence[Exported], share: float | None) -> Iterator[Step]:
    for start in range(0, len(rows), BATCH):
        yield Step(rows[start : start + BATCH], share)
