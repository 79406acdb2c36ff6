"""A transactional outbox in an SQLite file of its own, `REALM_HOME/data/<name>.db`.

Not tables of the log's file: every attempt to send would take the log's writer lock, and older
programs use that file too (docs/decisions/0060).
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from realm_telemetry.home import make_private_directory
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.outbox import (
    KEPT_SEEN,
    KEPT_SETTLED,
    MAX_PENDING,
    KeptCircuit,
    Message,
    MessageState,
    RuleState,
    Wanted,
)
from realm_telemetry.log.sqlite.connection import translated
from realm_telemetry.log.sqlite.side_files import is_damaged, rename_damaged, usable

_PRUNE_EVERY: Final = 100
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
_CIRCUIT_FIELDS: Final = KeptCircuit.__struct_fields__
_FIELDS: Final = Message.__struct_fields__
_COLUMNS: Final = ", ".join(_FIELDS)
_ADDED: Final = _FIELDS[1:]
_EXPECTED: Final = (
    f"SELECT {_COLUMNS} FROM messages LIMIT 0",
    "SELECT scope, rule, grouped, definition, state FROM rule_states LIMIT 0",
    "SELECT scope, began_unix_nano FROM scopes LIMIT 0",
    "SELECT id, scope, event_id FROM seen LIMIT 0",
)
"""Fail where the file has other tables than ours."""


class OutboxFile:
    """The file; see log.outbox.Outbox."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._added = 0
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

    def unseen(self, scope: str, event_ids: Sequence[str]) -> set[str]:
        """Return those of some events that were not seen yet."""
        rows = self._rows(
            "SELECT event_id FROM seen WHERE scope = ?"
            " AND event_id IN (SELECT value FROM json_each(?))",
            (scope, msgspec.json.encode(event_ids).decode()),
        )
        return set(event_ids) - {row[0] for row in rows}

    def forget(self, scope: str, event_ids: Sequence[str]) -> None:
        """Let events be new again, and count that as a replay of the scope."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO replays VALUES (?, 1)"
                " ON CONFLICT (scope) DO UPDATE SET times = times + 1",
                (scope,),
            )
            connection.executemany(
                "DELETE FROM seen WHERE scope = ? AND event_id = ?",
                [(scope, event_id) for event_id in event_ids],
            )

    def replays(self, scope: str) -> int:
        """Return how often events of a scope were made new again."""
        rows = self._rows("SELECT times FROM replays WHERE scope = ?", (scope,))
        return int(rows[0][0]) if rows else 0

    def take(
        self,
        scope: str,
        seen: Sequence[tuple[str, str]],
        states: Sequence[RuleState],
        messages: Sequence[Message],
    ) -> None:
        """Keep what a batch has changed, all of it or nothing."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO seen (scope, event_id) VALUES (?, ?)", seen
            )
            for state in states:
                _save_state(connection, scope, state)
            self._add(connection, messages)
            if seen:
                connection.execute(
                    "DELETE FROM seen WHERE id <= (SELECT max(id) FROM seen) - ?", (KEPT_SEEN,)
                )

    def began_ns(self, scope: str, now_ns: int) -> int:
        """Return when a scope was begun: now, if this is the first call for it."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO scopes VALUES (?, ?)", (scope, now_ns))
            row = connection.execute(
                "SELECT began_unix_nano FROM scopes WHERE scope = ?", (scope,)
            ).fetchone()
            return int(row[0])

    def states(self, scope: str) -> list[RuleState]:
        """Return what rules remember; the one that changed longest ago first."""
        rows = self._rows(
            "SELECT rule, grouped, definition, state FROM rule_states WHERE scope = ?"
            " ORDER BY rowid",
            (scope,),
        )
        return [RuleState(*row) for row in rows]

    def forget_other_rules(self, scope: str, definitions: Mapping[str, str]) -> None:
        """Remove the states of rules that are not there any more, or are defined otherwise."""
        known = msgspec.json.encode([[name, text] for name, text in definitions.items()])
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM rule_states WHERE scope = ? AND NOT EXISTS (SELECT 1 FROM"
                " json_each(?) WHERE value ->> 0 = rule AND value ->> 1 = definition)",
                (scope, known.decode()),
            )

    def _add(self, connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
        """Add messages, as part of a transaction."""
        if not messages:
            return
        waiting = dict(
            connection.execute(
                "SELECT url IS NULL, count(*) FROM messages WHERE state = 'pending' GROUP BY 1"
            ).fetchall()
        )
        for message in messages:
            # Apart: any program may name addresses, and must not crowd out what rules send.
            sort = message.url is None
            if waiting.get(sort, 0) >= MAX_PENDING:
                problem = f"{MAX_PENDING:,} messages wait already"
                message = msgspec.structs.replace(
                    message,
                    state="dead",
                    problem=problem,
                    settled_unix_nano=message.created_unix_nano,
                )
            marks = ", ".join("?" * len(_ADDED))
            connection.execute(
                f"INSERT OR IGNORE INTO messages ({', '.join(_ADDED)}) VALUES ({marks})",
                [getattr(message, name) for name in _ADDED],
            )
            waiting[sort] = waiting.get(sort, 0) + 1
        self._prune(connection, len(messages))

    def _prune(self, connection: sqlite3.Connection, added: int) -> None:
        self._added += added
        if self._added < _PRUNE_EVERY:
            return
        self._added = 0
        connection.execute(
            "DELETE FROM messages WHERE state != 'pending' AND id <= (SELECT id FROM messages"
            " WHERE state != 'pending' ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (KEPT_SETTLED,),
        )

    def claim(
        self,
        scope: str,
        now_ns: int,
        lease_ns: int,
        most: int,
        wanted: Wanted = lambda target, url: True,
    ) -> list[Message]:
        """Take the next message of each target that is due; no other sender gets it meanwhile.

        A target's messages go one after the other, so that one which waits holds back the others.
        The one that has been due for longest comes first.
        lease_ns: after that it is due again, for a sender that died.
        wanted: whether a message may go now, by its target and address; asked once for each.
        """
        with self._transaction() as connection:
            due = connection.execute(
                "SELECT id, target, url FROM messages WHERE id IN (SELECT min(id) FROM messages"
                " WHERE state = 'pending' AND scope = ? GROUP BY target, url)"
                " AND due_unix_nano <= ? ORDER BY due_unix_nano, id",
                (scope, now_ns),
            )
            chosen = islice((id for id, target, url in due if wanted(target, url)), most)
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM messages WHERE id IN (SELECT value FROM json_each(?))"
                " ORDER BY due_unix_nano, id",
                (msgspec.json.encode(list(chosen)).decode(),),
            ).fetchall()
            connection.executemany(
                "UPDATE messages SET due_unix_nano = ? WHERE id = ?",
                [(now_ns + lease_ns, row[0]) for row in rows],
            )
        return [_message(row) for row in rows]

    def claim_one(self, id: int, now_ns: int, lease_ns: int) -> Message | None:
        """Take one message out of turn, to be sent again; None if there is none of that id.

        From now on it is the service's: the pipeline that it came from may not come back.
        """
        with self._transaction() as connection:
            found = connection.execute(
                "UPDATE messages SET state = 'pending', scope = '', attempts = 0,"
                " settled_unix_nano = NULL, created_unix_nano = ?, due_unix_nano = ?"
                f" WHERE id = ? RETURNING {_COLUMNS}",
                (now_ns, now_ns + lease_ns, id),
            ).fetchone()
        return None if found is None else _message(found)

    def record(
        self,
        message: Message,
        state: MessageState,
        now_ns: int,
        *,
        due_unix_nano: int = 0,
        status: int | None = None,
        problem: str = "",
    ) -> None:
        """Keep the outcome of an attempt."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE messages SET state = ?, attempts = attempts + 1, due_unix_nano = ?,"
                " settled_unix_nano = ?, status = ?, problem = ? WHERE id = ?",
                (
                    state,
                    due_unix_nano,
                    None if state == "pending" else now_ns,
                    status,
                    problem,
                    message.id,
                ),
            )

    def next_due_ns(self, scope: str) -> int | None:
        """Return when the next message is due; None if none waits."""
        ((due,),) = self._rows(
            "SELECT min(due_unix_nano) FROM messages WHERE id IN (SELECT min(id) FROM messages"
            " WHERE state = 'pending' AND scope = ? GROUP BY target, url)",
            (scope,),
        )
        return None if due is None else int(due)

    def keep_circuits(self, scope: str, circuits: Sequence[KeptCircuit]) -> None:
        """Keep which hosts a scope's sender leaves alone, in place of what was kept before."""
        marks = ", ".join("?" * (1 + len(_CIRCUIT_FIELDS)))
        with self._transaction() as connection:
            connection.execute("DELETE FROM circuits WHERE scope = ?", (scope,))
            connection.executemany(
                f"INSERT OR REPLACE INTO circuits VALUES ({marks})",
                [(scope, *msgspec.structs.astuple(circuit)) for circuit in circuits],
            )

    def circuits(self) -> list[KeptCircuit]:
        """Return the hosts that senders leave alone, as they were kept last."""
        rows = self._rows(f"SELECT {', '.join(_CIRCUIT_FIELDS)} FROM circuits ORDER BY place, pool")
        return [KeptCircuit(*row) for row in rows]

    def mute(self, rule: str, until_unix_nano: int) -> None:
        """Let a rule of any scope send nothing until a time; a time that is past ends that."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO mutes VALUES (?, ?)", (rule, until_unix_nano)
            )

    def mutes(self) -> dict[str, int]:
        """Return until when rules send nothing, by their names; some may be past."""
        return {str(rule): int(until) for rule, until in self._rows("SELECT * FROM mutes")}

    def messages(
        self, limit: int, states: Sequence[str] = (), ids: Sequence[int] = ()
    ) -> list[Message]:
        """Return the last messages, newest first; of some states, or with some ids."""
        conditions: list[str] = []
        params: list[Any] = []
        for column, values in (("state", states), ("id", ids)):
            if values:
                conditions.append(f"{column} IN ({', '.join('?' * len(values))})")
                params += values
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM messages{where} ORDER BY id DESC LIMIT ?", (*params, limit)
        )
        return [_message(row) for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many messages there are, by rule and state."""
        query = "SELECT rule, state, count(*) FROM messages GROUP BY rule, state"
        return {(rule, state): count for rule, state, count in self._rows(query)}


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


def _save_state(connection: sqlite3.Connection, scope: str, kept: RuleState) -> None:
    if kept.state is None:
        connection.execute(
            "DELETE FROM rule_states WHERE scope = ? AND rule = ? AND grouped = ?",
            (scope, kept.rule, kept.group),
        )
        return
    connection.execute(
        "INSERT OR REPLACE INTO rule_states VALUES (?, ?, ?, ?, ?)",
        (scope, kept.rule, kept.group, kept.definition, kept.state),
    )


def _message(row: tuple[Any, ...]) -> Message:
    return Message(**dict(zip(_FIELDS, row, strict=True)))
