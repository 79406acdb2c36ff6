"""All of a run, with what needs more than its record: the disk, and other errors of the log."""

import os
from collections.abc import Mapping
from typing import Any

from realm_telemetry.folds.runs.on_disk import last_good
from realm_telemetry.folds.runs.record import RunRecord
from realm_telemetry.folds.runs.resume import how_to_resume
from realm_telemetry.folds.runs.seen import own_frame, seen
from realm_telemetry.folds.runs.status import team_of
from realm_telemetry.folds.runs.view import finite_checkpoints, shown
from realm_telemetry.log.engine import Snapshot


def resume_as_recorded(record: RunRecord, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how a run goes on, by its last finite checkpoint; the disk is not looked at.

    run: as `shown` returns it.
    """
    finite = run["last_finite_checkpoint"]
    path = finite and finite["path"]
    good = {"path": path, "check": ""} if isinstance(path, str) else None
    supervised = team_of(record).supervisor is not None
    return how_to_resume({**run, "last_good_checkpoint": good}, supervised=supervised)


def detailed(log: Snapshot, run_id: str, record: RunRecord) -> dict[str, Any]:
    """Return a run as `shown` does, with `last_good_checkpoint`, `resume`, `frame` and `seen`."""
    run, team = shown(run_id, record), team_of(record)
    is_here = run["hosts"] == [os.uname().nodename]
    run["last_good_checkpoint"] = last_good(
        finite_checkpoints(record, team), run["cwd"], is_here=is_here
    )
    run["resume"] = how_to_resume(run, supervised=team.supervisor is not None)
    if run["exception"] is not None:
        frame = own_frame(run["exception"]["traceback"])
        run["exception"]["frame"] = frame and frame._asdict()
        run["exception"]["seen"] = seen(log, run["exception"])
    return run
