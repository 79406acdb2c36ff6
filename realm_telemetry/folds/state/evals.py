"""Evals: the latest of each skill and level, what changed since the one before, and suites."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.section import Reading, Section, SectionSpec
from realm_telemetry.folds.state.table import (
    SHOWN,
    Table,
    by_detail,
    computed,
    detail,
    details,
    errors,
    statuses,
    time_of,
    times,
)
from realm_telemetry.folds.state.values import identity, number

RECENT: Final = 20
"""Results shown in `recent`."""

_WORDS: Final = ("started", "completed", "failed", "cancelled")
_LIFECYCLE: Final = tuple(f"eval_{word}" for word in _WORDS)
_COMPLETED: Final = "eval_completed"
_REGRESSION: Final = "eval_regression"
_TRIGGERED: Final = "eval_suite_triggered"


def _name(event: Event) -> str | None:
    skill = identity(event.details, "skill")
    if skill is None:
        return None
    level = identity(event.details, "level")
    return skill if level is None else f"{skill}/{level}"


LATEST: Final = Table(
    "latest",
    (*_LIFECYCLE, _REGRESSION),
    {
        **details("skill", "level", "accuracy"),
        "delta": (
            # Without a delta of its own, that of an earlier result must not stay.
            detail("delta", None).on(_COMPLETED),
            detail("delta").on("eval_started", "eval_failed", "eval_cancelled", _REGRESSION),
        ),
        "step": detail("step").on(*_LIFECYCLE),
        "suite": detail("suite").on(*_LIFECYCLE),
        "duration_s": detail("duration_s").on(*_LIFECYCLE),
        "reason": detail("reason").on(*_LIFECYCLE),
        "status": statuses(_LIFECYCLE),
        "previous_accuracy": SHOWN,
        "error": errors(_LIFECYCLE),
        **times("eval", *_WORDS),
        "regressed_at": time_of(_REGRESSION),
    },
    limit=512,
    key=_name,
)
"""The latest eval of a skill and level."""

RESULT: Final = Table(
    "results",
    (_COMPLETED,),
    {
        **details("skill", "level", "accuracy", "delta", "step", "suite"),
        "completed_at": time_of(_COMPLETED),
        "name": computed(_name),
    },
    limit=1_024,
    key=lambda event: None if _name(event) is None else event.id,
)

SUITE: Final = Table(
    "suites",
    (_TRIGGERED,),
    {
        **details("step", "evals"),
        "triggered_at": time_of(_TRIGGERED),
        "completed": SHOWN,
        "mean_accuracy": SHOWN,
    },
    limit=64,
    key=by_detail("suite"),
)

_KINDS: Final = (*_LIFECYCLE, _REGRESSION, _TRIGGERED)


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return `latest` by `skill/level`, `recent` results, `suites` by name, and totals."""
    results = [result for _, result in section.records["results"].newest()]
    accuracies: dict[str, list[Any]] = {}
    for result in results:
        accuracies.setdefault(result["name"], []).append(result.get("accuracy"))
    return {
        **section.flat(),
        "latest": {
            name: _shown_eval(latest, accuracies.get(name, []))
            for name, latest in section.newest(LATEST)
        },
        "recent": [_shown_result(result) for result in results[:RECENT]],
        "suites": {
            name: _shown_suite(name, fields, results)
            for name, fields in section.records["suites"].newest()
        },
        "totals": reading.totals(_KINDS),
    }


def _shown_eval(latest: dict[str, Any], accuracies: list[Any]) -> dict[str, Any]:
    if len(accuracies) > 1:
        latest["previous_accuracy"] = accuracies[1]
        last, before = number(accuracies[0]), number(accuracies[1])
        if latest["delta"] is None and last is not None and before is not None:
            latest["delta"] = last - before
    return latest


def _shown_result(result: dict[str, Any]) -> dict[str, Any]:
    fields = RESULT.show(result)
    del fields["name"]
    return fields


def _shown_suite(
    name: str, fields: dict[str, Any], results: list[dict[str, Any]]
) -> dict[str, Any]:
    since = fields.get("triggered_at", 0)
    mine = [r for r in results if r.get("suite") == name and r["completed_at"] >= since]
    scores = [score for r in mine if (score := number(r.get("accuracy"))) is not None]
    suite = SUITE.show(fields)
    suite["completed"] = len(mine)
    suite["mean_accuracy"] = sum(scores) / len(scores) if scores else None
    return suite


EVAL: Final = SectionSpec(_KINDS, (LATEST, RESULT, SUITE), view)
