"""Snapshots of RealmState, so that a service need not fold its whole log to start."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from realm_telemetry.folds.state.fold import FOLD_VERSION, RealmState
from realm_telemetry.home import make_private_directory

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS realm_snapshot (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  log_id TEXT NOT NULL,
  fold_version INTEGER NOT NULL,
  cursor INTEGER NOT NULL,
  saved_unix_nano INTEGER NOT NULL,
  state BLOB NOT NULL
) STRICT
"""
# A service and a shipper may both save: what one of them covered may be trimmed already, so a
# snapshot never goes back.
_SAVE: Final = """
INSERT INTO realm_snapshot VALUES (1, ?, ?, ?, ?, ?) ON CONFLICT (only_row) DO UPDATE SET
  log_id = excluded.log_id, fold_version = excluded.fold_version, cursor = excluded.cursor,
  saved_unix_nano = excluded.saved_unix_nano, state = excluded.state
  WHERE excluded.log_id != log_id OR excluded.fold_version > fold_version
    OR (excluded.fold_version = fold_version AND excluded.cursor >= cursor)
"""
_LOAD: Final = "SELECT state FROM realm_snapshot WHERE log_id = ? AND fold_version = ?"
_CURSOR: Final = "SELECT cursor FROM realm_snapshot WHERE log_id = ? AND fold_version = ?"
_BUSY_TIMEOUT_S: Final = 5.0


class SnapshotStore:
    """The newest snapshot, one row in `data/realm_state.db`.

    The file may hold the tables of the older RealmService too; they are not touched.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fresh(self) -> RealmState:
        """Return the state of no events."""
        return RealmState()

    def read(self, dumped: bytes) -> RealmState:
        """Return the state that `RealmState.dump` wrote. Raises ValueError."""
        return RealmState.load(dumped)

    def save(self, state: RealmState, log_id: str) -> None:
        """Write a snapshot in one transaction, unless there is a newer one of the same log.

        Raises sqlite3.Error if the file cannot be written; the one before stays.
        """
        make_private_directory(self.path.parent)
        row = (log_id, FOLD_VERSION, state.cursor, time.time_ns(), state.dump())
        self.path.touch(0o600)  # SQLite would make it readable to everybody
        with closing(self._connect()) as connection, connection:
            connection.execute(_SCHEMA)
            connection.execute(_SAVE, row)

    def load(self, log_id: str) -> RealmState | None:
        """Return the snapshot, None if there is none of this log and fold version.

        One that cannot be read counts as none: the log tells it all again.
        """
        dumped = self._select(_LOAD, log_id)
        try:
            return self.read(dumped) if isinstance(dumped, bytes) else None
        except ValueError:
            return None

    def cursor(self, log_id: str) -> int:
        """Return up to which cursor the snapshot covers the log, 0 if not at all.

        Retention may trim up to here and no further.
        """
        cursor = self._select(_CURSOR, log_id)
        return cursor if isinstance(cursor, int) else 0

    def _select(self, query: str, log_id: str) -> bytes | int | None:
        if not self.path.exists():
            return None
        try:
            with closing(self._connect()) as connection:
                row: tuple[bytes | int] | None = connection.execute(
                    query, (log_id, FOLD_VERSION)
                ).fetchone()
        except sqlite3.DatabaseError:
            return None
        return row[0] if row else None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)
