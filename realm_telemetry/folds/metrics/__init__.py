"""Metrics from events: a table of instruments, and the fold that fills them.

The exporter `otlp_metrics` and the service's /metrics share both, so that a dashboard made for
one of them fits the other.
"""

from functools import partial

from realm_telemetry.folds.metrics.definition import BUILT_IN, Definition, read_definition
from realm_telemetry.folds.metrics.fold import Metrics
from realm_telemetry.folds.metrics.instruments import FRESH_NS, INSTRUMENTS, Attribute, Instrument
from realm_telemetry.folds.metrics.machine import MACHINE, SAMPLE_FRESH_NS, MachineInstrument
from realm_telemetry.folds.metrics.series import (
    MAX_SERIES,
    OVERFLOW,
    Count,
    Distribution,
    Latest,
    Point,
    Series,
)
from realm_telemetry.folds.runtime import FoldFormat, FoldRunner
from realm_telemetry.log.engine import Log

__all__ = [
    "BUILT_IN",
    "FRESH_NS",
    "INSTRUMENTS",
    "MACHINE",
    "MAX_SERIES",
    "OVERFLOW",
    "SAMPLE_FRESH_NS",
    "Attribute",
    "Count",
    "Definition",
    "Distribution",
    "Instrument",
    "Latest",
    "MachineInstrument",
    "Metrics",
    "Point",
    "Series",
    "metrics_runner",
    "read_definition",
]


def metrics_runner(
    log_id: str, log: Log, reader: str, definition: Definition, *, refill: bool = True
) -> FoldRunner[Metrics]:
    """Return what runs metrics over a log.

    log: beside which their snapshots are. reader: who counts, each from its own cursor.
    refill: whether a metric that is new folds the rows from before the snapshot too.
    """
    load = partial(Metrics.load, definition=definition)
    fold_format = FoldFormat("metrics", partial(Metrics, definition), load)
    snapshots = log.snapshots("metrics", log_id, reader=reader)
    return FoldRunner(fold_format, snapshots, refill=refill)
