"""RealmState: a fold of the log in sections, and its snapshot beside the log."""

from typing import Final, Protocol

from realm_telemetry.folds.runtime import FoldFormat, FoldRunner, Rows, every_row
from realm_telemetry.folds.state.fold import FOLD_VERSION, SECTIONS, SPECS, RealmState, section_of
from realm_telemetry.log.engine import Log
from realm_telemetry.log.snapshots import FoldSnapshots

__all__ = [
    "FOLD_VERSION",
    "SECTIONS",
    "SPECS",
    "RealmState",
    "rebuild",
    "section_of",
    "state_runner",
    "state_snapshots",
]

_FORMAT: Final = FoldFormat("RealmState", RealmState, RealmState.load)


def state_runner(log_id: str, log: Log | None = None) -> FoldRunner[RealmState]:
    """Return what runs RealmState over a log. log: beside which its snapshot is, if any."""
    return FoldRunner(_FORMAT, state_snapshots(log, log_id) if log else None)


def state_snapshots(log: Log, log_id: str) -> FoldSnapshots:
    """Return where snapshots of RealmState are, for the fold version of this code."""
    return log.snapshots("state", log_id, version=FOLD_VERSION)


class IdentifiedRows(Rows, Protocol):
    """A log reader; `realm_telemetry.log.Reader` is one."""

    @property
    def log_id(self) -> str: ...


def rebuild(reader: IdentifiedRows, log: Log | None = None) -> RealmState:
    """Return the state of the whole log.

    log: beside which a snapshot may be; without one the fold begins with the first row.
    """
    runner = state_runner(reader.log_id, log)
    runner.restart()
    return runner.catch_up(every_row(reader))
