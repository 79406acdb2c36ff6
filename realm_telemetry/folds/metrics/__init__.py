"""Metrics from events: a table of instruments, and the fold that fills them.

The exporter `otlp_metrics` and the service's /metrics share both, so that a dashboard made for
one of them fits the other.
"""

from realm_telemetry.folds.metrics.fold import Measures
from realm_telemetry.folds.metrics.instruments import INSTRUMENTS, Attribute, Instrument
from realm_telemetry.folds.metrics.options import Definition, read_definition
from realm_telemetry.folds.metrics.points import Count, Distribution, Latest, Point
from realm_telemetry.folds.metrics.series import FRESH_NS, MAX_SERIES, OVERFLOW, Series
from realm_telemetry.folds.metrics.store import MeasureStore

__all__ = [
    "FRESH_NS",
    "INSTRUMENTS",
    "MAX_SERIES",
    "OVERFLOW",
    "Attribute",
    "Count",
    "Definition",
    "Distribution",
    "Instrument",
    "Latest",
    "MeasureStore",
    "Measures",
    "Point",
    "Series",
    "read_definition",
]
