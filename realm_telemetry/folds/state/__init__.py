"""RealmState: a fold of the log in sections, and its snapshot in `data/realm_state.db`."""

from pathlib import Path
from typing import Final, Protocol

from realm_telemetry.folds.runtime import FoldFormat, FoldRunner, Log, every_row
from realm_telemetry.folds.state.fold import FOLD_VERSION, SECTIONS, SPECS, RealmState, section_of
from realm_telemetry.log.sqlite.snapshots import StateSnapshots

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


def state_runner(log_id: str, path: Path | None = None) -> FoldRunner[RealmState]:
    """Return what runs RealmState over a log. path: of the file with its snapshot, if any."""
    return FoldRunner(_FORMAT, state_snapshots(path, log_id) if path else None)


def state_snapshots(path: Path, log_id: str) -> StateSnapshots:
    """Return where snapshots of RealmState are, for the fold version of this code."""
    return StateSnapshots(path, log_id, FOLD_VERSION)


class IdentifiedLog(Log, Protocol):
    """A log reader; `realm_telemetry.log.Reader` is one."""

    @property
    def log_id(self) -> str: ...


def rebuild(reader: IdentifiedLog, path: Path | None = None) -> RealmState:
    """Return the state of the whole log.

    path: where a snapshot may be; without one the fold begins with the first row.
    """
    runner = state_runner(reader.log_id, path)
    runner.restart()
    return runner.catch_up(every_row(reader))
