"""The fold of metrics as OTLP messages.

Source: opentelemetry/proto/metrics/v1/metrics.proto.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from realm_exporter_otlp.encoding import SCOPE, key_values
from realm_telemetry.folds.metrics import (
    Count,
    Distribution,
    Latest,
    MachineInstrument,
    Metrics,
    Series,
)

_MAX_UNIX_NANO: Final = 2**64 - 1


def metrics_request(
    resource: Mapping[str, str], metrics: Sequence[Metric]
) -> ExportMetricsServiceRequest:
    """A request with these metrics of one resource."""
    return ExportMetricsServiceRequest(
        resource_metrics=[
            ResourceMetrics(
                resource=Resource(attributes=key_values(resource)),
                scope_metrics=[ScopeMetrics(scope=SCOPE, metrics=metrics)],
            )
        ]
    )


def metrics_of(metrics: Metrics, now_ns: int) -> list[Metric]:
    """Every instrument that has something to say.

    Counters and histograms say all, with the time `now_ns`, since the first event counted; gauges,
    and sums of the machine, what changed since the last request, with the time of its own event.
    """
    start_ns = metrics.start_unix_nano
    span = _time(start_ns), _time(max(now_ns, start_ns))
    return [metric for series in metrics if (metric := _metric(series, *span)) is not None]


def _metric(series: Series, start_ns: int, now_ns: int) -> Metric | None:
    newest, counts, distributions = [], [], []
    for key, point in series:
        attributes = key_values(series.attributes(key))
        if isinstance(point, Distribution):
            distributions.append(_distribution(point, attributes, start_ns, now_ns))
        elif isinstance(point, Count):
            counts.append(_count(point, attributes, start_ns, now_ns))
        elif key in series.changed:
            newest.append(_latest(point, attributes))
    if not (newest or counts or distributions):
        return None
    instrument = series.instrument
    sort = instrument.sort if isinstance(instrument, MachineInstrument) else "gauge"
    sums = counts if sort == "gauge" else newest
    return Metric(
        name=instrument.name,
        description=instrument.description,
        unit=instrument.unit,
        gauge=Gauge(data_points=newest) if newest and sort == "gauge" else None,
        sum=_sum(sums, is_monotonic=sort != "up_down_counter") if sums else None,
        histogram=_histogram(distributions) if distributions else None,
    )


def _sum(points: list[NumberDataPoint], *, is_monotonic: bool) -> Sum:
    return Sum(
        data_points=points,
        aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE,
        is_monotonic=is_monotonic,
    )


def _histogram(points: list[HistogramDataPoint]) -> Histogram:
    return Histogram(data_points=points, aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE)


def _count(point: Count, attributes: list[KeyValue], start_ns: int, now_ns: int) -> NumberDataPoint:
    return NumberDataPoint(
        attributes=attributes,
        start_time_unix_nano=start_ns,
        time_unix_nano=now_ns,
        as_int=point.value,
    )


def _latest(point: Latest, attributes: list[KeyValue]) -> NumberDataPoint:
    return NumberDataPoint(
        attributes=attributes, time_unix_nano=_time(point.time_unix_nano), as_double=point.value
    )


def _distribution(
    point: Distribution, attributes: list[KeyValue], start_ns: int, now_ns: int
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=start_ns,
        time_unix_nano=now_ns,
        count=point.count,
        sum=point.sum,
        min=point.minimum,
        max=point.maximum,
        bucket_counts=point.buckets,
        explicit_bounds=point.bounds,
    )


def _time(time_unix_nano: int) -> int:
    return min(max(time_unix_nano, 0), _MAX_UNIX_NANO)
