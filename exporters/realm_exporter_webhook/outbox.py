"""Messages: those that wait, and what became of the others."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from realm_exporter_webhook.database import Database

MAX_PENDING: Final = 10_000
"""Messages that may wait; what comes after them is a dead letter at once."""

KEPT_SETTLED: Final = 10_000
"""Messages that are delivered or dead, and stay to be looked at."""

_PRUNE_EVERY: Final = 100

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


class Outbox:
    """The messages of the file. Raises sqlite3.Error."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._added = 0

    def add(self, connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
        """Put messages in, as part of a transaction."""
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
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
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
        ((due,),) = self._database.rows(
            "SELECT min(due_unix_nano) FROM messages WHERE id IN (SELECT min(id) FROM messages"
            " WHERE state = 'pending' AND scope = ? GROUP BY target, url)",
            (scope,),
        )
        return None if due is None else int(due)

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
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM messages{where} ORDER BY id DESC LIMIT ?", (*params, limit)
        )
        return [_message(row) for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """How many messages there are, by rule and state."""
        query = "SELECT rule, state, count(*) FROM messages GROUP BY rule, state"
        return {(rule, state): count for rule, state, count in self._database.rows(query)}


def _message(row: tuple[Any, ...]) -> Message:
    return Message(**dict(zip(_FIELDS, row, strict=True)))
