"""What webhooks remember, and how a batch of events becomes messages.

A batch of events is taken in one transaction: which events were seen, what the rules remember of
them, and the messages that follow. So a crash between any two steps neither fires twice nor loses a
firing. Only the sending itself is at least once.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from realm_exporter_webhook.database import Database
from realm_exporter_webhook.memory import Key, State
from realm_exporter_webhook.outbox import Message, Outbox
from realm_exporter_webhook.rules import REQUEST
from realm_telemetry.event import Event

KEPT_SEEN: Final = 200_000
"""Events that are recognised when they come again."""


class Store:
    """Events seen, states of rules, and the outbox. Raises sqlite3.Error, OSError."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self.outbox = Outbox(self._database)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def fresh(self, scope: str, wanted: Mapping[str, Event]) -> list[Event]:
        """Events, by id, that never came before, without addresses that were sent to already."""
        new = self._unseen(scope, list(wanted))
        asked = [id for id in new if wanted[id].webhooks]
        # Shared by all who send: a shipper and a service may both see the event, one of them late.
        done = set(asked) - self._unseen(REQUEST, asked)
        return [
            msgspec.structs.replace(event, webhooks=()) if id in done else event
            for id, event in wanted.items()
            if id in new
        ]

    def _unseen(self, scope: str, event_ids: Sequence[str]) -> set[str]:
        rows = self._database.rows(
            "SELECT event_id FROM seen WHERE scope = ?"
            " AND event_id IN (SELECT value FROM json_each(?))",
            (scope, msgspec.json.encode(event_ids).decode()),
        )
        return set(event_ids) - {row[0] for row in rows}

    def forget(self, scope: str, event_ids: Sequence[str]) -> None:
        """Let events be new again, for a replay that somebody asked for.

        Their messages get other names, or neither this store nor a receiver would take them.
        """
        with self._database.transaction() as connection:
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
        rows = self._database.rows("SELECT times FROM replays WHERE scope = ?", (scope,))
        return int(rows[0][0]) if rows else 0

    def take(
        self,
        scope: str,
        seen: Sequence[Event],
        states: Mapping[Key, State | None],
        definitions: Mapping[str, str],
        messages: Sequence[Message],
    ) -> None:
        """Keep what a batch has changed, whole or not at all.

        seen: events that are to be recognised when they come again.
        """
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO seen (scope, event_id) VALUES (?, ?)",
                [(scope, event.id) for event in seen]
                + [(REQUEST, event.id) for event in seen if event.webhooks],
            )
            for key, state in states.items():
                _save_state(connection, scope, key, definitions.get(key[0], ""), state)
            self.outbox.add(connection, messages)
            if seen:
                connection.execute(
                    "DELETE FROM seen WHERE id <= (SELECT max(id) FROM seen) - ?", (KEPT_SEEN,)
                )

    def began_ns(self, scope: str, now_ns: int) -> int:
        """When a scope was first begun: rules know nothing of what arrived before."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO scopes VALUES (?, ?)", (scope, now_ns))
            row = connection.execute(
                "SELECT began_unix_nano FROM scopes WHERE scope = ?", (scope,)
            ).fetchone()
            return int(row[0])

    def states(self, scope: str, definitions: Mapping[str, str]) -> dict[Key, State]:
        """What rules remember; a rule that is not what it was has forgotten everything."""
        rows = self._database.rows(
            "SELECT rule, grouped, definition, state FROM rule_states WHERE scope = ?"
            " ORDER BY rowid",
            (scope,),
        )
        return {
            (rule, group): msgspec.json.decode(state, type=State)
            for rule, group, definition, state in rows
            if definitions.get(rule, "") == definition
        }

    def forget_others(self, scope: str, definitions: Mapping[str, str]) -> None:
        """Remove what was kept for rules that are not there any more, or are others now."""
        with self._database.transaction() as connection:
            known = msgspec.json.encode([[name, text] for name, text in definitions.items()])
            connection.execute(
                "DELETE FROM rule_states WHERE scope = ? AND NOT EXISTS (SELECT 1 FROM"
                " json_each(?) WHERE value ->> 0 = rule AND value ->> 1 = definition)",
                (scope, known.decode()),
            )


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
