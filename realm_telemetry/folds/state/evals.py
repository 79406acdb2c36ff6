"""Evals: the latest of each skill and level, what changed since the one before, and suites."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.lattice import Stamp
from realm_telemetry.folds.state.section import (
    Reading,
    Section,
    SectionSpec,
    complete,
    identity,
    number,
    pick,
    shown,
    transition,
)

LIMITS: Final = {"latest": 512, "results": 1_024, "suites": 64}

RECENT: Final = 20
"""Results shown in `recent`."""

DETAILS: Final = ("skill", "level", "accuracy", "delta", "step", "suite", "duration_s", "reason")
FIELDS: Final = (
    *DETAILS,
    "status",
    "previous_accuracy",
    "error",
    "started_at",
    "completed_at",
    "failed_at",
    "cancelled_at",
    "regressed_at",
)
"""What the latest eval of a skill and level shows."""

SUITE_FIELDS: Final = ("step", "evals", "triggered_at", "completed", "mean_accuracy")

RESULT_FIELDS: Final = ("skill", "level", "accuracy", "delta", "step", "suite", "completed_at")


def _name(event: Event) -> str | None:
    skill = identity(event.details, "skill")
    if skill is None:
        return None
    level = identity(event.details, "level")
    return skill if level is None else f"{skill}/{level}"


def _moved(section: Section, event: Event, stamp: Stamp) -> None:
    name = _name(event)
    if name is not None:
        fields = pick(event.details, DETAILS) | transition(event)
        section.records["latest"].put(name, stamp, fields)


def _completed(section: Section, event: Event, stamp: Stamp) -> None:
    name = _name(event)
    if name is None:
        return
    # Without a delta of its own, that of an earlier result must not stay.
    fields = {"delta": None} | pick(event.details, DETAILS)
    section.records["latest"].put(name, stamp, fields | transition(event))
    result = pick(event.details, RESULT_FIELDS)
    result |= {"name": name, "completed_at": event.time_unix_nano}
    section.records["results"].put(event.id, stamp, result)


def _regressed(section: Section, event: Event, stamp: Stamp) -> None:
    name = _name(event)
    if name is not None:
        fields = pick(event.details, ("skill", "level", "accuracy", "delta"))
        fields["regressed_at"] = event.time_unix_nano
        section.records["latest"].put(name, stamp, fields)


def _triggered(section: Section, event: Event, stamp: Stamp) -> None:
    suite = identity(event.details, "suite")
    if suite is not None:
        fields = pick(event.details, ("step", "evals")) | {"triggered_at": event.time_unix_nano}
        section.records["suites"].put(suite, stamp, fields)


REDUCERS: Final = {
    "eval_started": _moved,
    "eval_completed": _completed,
    "eval_failed": _moved,
    "eval_cancelled": _moved,
    "eval_regression": _regressed,
    "eval_suite_triggered": _triggered,
}


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return `latest` by `skill/level`, `recent` results, `suites` by name, and totals."""
    results = [result for _, result in section.records["results"].newest()]
    accuracies: dict[str, list[Any]] = {}
    for result in results:
        accuracies.setdefault(result["name"], []).append(result.get("accuracy"))
    return {
        **section.flat(),
        "latest": {
            name: _shown_eval(fields, accuracies.get(name, []))
            for name, fields in section.records["latest"].newest()
        },
        "recent": [_shown_result(result) for result in results[:RECENT]],
        "suites": {
            name: _shown_suite(name, fields, results)
            for name, fields in section.records["suites"].newest()
        },
        "totals": reading.totals(REDUCERS),
    }


def _shown_eval(fields: dict[str, Any], accuracies: list[Any]) -> dict[str, Any]:
    latest = complete(FIELDS, shown(fields))
    if len(accuracies) > 1:
        latest["previous_accuracy"] = accuracies[1]
        last, before = number(accuracies[0]), number(accuracies[1])
        if latest["delta"] is None and last is not None and before is not None:
            latest["delta"] = last - before
    return latest


def _shown_result(result: dict[str, Any]) -> dict[str, Any]:
    fields = complete(RESULT_FIELDS, shown(result))
    del fields["name"]
    return fields


def _shown_suite(
    name: str, fields: dict[str, Any], results: list[dict[str, Any]]
) -> dict[str, Any]:
    since = fields.get("triggered_at", 0)
    mine = [r for r in results if r.get("suite") == name and r["completed_at"] >= since]
    scores = [score for r in mine if (score := number(r.get("accuracy"))) is not None]
    suite = complete(SUITE_FIELDS, shown(fields))
    suite["completed"] = len(mine)
    suite["mean_accuracy"] = sum(scores) / len(scores) if scores else None
    return suite


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
