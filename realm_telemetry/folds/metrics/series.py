"""Series: the values of one instrument by the attributes of the events, in a bounded number."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import Stamp, lowered
from realm_telemetry.folds.metrics.instruments import FIELDS, Attribute, Instrument
from realm_telemetry.values.paths import find

MAX_TEXT: Final = 128

_WORDS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_BEYOND_FLOATS: Final = 2**1023

Key = tuple[str | None, ...]
"""Values of an instrument's attributes, in order; None for one that the event does not have."""


def key_reader(attributes: tuple[Attribute, ...]) -> Callable[[Event], Key]:
    """What reads a key out of an event."""
    fields = [each.source for each in attributes if each.source in FIELDS]
    if len(fields) == len(attributes):
        # Most of them, and for every event: fields are text or None already.
        return lambda event: tuple([_short(getattr(event, name)) for name in fields])
    sources = [(each.source in FIELDS, each.source) for each in attributes]
    return lambda event: tuple(
        [
            _short(getattr(event, name)) if is_field else attribute_text(find(event.details, name))
            for is_field, name in sources
        ]
    )


def attribute_text(value: Any) -> str | None:
    """A detail as an attribute's value; None if there is none, or no plain one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return _short(str(value))
    return None


def number(value: Any) -> float | None:
    """A detail as a number; NaN and infinities are text there. None for what is no number.

    A row of an older log, or a peer, may have an integer beyond all floats: that is none either.
    """
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]  # it is a float
    if kind is int:
        return float(value) if abs(value) < _BEYOND_FLOATS else None
    return _WORDS.get(value) if kind is str else None


def _short(text: str | None) -> str | None:
    """At most 128 characters; to Prometheus an empty label is the same as none."""
    return text[:MAX_TEXT] if text else None


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
        return int(self.stamp[0])

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


MAX_SERIES: Final = 500
"""Series of one metric, the overflow series among them."""

OVERFLOW: Final = "otel.metric.overflow"
"""Attribute of the series that takes what finds no place.

Source: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute
"""


class Series:
    """All series of an instrument.

    points: by attribute values; those that came first keep their places, of which there are
        `places`.
    changed: the keys that changed since it was last emptied; None is the overflow series.
    """

    def __init__(self, instrument: Instrument, max_series: int = MAX_SERIES) -> None:
        self.instrument = instrument
        self.points: dict[Key, Point] = {}
        self.overflow: Point | None = None
        self.changed: set[Key | None] = set()
        self.places = max_series - 1

    def add(self, key: Key, value: float, stamp: Stamp) -> None:
        """Add an event's value to the series of its attributes."""
        point = self.points.get(key)
        if point is None and self._has_place(stamp[0]):
            point = self.points[key] = new_point(self.instrument)
        if point is not None:
            if point.add(value, stamp):
                self.changed.add(key)
            return
        self.overflow = self.overflow or new_point(self.instrument)
        if self.overflow.add(value, stamp):
            self.changed.add(None)

    def set_back(self, arrival_unix_nano: int) -> None:
        """Lower all stamps, because the log's clock was ahead until then."""
        for _, point in self:
            if isinstance(point, Latest):
                point.stamp = lowered(point.stamp, arrival_unix_nano)

    def attributes(self, key: Key | None) -> dict[str, str | bool]:
        """The attributes of a series; without those that its events do not have."""
        if key is None:
            return {OVERFLOW: True}
        named = zip(self.instrument.attributes, key, strict=True)
        return {attribute.name: value for attribute, value in named if value is not None}

    def __iter__(self) -> Iterator[tuple[Key | None, Point]]:
        """Every series, the overflow last."""
        yield from self.points.items()
        if self.overflow is not None:
            yield None, self.overflow

    def _has_place(self, time_unix_nano: int) -> bool:
        if len(self.points) < self.places:
            return True
        if self.instrument.kind != "gauge" or not self.points:
            return False
        key, oldest_ns = min(
            (
                (key, point.time_unix_nano)
                for key, point in self.points.items()
                if isinstance(point, Latest)
            ),
            key=lambda found: found[1],
        )
        if time_unix_nano - oldest_ns <= self.instrument.fresh_ns:
            return False
        del self.points[key]
        self.changed.discard(key)
        return True
