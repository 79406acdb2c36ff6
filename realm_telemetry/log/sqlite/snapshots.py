"""Snapshots of folds, in files beside the log: one row holds one fold of one log."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from realm_telemetry.home import make_private_directory
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.snapshots import FoldSnapshot
from realm_telemetry.log.sqlite.side_files import usable

FORGET_AFTER_NS: Final = 30 * 86_400 * 1_000_000_000
BUSY_TIMEOUT_S: Final = 5.0


class SnapshotStore:
    """The snapshot of one fold of one log; see log.snapshots.FoldSnapshots."""

    _lost: ClassVar = "What it held is folded again from the rows that the log still has."
    _schema: ClassVar[str]
    _load: ClassVar[str]
    _covers: ClassVar[str]

    def __init__(self, path: Path, **key: Any) -> None:
        self.path = path
        self._key = key

    def load(self) -> FoldSnapshot | None:
        """Return the snapshot; None if there is none of this log, or the file is no database."""
        cursor, content = self._select(self._load) or (0, None)
        # Other software may have written any type.
        is_sound = isinstance(cursor, int) and isinstance(content, bytes)
        return FoldSnapshot(cursor, content) if is_sound else None

    def cursor(self) -> int:
        """Return up to which cursor the snapshot covers the log, 0 if not at all.

        Retention may trim up to here and no further.
        """
        found = self._select(self._covers)
        return found[0] if found and isinstance(found[0], int) else 0

    def save(self, snapshot: FoldSnapshot) -> int:
        """Write a snapshot in one transaction; return up to where the stored one covers the log.

        Raises LogUnavailableError if it cannot be written; the one before stays.
        """
        row = self._key | snapshot._asdict() | {"saved": time.time_ns()}
        try:
            make_private_directory(self.path.parent)
            usable(self.path, lambda: self._write(row), self._lost)
        except (sqlite3.Error, OSError) as error:
            raise LogUnavailableError(
                f"the snapshot {self.path} cannot be written: {error}"
            ) from error
        return self.cursor()

    def _write(self, row: dict[str, Any]) -> None:
        self.path.touch(0o600)  # SQLite would make it readable to everybody
        with self._connection() as connection, connection:
            connection.execute(self._schema)
            self._put(connection, row)

    def _put(self, connection: sqlite3.Connection, row: dict[str, Any]) -> None:
        raise NotImplementedError

    def _select(self, query: str) -> tuple[Any, ...] | None:
        try:
            if not self.path.exists():
                return None
            with self._connection() as connection:
                found: tuple[Any, ...] | None = connection.execute(query, self._key).fetchone()
        except (sqlite3.DatabaseError, OSError):
            return None
        return found

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S)) as connection:
            yield connection


class StateSnapshots(SnapshotStore):
    """RealmState's snapshot, one row in `data/realm_state.db`.

    The tables of the older RealmService may be in the same file; they are not touched. Several
    processes save here, each with the fold version of its code. A snapshot never goes back, neither
    to a lower cursor nor to an older version: what it covers may have been trimmed from the log.
    """

    _schema = """
    CREATE TABLE IF NOT EXISTS realm_snapshot (
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
      log_id TEXT NOT NULL,
      fold_version INTEGER NOT NULL,
      cursor INTEGER NOT NULL,
      saved_unix_nano INTEGER NOT NULL,
      state BLOB NOT NULL
    ) STRICT
    """
    _save: ClassVar = """
    INSERT INTO realm_snapshot VALUES (1, :log_id, :version, :cursor, :saved, :content)
      ON CONFLICT (only_row) DO UPDATE SET
        log_id = excluded.log_id, fold_version = excluded.fold_version,
        cursor = excluded.cursor, saved_unix_nano = excluded.saved_unix_nano,
        state = excluded.state
      WHERE excluded.log_id != log_id
        OR (excluded.fold_version >= fold_version AND excluded.cursor >= cursor)
    """
    _load = """
    SELECT cursor, state FROM realm_snapshot WHERE log_id = :log_id AND fold_version <= :version
    """
    # One of an older version may lack what this version keeps: retention waits for a new one.
    _covers = """
    SELECT cursor FROM realm_snapshot WHERE log_id = :log_id AND fold_version = :version
    """

    def __init__(self, path: Path, log_id: str, version: int) -> None:
        super().__init__(path, log_id=log_id, version=version)

    def _put(self, connection: sqlite3.Connection, row: dict[str, Any]) -> None:
        connection.execute(self._save, row)


class MetricsSnapshots(SnapshotStore):
    """What one reader of the log has counted, a row in `data/realm_measures.db`.

    reader: the service, or a pipeline's exporter; each has read up to its own cursor.
    What other readers have not saved for 30 days is deleted: each version and each setting is a
    pipeline of its own, and most of them never come back.
    """

    _schema = """
    CREATE TABLE IF NOT EXISTS realm_measures (
      reader TEXT PRIMARY KEY,
      log_id TEXT NOT NULL,
      cursor INTEGER NOT NULL,
      saved_unix_nano INTEGER NOT NULL,
      measures BLOB NOT NULL
    ) STRICT
    """
    _save: ClassVar = """
    INSERT OR REPLACE INTO realm_measures VALUES (:reader, :log_id, :cursor, :saved, :content)
    """
    _load = """
    SELECT cursor, measures FROM realm_measures WHERE reader = :reader AND log_id = :log_id
    """
    _covers = "SELECT cursor FROM realm_measures WHERE reader = :reader AND log_id = :log_id"
    _forget: ClassVar = "DELETE FROM realm_measures WHERE saved_unix_nano < ?"

    def __init__(self, path: Path, log_id: str, reader: str) -> None:
        super().__init__(path, log_id=log_id, reader=reader)

    def _put(self, connection: sqlite3.Connection, row: dict[str, Any]) -> None:
        connection.execute(self._save, row)
        connection.execute(self._forget, (row["saved"] - FORGET_AFTER_NS,))
