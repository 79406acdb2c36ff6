"""The numbers of groups, as a writer remembers them."""

from collections.abc import Collection
from typing import Final

from realm_telemetry.log.postgres.columns import Group
from realm_telemetry.log.postgres.connection import Session
from realm_telemetry.log.postgres.texts import to_name

_READ: Final = "SELECT kind, channel, severity, id FROM realm_groups"
_ADD: Final = """
INSERT INTO realm_groups (kind, channel, severity) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"""


class Groups:
    """The groups that were met, each with its number. numbers: by the names of events."""

    def __init__(self) -> None:
        self.numbers: dict[Group, int] = {}
        self._kinds: dict[int, str] = {}

    def forget(self) -> None:
        """Forget all: what was added may have been rolled back."""
        self.numbers.clear()

    def kind(self, number: int | None) -> str:
        """Return the kind of a group, as it is stored."""
        return self._kinds.get(number or 0, "?")

    def learn(self, session: Session, wanted: Collection[Group]) -> None:
        """Read the numbers of groups, and add those that there are not."""
        stored = {
            group: (to_name(group[0]), to_name(group[1]), to_name(group[2]))
            for group in wanted
            if group not in self.numbers
        }
        if not stored:
            return
        known = self._read(session)
        missing = sorted(set(stored.values()) - known.keys())
        for group in missing:
            session.execute(_ADD, group)
        if missing:
            known = self._read(session)
        self._kinds = {number: group[0] for group, number in known.items()}
        self.numbers |= {group: known[name] for group, name in stored.items()}

    def _read(self, session: Session) -> dict[Group, int]:
        rows = session.execute(_READ)
        return {(kind, channel, severity): number for kind, channel, severity, number in rows}
