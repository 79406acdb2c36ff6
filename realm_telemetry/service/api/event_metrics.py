"""Metrics made of events, as /metrics shows them."""

from collections.abc import Iterator, Mapping
from itertools import accumulate

from realm_telemetry.folds.metrics import (
    OVERFLOW,
    Distribution,
    Latest,
    Metrics,
    Point,
    Series,
)
from realm_telemetry.folds.metrics.instruments import label_name, prometheus_name
from realm_telemetry.service.api.exposition import Metric, Sample

EVENTS = "realm.events"

Counted = tuple[str, str, str]
"""Channel, kind and severity."""


def event_counter(series: Series, totals: Mapping[Counted, int]) -> Metric:
    """The counter of events: numbers out of the log's own totals, places as they were given.

    totals: what the log has ever stored. It is ahead of the fold by what the tail has not read,
    and by what left the log before it was first folded.
    """
    own = {key: totals[key] for key in series.points if key in totals}  # type: ignore[index]
    further = [key for key in sorted(totals) if key not in own]
    room = max(series.places - len(own), 0)
    own |= {key: totals[key] for key in further[:room]}
    samples = [Sample(labels(series, key), count) for key, count in own.items()]
    if further[room:]:
        rest = sum(totals[key] for key in further[room:])
        samples.append(Sample(labels(series, None), rest))
    return _metric(series, samples)


def event_metrics(metrics: Metrics, now_ns: int) -> Iterator[Metric]:
    """All others; gauges that no event has moved for long are left out."""
    for series in metrics:
        if series.instrument.name != EVENTS:
            samples = [
                sample
                for key, point in series
                if not _is_stale(series, point, now_ns)
                for sample in _samples(labels(series, key), point)
            ]
            yield _metric(series, samples)


def labels(series: Series, key: tuple[str | None, ...] | None) -> dict[str, str]:
    """The labels of a series."""
    named = series.attributes(key)
    return {label_name(name): "true" if name == OVERFLOW else str(named[name]) for name in named}


def _metric(series: Series, samples: list[Sample]) -> Metric:
    instrument = series.instrument
    return Metric(prometheus_name(instrument), instrument.shown_as, instrument.description, samples)


def _is_stale(series: Series, point: Point, now_ns: int) -> bool:
    age_ns = now_ns - point.time_unix_nano if isinstance(point, Latest) else 0
    return age_ns > series.instrument.fresh_ns


def _samples(named: dict[str, str], point: Point) -> Iterator[Sample]:
    if not isinstance(point, Distribution):
        yield Sample(named, point.value)
        return
    bounds = [*(f"{bound:g}" for bound in point.bounds), "+Inf"]
    for bound, count in zip(bounds, accumulate(point.buckets), strict=True):
        yield Sample(named | {"le": bound}, count, "_bucket")
    yield Sample(named, point.sum, "_sum")
    yield Sample(named, point.count, "_count")
