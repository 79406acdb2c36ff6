"""The series of one instrument, of which there is a bounded number."""

from collections.abc import Iterator
from typing import Final

from realm_telemetry.folds.metrics.instruments import Instrument
from realm_telemetry.folds.metrics.keys import Key
from realm_telemetry.folds.metrics.points import Latest, Point, Stamp, new_point

MAX_SERIES: Final = 500
"""Series of one metric, the overflow series among them."""

OVERFLOW: Final = "otel.metric.overflow"
"""Attribute of the series that takes what finds no place.

Source: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute
"""

FRESH_NS: Final = 3_600_000_000_000
"""A gauge whose last event is older is no longer shown, and gives its place to a new one."""


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
        if time_unix_nano - oldest_ns <= FRESH_NS:
            return False
        del self.points[key]
        self.changed.discard(key)
        return True
