"""The section training of RealmState as the table of runs has it, so that the two agree.

RealmState keeps what the program's own events of training say. It knows no exit status, and no
attempt; what both know is shown as the table of runs has it.
"""

from typing import Any, Final

from realm_telemetry.folds.runs.fold import Reading
from realm_telemetry.folds.runs.record import RunRecord
from realm_telemetry.folds.runs.status import OPEN
from realm_telemetry.folds.runs.view import is_shown, shown
from realm_telemetry.folds.state.training import RUN
from realm_telemetry.log.runs import RunsWanted

OF_THE_RUN: Final = (
    *("run_id", "status", "reason", "step", "total_steps", "loss", "best_loss", "progress"),
)


def projected(section: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """Return the section with the newest run that goes on; without one, with that heard of last.

    section: as RealmState shows it. Fields that `section_updated` has set stay.
    """
    known: dict[str, dict[str, Any]] = section["runs"]
    heard_last = known.get(section["run_id"], {})
    updated = {name: section[name] for name, value in heard_last.items() if section[name] != value}
    statuses = reading.statuses(known)
    runs = {
        name: run | {"status": statuses.get(name, run["status"])} for name, run in known.items()
    }
    run_id, record = _current(section["run_id"], reading)
    if record is None:
        return section | {"runs": runs}
    current = dict.fromkeys(RUN.rows) | runs.get(run_id, {}) | _fields(run_id, record)
    if run_id in runs:
        runs[run_id] = current
    return section | current | updated | {"runs": runs}


def _current(heard_last: str | None, reading: Reading) -> tuple[str, RunRecord | None]:
    page, _ = reading.page(RunsWanted(OPEN, limit=1))
    if page:
        return page[0]
    record = None if heard_last is None else reading.record(heard_last)
    return heard_last or "", record if record is not None and is_shown(record) else None


def _fields(run_id: str, record: RunRecord) -> dict[str, Any]:
    run = shown(run_id, record)
    fields = {name: run[name] for name in OF_THE_RUN}
    exception = run["exception"] or {}
    error = exception.get("error") or (run["reason"] if run["status"] == "failed" else None)
    return fields | {"error": error}
