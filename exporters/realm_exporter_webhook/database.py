"""The file REALM_HOME/data/webhooks.db, one for all who send."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from realm_telemetry.home import make_private_directory

_VERSION: Final = 1
_REPLAYS: Final = """
CREATE TABLE IF NOT EXISTS replays (scope TEXT PRIMARY KEY, times INTEGER NOT NULL)"""
_SCHEMA: Final = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    rule TEXT NOT NULL,
    title TEXT NOT NULL,
    target TEXT NOT NULL,
    url TEXT,
    events INTEGER NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_unix_nano INTEGER NOT NULL,
    created_unix_nano INTEGER NOT NULL,
    settled_unix_nano INTEGER,
    status INTEGER,
    problem TEXT NOT NULL DEFAULT ''
);
CREATE INDEX messages_by_state ON messages (state, scope, target, id);
CREATE TABLE rule_states (
    scope TEXT NOT NULL,
    rule TEXT NOT NULL,
    grouped TEXT NOT NULL,
    definition TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (scope, rule, grouped)
);
CREATE TABLE scopes (
    scope TEXT PRIMARY KEY,
    began_unix_nano INTEGER NOT NULL
);
CREATE TABLE seen (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    event_id TEXT NOT NULL,
    UNIQUE (scope, event_id)
);
PRAGMA user_version = 1;
"""


class Database:
    """The file; safe to use from several threads and processes. Raises sqlite3.Error, OSError."""

    def __init__(self, path: Path) -> None:
        make_private_directory(path.parent)
        self.path = path
        path.touch(mode=0o600)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path, timeout=10.0, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _migrate(self) -> None:
        with self.transaction() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise sqlite3.DatabaseError(
                    f"{self.path} was written by a newer version of realm_telemetry; upgrade it"
                )
            if version == 0:
                # Not executescript, which would end the transaction.
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
            connection.execute(_REPLAYS)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction, alone."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read."""
        with self._lock:
            return self._connection.execute(query, params).fetchall()
