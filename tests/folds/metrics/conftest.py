"""Events to measure."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.metrics import Definition, Metrics, Series
from realm_telemetry.kinds.catalog import resolve

Made = Callable[..., Event]

START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000


@pytest.fixture
def make() -> Made:
    """Makes events of one producer, a second apart."""
    numbers = itertools.count(1)

    def event(kind: str, **fields: Any) -> Event:
        number = next(numbers)
        channel, severity = resolve(kind)
        given: dict[str, Any] = {
            "kind": kind,
            "channel": channel,
            "severity": severity,
            "message": kind,
            "details": {},
            "time_unix_nano": START_NS + number * SECOND_NS,
            "producer": "00000000000000aa",
            "number": number,
        }
        return Event(**(given | fields))

    return event


def folded(events: list[Event], definition: Definition | None = None) -> Metrics:
    """Metrics of events with the cursors 1, 2, 3 ..."""
    metrics = Metrics(definition or Definition())
    for cursor, event in enumerate(events, 1):
        metrics.apply(event, cursor)
    return metrics


def shown(series: Series) -> Iterator[tuple[dict[str, str | bool], Any]]:
    """Each series with its attributes and its value or count."""
    for key, point in series:
        yield series.attributes(key), getattr(point, "value", getattr(point, "count", None))
