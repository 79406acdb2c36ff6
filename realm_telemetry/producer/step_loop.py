"""A loop over batches that counts its steps: how fast it goes, and whether data or compute is slow.

    for batch in realm.steps(loader, every=10):
        loss = train_on(batch)

Nothing is read of a batch, and no device is waited for.
"""

import os
from collections.abc import Iterable, Iterator, Sized
from time import time_ns
from typing import Any, Final, Generic, TypeVar

from realm_telemetry.errors import mistake, warn_once
from realm_telemetry.event import InvalidEventError
from realm_telemetry.producer import emission, runs
from realm_telemetry.producer.steps import counting, log, next_step, set_up_unless_done
from realm_telemetry.values.clock import monotonic
from realm_telemetry.values.conversions import to_json_value

RATE_VARIABLE: Final = "REALM_STEP_EVENTS_PER_S"
DEFAULT_RATE: Final = 10.0
_SHARE_OF_LAST: Final = 0.1
"""The part of the rate that is kept for the last step of a loop."""

Item = TypeVar("Item")


class StepLimit:
    """Says which counted steps become events: at most so many a second.

    Values that somebody logged are not counted steps, and do not come here.
    per_s: without it the variable `REALM_STEP_EVENTS_PER_S`, or 10; 0: none.
    """

    def __init__(self, per_s: float | None = None) -> None:
        rate = _rate() if per_s is None else max(per_s, 0.0)
        self._gap_s = 1 / (rate * (1 - _SHARE_OF_LAST)) if rate else float("inf")
        self._gap_of_last_s = 1 / (rate * _SHARE_OF_LAST) if rate else float("inf")
        self._next_s = self._next_last_s = monotonic() if rate else float("inf")

    def passes(self) -> bool:
        """Whether a step may be an event now; it counts as one then."""
        now_s = monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._gap_s
        return True

    def passes_last(self) -> bool:
        """Whether the last step of a loop may be an event; most are, at the default once a second.

        A tenth of the rate is theirs, so that the end is seen of loops that are fast, too.
        """
        now_s = monotonic()
        if now_s < self._next_last_s:
            return self.passes()
        self._next_last_s = now_s + self._gap_of_last_s
        return True


def _rate() -> float:
    text = os.environ.get(RATE_VARIABLE, "")
    try:
        rate = float(text) if text else DEFAULT_RATE
    except ValueError:
        rate = -1.0
    if 0 <= rate < float("inf"):
        return rate
    warn_once(RATE_VARIABLE, f"{RATE_VARIABLE} needs a number from 0 up, got {text!r}; it is 10")
    return DEFAULT_RATE


class _Counted:
    """The limit of this process, and the newest step that loops counted of a run."""

    limit: StepLimit | None = None
    run: object = None
    step = 0


class Steps(Generic[Item]):
    """The items of an iterable, untouched and in order, counted as the steps of a training.

    See `steps`, which makes it.
    """

    def __init__(self, items: Iterable[Item], every: int, first: int | None) -> None:
        self._items, self._every, self._first = items, every, first

    def __len__(self) -> int:
        """How many items there are. Raises TypeError where the iterable does not know."""
        if not isinstance(self._items, Sized):
            raise TypeError(f"object of type {type(self._items).__name__!r} has no len()")
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """Go over the items; each is a step that is done when the next one is asked for."""
        set_up_unless_done()
        runs.begin_unless_open()
        outer = getattr(counting, "step", None)
        window = _Window(self._first if self._first is not None else _first(), self._every)
        try:
            for item in window.timed(iter(self._items)):
                counting.step = window.step
                yield item
                window.done()
        finally:
            counting.step = outer
            window.close()


class _Window:
    """The steps since the last event: how many, and the seconds that went into data and compute.

    step: the one that is being done.
    """

    def __init__(self, first: int, every: int) -> None:
        self.step, self._every = first, every
        self._last = first - 1
        self._begin_s = self._asked_s = monotonic()
        self._data_s = 0.0
        self._steps = 0

    def timed(self, source: Iterator[Item]) -> Iterator[Item]:
        """The items, the waiting for each counted as time for data."""
        while True:
            self._asked_s = monotonic()
            try:
                item = next(source)
            except StopIteration:
                return
            self._data_s += monotonic() - self._asked_s
            yield item

    def done(self) -> None:
        """Count the step, and record it if enough of them are done."""
        self._last = self.step
        self._steps += 1
        self.step += 1
        _Counted.run, _Counted.step = emission.run, self._last
        runs.show_step(self._last, time_ns())
        if self._steps >= self._every and _limit().passes():
            self._record(monotonic())

    def close(self) -> None:
        """Record the steps that no event has shown."""
        if self._steps and _limit().passes_last():
            # After the last item only data were waited for, and there were none.
            self._record(self._asked_s)

    def _record(self, now_s: float) -> None:
        seconds = max(now_s - self._begin_s, 1e-9)
        data = min(self._data_s / seconds, 1.0)
        log(
            {
                "steps_per_second": round(self._steps / seconds, 4),
                "data_share": round(data, 4),
                "compute_share": round(1 - data, 4),
            },
            step=self._last,
        )
        self._begin_s, self._data_s, self._steps = now_s, 0.0, 0


def _limit() -> StepLimit:
    if _Counted.limit is None:
        _Counted.limit = StepLimit()
    return _Counted.limit


def _first() -> int:
    """The step after the last one of this run, whether it was an event or only counted."""
    counted = _Counted.step + 1 if _Counted.run is emission.run else 1
    return max(next_step(), counted)


def _whole(first: Any) -> int | None:
    """The whole number that a value stands for, as NumPy's do; None if it stands for none."""
    shown = to_json_value(first)
    if type(shown) is int:
        return shown
    mistake(InvalidEventError(f"steps() needs a whole number for first, got {shown!r}"))
    return None


def steps(items: Iterable[Item], every: int = 10, first: int | None = None) -> Steps[Item]:
    """Go over batches, and record how the training gets on; returns an iterable of the same items.

    Every so many steps there is a `training_step` with `steps_per_second`, and `data_share` and
    `compute_share`: the parts of the time that went into waiting for the next item, and into the
    body of the loop. At most ten of them are recorded a second. A device that computes beside the
    program is not waited for, so its time shows where the program waits for it.
    `realm.log` without a step belongs to the step that the loop is at.
    items: a data loader, or any iterable; what it raises is passed on.
    every: steps, from 1.
    first: the number of the first step; else the one after the last step of the run, from 1.
    """
    if type(every) is not int or every < 1:
        shown = to_json_value(every)
        mistake(InvalidEventError(f"steps() needs a whole number from 1 for every, got {shown!r}"))
        every = 1
    if first is not None and type(first) is not int:
        first = _whole(first)
    return Steps(items, every, first)
