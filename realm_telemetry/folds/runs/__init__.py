"""Runs: what each training was, how it goes and why it ended, beyond the life of its events."""

from realm_telemetry.folds.runs.before import changes, differences
from realm_telemetry.folds.runs.detail import detailed, resume_as_recorded
from realm_telemetry.folds.runs.fold import WARNINGS, Layer, Reading, Runs, RunsRunner
from realm_telemetry.folds.runs.projection import projected
from realm_telemetry.folds.runs.record import RunRecord, processes_of, run_of
from realm_telemetry.folds.runs.status import statuses, still_open
from realm_telemetry.folds.runs.view import (
    events_of,
    is_shown,
    notable,
    report,
    shown,
    started_at,
    step_of,
    summary,
)

__all__ = [
    "WARNINGS",
    "Layer",
    "Reading",
    "RunRecord",
    "Runs",
    "RunsRunner",
    "changes",
    "detailed",
    "differences",
    "events_of",
    "is_shown",
    "notable",
    "processes_of",
    "projected",
    "report",
    "resume_as_recorded",
    "run_of",
    "shown",
    "started_at",
    "statuses",
    "step_of",
    "still_open",
    "summary",
]
