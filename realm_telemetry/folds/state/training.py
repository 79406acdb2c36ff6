"""Training: each run, and the current one's fields at the section's own level."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.lattice import Cells, Stamp, values
from realm_telemetry.folds.state.section import (
    Reading,
    Section,
    SectionSpec,
    complete,
    number,
    pick,
    shown,
    transition,
)

LIMITS: Final = {"runs": 128, "best": 1_024}

STEP_FIELDS: Final = ("step", "total_steps", "loss", "learning_rate", "tokens_per_second")
RUN_FIELDS: Final = (*STEP_FIELDS, "model", "batch_size", "reason", "duration_s")

FIELDS: Final = (
    "run_id",
    "status",
    *RUN_FIELDS,
    "best_loss",
    "progress",
    "error",
    "started_at",
    "paused_at",
    "resumed_at",
    "completed_at",
    "failed_at",
    "cancelled_at",
    "step_at",
    "hero_id",
    "campaign_id",
    "producer",
)
"""What a run shows, and the current run at the section's own level."""


def _run(event: Event) -> str:
    # A process that was given no run id is a run of its own.
    return event.run_id or event.producer


def _stepped(section: Section, event: Event, stamp: Stamp) -> None:
    fields = pick(event.details, STEP_FIELDS)
    fields["status"] = "running"
    fields["step_at"] = event.time_unix_nano
    fields["producer"] = event.producer
    section.records["runs"].put(_run(event), stamp, fields)
    _lost_least(section, event, stamp)


def _lost_least(section: Section, event: Event, stamp: Stamp) -> None:
    loss = number(event.details.get("loss"))
    if loss is not None:
        section.records["best"].put(_run(event), (-loss, *stamp), {"loss": loss})


def _changed_status(section: Section, event: Event, stamp: Stamp) -> None:
    fields = pick(event.details, RUN_FIELDS) | transition(event)
    fields |= {"producer": event.producer, "hero_id": event.hero_id}
    fields["campaign_id"] = event.campaign_id
    section.records["runs"].put(_run(event), stamp, fields)
    _lost_least(section, event, stamp)


def _changed_rate(section: Section, event: Event, stamp: Stamp) -> None:
    fields = pick(event.details, ("learning_rate", "step"))
    if fields:
        section.records["runs"].put(_run(event), stamp, fields)


REDUCERS: Final = {
    "training_step": _stepped,
    "training_started": _changed_status,
    "training_resumed": _changed_status,
    "training_paused": _changed_status,
    "training_completed": _changed_status,
    "training_failed": _changed_status,
    "training_cancelled": _changed_status,
    "lr_changed": _changed_rate,
}


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
        "totals": reading.totals(REDUCERS),
    }


def _shown_run(
    section: Section, reading: Reading, run_id: str | None, fields: dict[str, Any]
) -> dict[str, Any]:
    best = section.records["best"].get(run_id or "").get("loss")
    run = complete(FIELDS, fields) | {"run_id": run_id}
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


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
