"""RealmState: the fold of the log, its sections and its snapshots."""

from realm_telemetry.folds.state.fold import FOLD_VERSION, SECTIONS, RealmState, section_of
from realm_telemetry.folds.state.resume import catch_up, rebuild
from realm_telemetry.folds.state.snapshots import SnapshotStore

__all__ = [
    "FOLD_VERSION",
    "SECTIONS",
    "RealmState",
    "SnapshotStore",
    "catch_up",
    "rebuild",
    "section_of",
]
