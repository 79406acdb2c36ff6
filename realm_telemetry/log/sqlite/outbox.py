"""A transactional outbox in an SQLite file of its own, `REALM_HOME/data/<name>.db`.

Not tables of the log's file: every attempt to send would take the log's writer lock, and older
programs use that file too (docs/decisions/0060).
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from realm_telemetry.home import make_private_directory
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.outbox import Message
from realm_telemetry.log.outbox_tables import OutboxTables
from realm_telemetry.log.sqlite.connection import translated
from realm_telemetry.log.sqlite.side_files import is_damaged, rename_damaged, usable

_BUSY_TIMEOUT_S: Final = 10.0
_VERSION: Final = 1
_REPLAYS: Final = """
CREATE TABLE IF NOT EXISTS replays (scope TEXT PRIMARY KEY, times INTEGER NOT NULL)"""
_CIRCUITS: Final = """
CREATE TABLE IF NOT EXISTS circuits (
    scope TEXT NOT NULL,
    pool TEXT NOT NULL,
    place TEXT NOT NULL,
    failures INTEGER NOT NULL,
    until_unix_nano INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (scope, pool, place)
)"""
_MUTES: Final = """
CREATE TABLE IF NOT EXISTS mutes (rule TEXT PRIMARY KEY, until_unix_nano INTEGER NOT NULL)"""
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


_LOST: Final = "Messages that wait in it are not sent, and rules begin anew."
_COLUMNS: Final = ", ".join(Message.__struct_fields__)
_EXPECTED: Final = (
    f"SELECT {_COLUMNS} FROM messages LIMIT 0",
    "SELECT scope, rule, grouped, definition, state FROM rule_states LIMIT 0",
    "SELECT scope, began_unix_nano FROM scopes LIMIT 0",
    "SELECT id, scope, event_id FROM seen LIMIT 0",
)
"""Fail where the file has other tables than ours."""


class OutboxFile(OutboxTables):
    """The file; see log.outbox.Outbox."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._closed = False
        # None after a repair that failed; the next use opens the file.
        self._connection: sqlite3.Connection | None = None
        with translated(path):
            self._current()

    def close(self) -> None:
        """Close the file."""
        with translated(self._path), self._lock:
            self._closed = True
            self._let_go()

    def _current(self) -> sqlite3.Connection:
        """The connection, opened if there is none."""
        if self._closed:
            raise LogUnavailableError(f"{self._path} was closed")
        if self._connection is None:
            self._connection = usable(self._path, self._opened, _LOST)
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> sqlite3.Connection:
        make_private_directory(self._path.parent)
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            with _transaction(connection):
                self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise LogUnavailableError(
                f"{self._path} was written by a newer version of realm_telemetry; upgrade it"
            )
        if version == 0:
            # Not executescript, which would end the transaction.
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
        connection.execute(_REPLAYS)
        connection.execute(_CIRCUITS)
        connection.execute(_MUTES)
        for query in _EXPECTED:
            connection.execute(query)

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        """The file, for one thread; one that turns out to be damaged is replaced for the next."""
        with translated(self._path), self._lock:
            connection = self._current()
            try:
                yield connection
            except sqlite3.Error as error:
                # Not one that a use inside this one has replaced already.
                if connection is self._connection and is_damaged(self._path, error):
                    self._let_go()
                    rename_damaged(self._path, error, _LOST)
                    self._current()
                raise

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction, alone; rolled back on any exception."""
        with self._used() as connection, _transaction(connection):
            yield connection

    def _rows(self, query: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._used() as connection:
            return connection.execute(query, params).fetchall()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
