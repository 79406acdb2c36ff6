"""What webhooks remember: REALM_HOME/data/webhooks.db, one file for all who send.

A batch of events is taken in one transaction: which events were seen, what the rules remember of
them, and the messages that follow. So a crash between any two steps neither fires twice nor loses a
firing. Only the sending itself is at least once.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from realm_exporter_webhook.engine import Key, State
from realm_telemetry.filesystem import make_private_directory

MAX_PENDING: Final = 10_000
"""Messages that may wait; what comes after them is a dead letter at once."""

KEPT_SETTLED: Final = 10_000
"""Messages that are delivered or dead, and stay to be looked at."""

KEPT_SEEN: Final = 200_000
"""Events that are recognised when they come again."""

_PRUNE_EVERY: Final = 100
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

MessageState = Literal["pending", "delivered", "dead"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one target, and what became of it.

    message_id: the idempotency key. scope: the pipeline that sends, empty for the service.
    url: of a request only, a secret; a target's is looked up when it is sent.
    events: how many it tells of. problem: of the last attempt.
    """

    id: int = 0
    message_id: str
    scope: str
    rule: str
    title: str
    target: str
    url: str | None = None
    events: int
    body: bytes
    state: MessageState = "pending"
    attempts: int = 0
    due_unix_nano: int
    created_unix_nano: int
    settled_unix_nano: int | None = None
    status: int | None = None
    problem: str = ""


_FIELDS: Final = Message.__struct_fields__
_COLUMNS: Final = ", ".join(_FIELDS)
_ADDED: Final = _FIELDS[1:]


class Store:
    """The file; safe to use from several threads and processes. Raises sqlite3.Error, OSError."""

    def __init__(self, path: Path) -> None:
        make_private_directory(path.parent)
        self.path = path
        path.touch(mode=0o600)
        self._lock = threading.RLock()
        self._added = 0
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

    def unseen(self, scope: str, event_ids: Sequence[str]) -> set[str]:
        """Which of some events were never taken."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT event_id FROM seen WHERE scope = ?"
                " AND event_id IN (SELECT value FROM json_each(?))",
                (scope, msgspec.json.encode(event_ids).decode()),
            )
            return set(event_ids) - {row[0] for row in rows}

    def forget(self, scope: str, event_ids: Sequence[str]) -> None:
        """Let events be new again, for a replay that somebody asked for.

        Their messages get other names, or neither this store nor a receiver would take them.
        """
        with self.transaction() as connection:
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
        """How often events of a scope were made new again."""
        with self._lock:
            row = self._connection.execute(
                "SELECT times FROM replays WHERE scope = ?", (scope,)
            ).fetchone()
            return int(row[0]) if row else 0

    def take(
        self,
        scope: str,
        seen: Sequence[tuple[str, str]],
        states: Mapping[Key, State | None],
        definitions: Mapping[str, str],
        messages: Sequence[Message],
    ) -> None:
        """Keep what a batch has changed, whole or not at all.

        seen: events, each with the scope in which it is to be recognised.
        """
        with self.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO seen (scope, event_id) VALUES (?, ?)",
                seen,
            )
            for key, state in states.items():
                _save_state(connection, scope, key, definitions.get(key[0], ""), state)
            self._add(connection, messages)
            if seen:
                connection.execute(
                    "DELETE FROM seen WHERE id <= (SELECT max(id) FROM seen) - ?", (KEPT_SEEN,)
                )

    def began_ns(self, scope: str, now_ns: int) -> int:
        """When a scope was first begun: rules know nothing of what arrived before."""
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO scopes VALUES (?, ?)", (scope, now_ns))
            row = connection.execute(
                "SELECT began_unix_nano FROM scopes WHERE scope = ?", (scope,)
            ).fetchone()
            return int(row[0])

    def states(self, scope: str, definitions: Mapping[str, str]) -> dict[Key, State]:
        """What rules remember; a rule that is not what it was has forgotten everything."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT rule, grouped, definition, state FROM rule_states WHERE scope = ?", (scope,)
            ).fetchall()
        return {
            (rule, group): msgspec.json.decode(state, type=State)
            for rule, group, definition, state in rows
            if definitions.get(rule, "") == definition
        }

    def forget_others(self, scope: str, definitions: Mapping[str, str]) -> None:
        """Remove what was kept for rules that are not there any more, or are others now."""
        with self.transaction() as connection:
            known = msgspec.json.encode([[name, text] for name, text in definitions.items()])
            connection.execute(
                "DELETE FROM rule_states WHERE scope = ? AND NOT EXISTS (SELECT 1 FROM"
                " json_each(?) WHERE value ->> 0 = rule AND value ->> 1 = definition)",
                (scope, known.decode()),
            )

    def _add(self, connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
        if not messages:
            return
        waiting = connection.execute(
            "SELECT count(*) FROM messages WHERE state = 'pending'"
        ).fetchone()[0]
        for message in messages:
            if waiting >= MAX_PENDING:
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
            waiting += 1
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

    def claim(self, scope: str, now_ns: int, lease_ns: int, most: int) -> list[Message]:
        """Take the next message of each target that is due; nobody else gets it for a while.

        A target's messages go one after the other, so that one which waits holds back the others.
        lease_ns: after that it is due again, for a sender that died.
        """
        with self.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM messages WHERE id IN (SELECT min(id) FROM messages WHERE"
                " state = 'pending' AND scope = ? GROUP BY target, url) AND due_unix_nano <= ?"
                " ORDER BY id LIMIT ?",
                (scope, now_ns, most),
            ).fetchall()
            connection.executemany(
                "UPDATE messages SET due_unix_nano = ? WHERE id = ?",
                [(now_ns + lease_ns, row[0]) for row in rows],
            )
        return [_message(row) for row in rows]

    def claim_one(self, id: int, now_ns: int, lease_ns: int) -> Message | None:
        """Take a message whatever its turn, to be sent again; None if there is no such one.

        From now on it is the service's: the pipeline that it came from may not come back.
        """
        with self.transaction() as connection:
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
        """Note what came of an attempt."""
        with self.transaction() as connection:
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
        """When the next message is due; None if none waits."""
        with self._lock:
            row = self._connection.execute(
                "SELECT min(due_unix_nano) FROM messages WHERE id IN (SELECT min(id) FROM messages"
                " WHERE state = 'pending' AND scope = ? GROUP BY target, url)",
                (scope,),
            ).fetchone()
        return None if row[0] is None else int(row[0])

    def messages(
        self, limit: int, states: Sequence[str] = (), ids: Sequence[int] = ()
    ) -> list[Message]:
        """The last messages, newest first; of some states, or those with some ids."""
        conditions: list[str] = []
        params: list[Any] = []
        for column, values in (("state", states), ("id", ids)):
            if values:
                conditions.append(f"{column} IN ({', '.join('?' * len(values))})")
                params += values
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM messages{where} ORDER BY id DESC LIMIT ?", (*params, limit)
            ).fetchall()
        return [_message(row) for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """How many messages there are, by rule and state."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT rule, state, count(*) FROM messages GROUP BY rule, state"
            ).fetchall()
        return {(rule, state): count for rule, state, count in rows}


def _save_state(
    connection: sqlite3.Connection, scope: str, key: Key, definition: str, state: State | None
) -> None:
    if state is None:
        connection.execute(
            "DELETE FROM rule_states WHERE scope = ? AND rule = ? AND grouped = ?", (scope, *key)
        )
        return
    connection.execute(
        "INSERT OR REPLACE INTO rule_states VALUES (?, ?, ?, ?, ?)",
        (scope, *key, definition, msgspec.json.encode(state)),
    )


def _message(row: tuple[Any, ...]) -> Message:
    return Message(**dict(zip(_FIELDS, row, strict=True)))
