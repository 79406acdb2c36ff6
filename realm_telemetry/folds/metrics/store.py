"""Metrics kept on disk, so that counters go on after a restart."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from realm_telemetry.folds.metrics.fold import Measures
from realm_telemetry.folds.metrics.options import Definition
from realm_telemetry.home import make_private_directory

FILE_NAME: Final = "realm_measures.db"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS realm_measures (
  reader TEXT PRIMARY KEY,
  log_id TEXT NOT NULL,
  cursor INTEGER NOT NULL,
  saved_unix_nano INTEGER NOT NULL,
  measures BLOB NOT NULL
) STRICT
"""
_SAVE: Final = "INSERT OR REPLACE INTO realm_measures VALUES (?, ?, ?, ?, ?)"
_LOAD: Final = "SELECT measures FROM realm_measures WHERE reader = ? AND log_id = ?"
# Each version and each setting is a pipeline of its own, of which most never come back.
_FORGET: Final = "DELETE FROM realm_measures WHERE saved_unix_nano < ?"
FORGET_AFTER_NS: Final = 30 * 86_400 * 1_000_000_000

_BUSY_TIMEOUT_S: Final = 5.0


class MeasureStore:
    """What one reader of the log has counted: a row in `data/realm_measures.db`.

    reader: the service, or a pipeline's exporter; each has read up to its own cursor.
    """

    def __init__(self, path: Path, reader: str, definition: Definition) -> None:
        self.path = path
        self._reader = reader
        self._definition = definition

    def fresh(self) -> Measures:
        """Metrics of no events."""
        return Measures(self._definition)

    def read(self, dumped: bytes) -> Measures:
        """What `Measures.dump` wrote. Raises ValueError."""
        return Measures.load(dumped, self._definition)

    def save(self, measures: Measures, log_id: str) -> None:
        """Write all in one transaction; counts and cursor cannot come apart.

        What other readers have not saved for 30 days is forgotten.

        A file that is no database is replaced. Raises sqlite3.Error, OSError if it cannot be
        written; what was there stays.
        """
        make_private_directory(self.path.parent)
        row = (self._reader, log_id, measures.cursor, time.time_ns(), measures.dump())
        try:
            self._write(row)
        except sqlite3.OperationalError:  # locked, or the disk is full
            raise
        except sqlite3.DatabaseError:
            # Broken: what was in it is in here, or is counted anew.
            self.path.unlink()
            self._write(row)

    def _write(self, row: tuple[str, str, int, int, bytes]) -> None:
        self.path.touch(0o600)  # SQLite would make it readable to everybody
        with closing(self._connect()) as connection, connection:
            connection.execute(_SCHEMA)
            connection.execute(_SAVE, row)
            connection.execute(_FORGET, (row[3] - FORGET_AFTER_NS,))

    def load(self, log_id: str) -> Measures | None:
        """Return what was saved; None if that is of another log or of other instruments."""
        if not self.path.exists():
            return None
        try:
            with closing(self._connect()) as connection:
                row = connection.execute(_LOAD, (self._reader, log_id)).fetchone()
            return self.read(row[0]) if row else None
        except (sqlite3.DatabaseError, ValueError):
            return None

    def cursor(self, log_id: str) -> int:
        """Up to which cursor the log is counted, 0 if not at all."""
        measures = self.load(log_id)
        return measures.cursor if measures else 0

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)
