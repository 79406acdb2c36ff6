"""Bring a RealmState up to a log: from its snapshot, then the rest in short steps."""

from collections.abc import Sequence
from typing import Final, Protocol

from realm_telemetry.event import Event
from realm_telemetry.folds.state.fold import RealmState
from realm_telemetry.folds.state.snapshots import SnapshotStore

STEP_ROWS: Final = 2_000
"""Rows a step: some 20 ms of one short read transaction, so that checkpoints of the WAL go on."""


class Row(Protocol):
    """An event and its place in the log."""

    @property
    def cursor(self) -> int: ...

    @property
    def event(self) -> Event: ...


class Fold(Protocol):
    """What a log's events are folded into."""

    @property
    def cursor(self) -> int: ...

    def apply(self, event: Event, cursor: int) -> None:
        """Fold in one event."""


class Log(Protocol):
    """What a fold needs of a log reader; `realm_telemetry.log.Reader` has it."""

    @property
    def log_id(self) -> str: ...

    def after(self, cursor: int, limit: int) -> Sequence[Row]:
        """Return up to `limit` rows behind the cursor, in id order."""


def rebuild(reader: Log, store: SnapshotStore | None = None) -> RealmState:
    """Return the state of the whole log.

    store: where a snapshot may be; without a fitting one the fold starts with the first row.
    """
    state = store.load(reader.log_id) if store else None
    state = state or RealmState()
    while catch_up(state, reader):
        pass
    return state


def catch_up(fold: Fold, reader: Log, limit: int = STEP_ROWS) -> int:
    """Fold up to `limit` rows behind the fold's cursor; return how many there were."""
    rows = reader.after(fold.cursor, limit)
    for row in rows:
        fold.apply(row.event, row.cursor)
    return len(rows)
