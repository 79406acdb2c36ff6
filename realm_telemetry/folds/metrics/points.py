"""What a series holds: a count, the latest value, or a distribution."""

import math
from bisect import bisect_left

import msgspec

from realm_telemetry.folds.metrics.instruments import Instrument

Stamp = tuple[int, str, int]
"""An event's time, producer and number: of two values the one with the greater stamp is later."""


class Count(msgspec.Struct, tag="c", array_like=True):
    """How many events there were."""

    value: int = 0

    def add(self, value: float, stamp: Stamp) -> bool:
        """Count an event."""
        self.value += 1
        return True


class Latest(msgspec.Struct, tag="l", array_like=True):
    """The value of the latest event, by its own time: late ones change nothing."""

    value: float = 0.0
    stamp: Stamp = (-(2**63), "", 0)

    @property
    def time_unix_nano(self) -> int:
        """When the event happened."""
        return self.stamp[0]

    def add(self, value: float, stamp: Stamp) -> bool:
        """Take a value if it is later; whether it was."""
        if stamp <= self.stamp:
            return False
        self.value, self.stamp = value, stamp
        return True


class Distribution(msgspec.Struct, tag="d", array_like=True):
    """A histogram. buckets: one more than there are bounds; not cumulated."""

    bounds: tuple[float, ...]
    buckets: list[int]
    count: int = 0
    sum: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, value: float, stamp: Stamp) -> bool:
        """Add a value that the instrument takes."""
        # A bound belongs to the bucket below, in OTLP (https://opentelemetry.io/docs/specs/otel/
        # metrics/data-model/#histogram) as in Prometheus' `le`.
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.count += 1
        self.sum += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)
        return True


Point = Count | Latest | Distribution


def new_point(instrument: Instrument) -> Point:
    """An empty point of an instrument's sort."""
    if instrument.kind == "counter":
        return Count()
    if instrument.kind == "gauge":
        return Latest()
    return Distribution(instrument.bounds, [0] * (len(instrument.bounds) + 1))
