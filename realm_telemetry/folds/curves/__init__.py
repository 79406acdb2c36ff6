"""Curves of runs: any number of a run over its steps or time, beyond the life of its events."""

from realm_telemetry.folds.curves.fold import (
    Curves,
    CurvesInMemory,
    CurvesRunner,
    stored_curves,
)
from realm_telemetry.folds.curves.record import RunCurves

__all__ = ["Curves", "CurvesInMemory", "CurvesRunner", "RunCurves", "stored_curves"]
