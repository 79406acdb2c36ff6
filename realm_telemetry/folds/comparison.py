"""Several runs beside each other: what differs in their settings, and what their numbers are."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from realm_telemetry.folds.curves import view
from realm_telemetry.folds.curves.reading import FoundCurves, curves_now
from realm_telemetry.folds.curves.view import Metric
from realm_telemetry.folds.runs import (
    Reading,
    RunRecord,
    differences,
    events_of,
    is_shown,
    shown,
    started_at,
    summary,
)
from realm_telemetry.log.engine import Log, Snapshot

COMPARED: Final = (2, 6)
"""How many runs stand beside each other."""

_MS: Final = 1_000_000


class Compared(NamedTuple):
    """A run to be compared, with its curves."""

    run_id: str
    record: RunRecord
    found: FoundCurves

    @property
    def building(self) -> dict[str, float] | None:
        """How much of its older rows is read; None for all."""
        return None if self.found.done is None else {"done": round(self.found.done, 3)}


def comparison(
    runs: Sequence[Compared], missing: Mapping[str, str], wanted: view.Wanted | None = None
) -> dict[str, Any]:
    """Return runs beside each other, as `GET /api/compare` answers.

    missing: runs that there are not, and what is to be said of each. wanted: series of some names.
    """
    metrics = [view.metrics_of(run.found.curves) for run in runs]
    series = [
        {"run_id": run.run_id, **each}
        for run, of_run in zip(runs, metrics, strict=True)
        for each in (view.wanted_series(of_run, wanted) if wanted else ())
    ]
    return {
        "runs": [
            summary(run.run_id, run.record)
            | {"started_ms": started_at(run.record) // _MS, "building": run.building}
            for run in runs
        ],
        "config": differences([shown(run.run_id, run.record)["config"] for run in runs]),
        "metrics": _beside(metrics),
        "series": series,
        "missing": [
            {"run_id": run_id, "error": "run_not_found", "message": message}
            for run_id, message in missing.items()
        ],
    }


def comparison_now(
    log: Log, snapshot: Snapshot, reading: Reading, run_ids: Sequence[str]
) -> dict[str, Any]:
    """Return the comparison without a service: what is not stored is read, and not saved."""
    runs, missing = [], {}
    for run_id in run_ids:
        record = reading.record(run_id)
        if record is None or not is_shown(record):
            missing[run_id] = f"There is no run {run_id!r}."
            continue
        curves = curves_now(log, snapshot, run_id, events_of(run_id, record))
        runs.append(Compared(run_id, record, FoundCurves(curves)))
    return comparison(runs, missing)


def _beside(metrics: Sequence[Sequence[Metric]]) -> list[dict[str, Any]]:
    """Return each name once, in the order to draw, with what it adds up to in each run."""
    named: list[dict[str, Metric]] = [{each.name: each for each in of_run} for of_run in metrics]
    first: dict[str, Metric] = {}
    for of_run in named:
        for name, metric in of_run.items():
            first.setdefault(name, metric)
    return [
        {
            "name": metric.name,
            "prefix": metric.prefix,
            "label": view.label(metric),
            "axis": view.axis(metric),
            "machine": metric.is_machine,
            "runs": [
                view.totals(of_run[metric.name]) if metric.name in of_run else None
                for of_run in named
            ],
        }
        for metric in sorted(first.values(), key=lambda metric: metric.place)
    ]
