"""Snapshots of folds, rows beside the log: each holds one fold of one log."""

import time
from collections.abc import Sequence
from typing import Any, Final

from realm_telemetry.log.postgres.connection import Sessions
from realm_telemetry.log.snapshots import FoldSnapshot

FORGET_AFTER_NS: Final = 30 * 86_400 * 1_000_000_000

_SAVE: Final = """
INSERT INTO realm_snapshots AS s VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name, reader) DO UPDATE SET log_id = excluded.log_id,
    fold_version = excluded.fold_version, cursor = excluded.cursor,
    saved_unix_nano = excluded.saved_unix_nano, content = excluded.content"""
# What a state covers may be trimmed.
_NEVER_BACK: Final = """
WHERE excluded.log_id != s.log_id
    OR (excluded.fold_version >= s.fold_version AND excluded.cursor >= s.cursor)"""
_FORGET: Final = "DELETE FROM realm_snapshots WHERE name = 'metrics' AND saved_unix_nano < ?"
_LOAD: Final = """
SELECT cursor, content FROM realm_snapshots
WHERE name = ? AND reader = ? AND log_id = ? AND fold_version <= ?"""
# One of an older version may lack what this version keeps: retention waits for a new one.
_COVERS: Final = """
SELECT cursor FROM realm_snapshots
WHERE name = ? AND reader = ? AND log_id = ? AND fold_version = ?"""


class Snapshots:
    """The snapshot of one fold of one log; see log.snapshots.FoldSnapshots."""

    def __init__(
        self, sessions: Sessions, name: str, reader: str, log_id: str, version: int
    ) -> None:
        self._sessions = sessions
        self._key = (name, reader, log_id, version)

    def load(self) -> FoldSnapshot | None:
        """Return the snapshot; None if there is none of this log."""
        row = self._select(_LOAD)
        return None if row is None else FoldSnapshot(row[0], bytes(row[1]))

    def cursor(self) -> int:
        """Return up to which cursor the snapshot covers the log, 0 if not at all."""
        row = self._select(_COVERS)
        return 0 if row is None else int(row[0])

    def save(self, snapshot: FoldSnapshot) -> int:
        """Write a snapshot; return up to where the stored one covers the log."""
        now = time.time_ns()
        query = _SAVE + (_NEVER_BACK if self._key[0] == "state" else "")
        with self._sessions.one() as session, session.transaction():
            session.execute(query, (*self._key, snapshot.cursor, now, snapshot.content))
            session.execute(_FORGET, (now - FORGET_AFTER_NS,))
        return self.cursor()

    def _select(self, query: str) -> Sequence[Any] | None:
        with self._sessions.one() as session:
            row: Sequence[Any] | None = session.execute(query, self._key).fetchone()
        return row
