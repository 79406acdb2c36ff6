"""Training: each run, and the current one's fields at the section's own level."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.lattice import Cells, values
from realm_telemetry.folds.state.section import Reading, Section, SectionSpec
from realm_telemetry.folds.state.table import (
    SHOWN,
    Table,
    always,
    attribute,
    computed,
    detail,
    errors,
    least_first,
    statuses,
    time_of,
    times,
)
from realm_telemetry.folds.state.values import complete, number, shown

_STEP: Final = "training_step"
_RATE: Final = "lr_changed"
_WORDS: Final = ("started", "paused", "resumed", "completed", "failed", "cancelled")
_LIFECYCLE: Final = tuple(f"training_{word}" for word in _WORDS)
_REPORTS: Final = (_STEP, *_LIFECYCLE)


def _run_id(event: Event) -> str:
    # A process that was given no run id is a run of its own.
    return event.run_id or event.producer


RUN: Final = Table(
    "runs",
    (*_REPORTS, _RATE),
    {
        "run_id": SHOWN,
        "status": (always("running").on(_STEP), *statuses(_LIFECYCLE)),
        "step": detail("step"),
        "total_steps": detail("total_steps").on(*_REPORTS),
        "loss": detail("loss").on(*_REPORTS),
        "learning_rate": detail("learning_rate"),
        "tokens_per_second": detail("tokens_per_second").on(*_REPORTS),
        "model": detail("model").on(*_LIFECYCLE),
        "batch_size": detail("batch_size").on(*_LIFECYCLE),
        "reason": detail("reason").on(*_LIFECYCLE),
        "duration_s": detail("duration_s").on(*_LIFECYCLE),
        "best_loss": SHOWN,
        "progress": SHOWN,
        "error": errors(_LIFECYCLE),
        **times("training", *_WORDS),
        "step_at": time_of(_STEP),
        "hero_id": attribute("hero_id", None).on(*_LIFECYCLE),
        "campaign_id": attribute("campaign_id", None).on(*_LIFECYCLE),
        "producer": attribute("producer").on(*_REPORTS),
    },
    limit=128,
    key=_run_id,
)
"""What a run shows, and the current run at the section's own level."""


BEST: Final = Table(
    "best",
    _REPORTS,
    {"loss": computed(lambda event: number(event.details.get("loss")))},
    limit=1_024,
    key=_run_id,
    rank=least_first,
)
"""The least loss of each run."""

_KINDS: Final = (
    *(_STEP, "training_started", "training_resumed", "training_paused"),
    *("training_completed", "training_failed", "training_cancelled", _RATE),
)


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return the current run's fields, `runs` by run id (newest first), and totals."""
    runs = section.records["runs"].read()
    newest_first = [key for key, _ in section.records["runs"].newest()]
    current: Cells = runs[newest_first[0]] if newest_first else {}
    run_id = newest_first[0] if newest_first else None
    return {
        **_shown_run(section, reading, run_id, section.flat(current)),
        "runs": {
            key: _shown_run(section, reading, key, shown(values(runs[key]))) for key in newest_first
        },
        "totals": reading.totals(_KINDS),
    }


def _shown_run(
    section: Section, reading: Reading, run_id: str | None, fields: dict[str, Any]
) -> dict[str, Any]:
    best = section.records["best"].get(run_id or "").get("loss")
    run = complete(RUN.rows, fields) | {"run_id": run_id}
    run["best_loss"] = fields.get("best_loss") if best is None else best
    run["progress"] = _progress(run)
    run["status"] = run["status"] or "idle"
    if run["producer"] in reading.lost and run["status"] in ("running", "paused"):
        run["status"] = "lost"
    return run


def _progress(run: dict[str, Any]) -> float | None:
    step, total = number(run["step"]), number(run["total_steps"])
    if step is None or not total or total < 0:
        return None
    return min(max(step / total, 0.0), 1.0)


TRAINING: Final = SectionSpec(_KINDS, (RUN, BEST), view)
