"""The tables of a transactional outbox: the SQL of both engines."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final, Protocol

import msgspec

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

_PRUNE_EVERY: Final = 100
_CIRCUIT_FIELDS: Final = KeptCircuit.__struct_fields__
_FIELDS: Final = Message.__struct_fields__
_COLUMNS: Final = ", ".join(_FIELDS)
_ADDED: Final = _FIELDS[1:]


class Connection(Protocol):
    """What statements run on: of either engine, with `?` for parameters."""

    def execute(self, query: str, params: Sequence[Any] = ..., /) -> Any:
        """Run a statement; return the cursor."""
        ...

    def executemany(self, query: str, rows: Sequence[Sequence[Any]], /) -> Any:
        """Run a statement once for each row."""
        ...


class OutboxTables(ABC):
    """See log.outbox.Outbox."""

    _added = 0

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[Connection]:
        """Write in one transaction, alone; rolled back on any exception."""

    @abstractmethod
    def _rows(self, query: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""

    def unseen(self, scope: str, event_ids: Sequence[str]) -> set[str]:
        """Return those of some events that were not seen yet."""
        if not event_ids:
            return set()
        rows = self._rows(
            f"SELECT event_id FROM seen WHERE scope = ? AND event_id IN ({_marks(event_ids)})",
            (scope, *event_ids),
        )
        return set(event_ids) - {row[0] for row in rows}

    def forget(self, scope: str, event_ids: Sequence[str]) -> None:
        """Let events be new again, and count that as a replay of the scope."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO replays VALUES (?, 1)"
                " ON CONFLICT (scope) DO UPDATE SET times = replays.times + 1",
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
                "INSERT INTO seen (scope, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING", seen
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
            connection.execute(
                "INSERT INTO scopes VALUES (?, ?) ON CONFLICT DO NOTHING", (scope, now_ns)
            )
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
        with self._transaction() as connection:
            kept = connection.execute(
                "SELECT DISTINCT rule, definition FROM rule_states WHERE scope = ?", (scope,)
            ).fetchall()
            connection.executemany(
                "DELETE FROM rule_states WHERE scope = ? AND rule = ? AND definition = ?",
                [(scope, rule, text) for rule, text in kept if definitions.get(rule) != text],
            )

    def _add(self, connection: Connection, messages: Sequence[Message]) -> None:
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
                f"INSERT INTO messages ({', '.join(_ADDED)}) VALUES ({marks})"
                " ON CONFLICT DO NOTHING",
                [getattr(message, name) for name in _ADDED],
            )
            waiting[sort] = waiting.get(sort, 0) + 1
        self._prune(connection, len(messages))

    def _prune(self, connection: Connection, added: int) -> None:
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
            ids = list(chosen)
            if not ids:
                return []
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM messages WHERE id IN ({_marks(ids)})"
                " ORDER BY due_unix_nano, id",
                ids,
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
                f"INSERT INTO circuits VALUES ({marks}) ON CONFLICT DO NOTHING",
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
                "INSERT INTO mutes VALUES (?, ?) ON CONFLICT (rule)"
                " DO UPDATE SET until_unix_nano = excluded.until_unix_nano",
                (rule, until_unix_nano),
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


def _save_state(connection: Connection, scope: str, kept: RuleState) -> None:
    # Not an update: the order of rows says which changed longest ago.
    connection.execute(
        "DELETE FROM rule_states WHERE scope = ? AND rule = ? AND grouped = ?",
        (scope, kept.rule, kept.group),
    )
    if kept.state is None:
        return
    connection.execute(
        "INSERT INTO rule_states (scope, rule, grouped, definition, state) VALUES (?, ?, ?, ?, ?)",
        (scope, kept.rule, kept.group, kept.definition, kept.state),
    )


def _message(row: tuple[Any, ...]) -> Message:
    return Message(**dict(zip(_FIELDS, row, strict=True)))


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
