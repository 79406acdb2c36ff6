"""Tables of rows (field, rule): what the events of some kinds set in a record.

A row names a field that readers see and the rule by which events set it. Rules are made into one
plan for each kind when a section is put together, so that an event costs no look at the table.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.folds.state.lattice import Stamp
from realm_telemetry.folds.state.values import (
    bounded,
    complete,
    identity,
    number,
    pick,
    shown,
)

NOTHING: Final = msgspec.UNSET
"""What a rule reads where an event says nothing of the field: it stays as it was."""

Read = Callable[[Event], Any]


class Rule(msgspec.Struct, frozen=True):
    """How events set a field.

    kinds: of the events that set it; None for all kinds of the table.
    detail: the name of a detail, which is kept within bounds unless it is absent or null.
    default: what the field is set to where there is no such detail.
    read: reads the value from the event instead.
    """

    kinds: frozenset[str] | None = None
    detail: str | None = None
    default: Any = NOTHING
    read: Read | None = None

    def on(self, *kinds: str) -> "Rule":
        """Return the same rule for some kinds of the table."""
        return msgspec.structs.replace(self, kinds=frozenset(kinds))


Rows = Mapping[str, Rule | tuple[Rule, ...]]
"""Field by field, in the order in which they are shown."""

SHOWN: Final = Rule(kinds=frozenset())
"""No event sets it: the key, or a field that is computed when the state is read."""


def detail(name: str, default: Any = NOTHING) -> Rule:
    """Keep a detail."""
    return Rule(detail=name, default=default)


def details(*names: str) -> dict[str, Rule]:
    """Return a row for each detail that is kept under its own name."""
    return {name: detail(name) for name in names}


def always(value: Any) -> Rule:
    """Set one value."""
    return Rule(default=value)


def attribute(name: str) -> Rule:
    """Keep a field of the event itself, unless it is None."""
    return Rule(read=lambda event: _unless_none(getattr(event, name)))


def attribute_or_none(name: str) -> Rule:
    """Set the field to what the event itself has, None too."""
    return Rule(read=lambda event: getattr(event, name))


def computed(read: Read) -> Rule:
    """Set what a function reads; NOTHING leaves the field as it was."""
    return Rule(read=read)


def time_of(*kinds: str) -> Rule:
    """Keep the event's own time."""
    return Rule(read=lambda event: event.time_unix_nano).on(*kinds)


def times(stem: str, *words: str) -> dict[str, Rule]:
    """Return a row for each time of a lifecycle: `started_at` is when `<stem>_started` was."""
    return {f"{word}_at": time_of(f"{stem}_{word}") for word in words}


STATUS_OF: Final = {
    "started": "running",
    "resumed": "running",
    "submitted": "waiting",
    "retried": "waiting",
}
"""Status that a lifecycle event leads to, where it is not the last word of the kind itself."""


def statuses(kinds: Iterable[str]) -> tuple[Rule, ...]:
    """Set the status that each kind of a lifecycle leads to."""
    words = {kind: kind.partition("_")[2] for kind in kinds}
    return tuple(always(STATUS_OF.get(word, word)).on(kind) for kind, word in words.items())


def errors(kinds: Iterable[str]) -> tuple[Rule, ...]:
    """Keep the error of a failure; a new attempt clears the error of the one before."""
    return tuple(
        (detail("error", None) if kind.endswith("_failed") else always(None)).on(kind)
        for kind in kinds
    )


class Plan:
    """What one kind sets: constants, details and what has to be read from the event."""

    __slots__ = ("_constants", "_details", "_read", "_renamed")

    def __init__(self, rows: Rows, kind: str) -> None:
        self._constants: dict[str, Any] = {}
        self._details: list[str] = []
        self._renamed: list[tuple[str, str]] = []
        self._read: list[tuple[str, Read]] = []
        for field, given in rows.items():
            for rule in given if isinstance(given, tuple) else (given,):
                if rule.kinds is None or kind in rule.kinds:
                    self._add(field, rule)

    def _add(self, field: str, rule: Rule) -> None:
        if rule.default is not NOTHING:
            self._constants[field] = rule.default
        if rule.read is not None:
            self._read.append((field, rule.read))
        elif rule.detail == field:
            self._details.append(field)
        elif rule.detail is not None:
            self._renamed.append((field, rule.detail))

    def fields(self, event: Event) -> dict[str, Any]:
        """Return the fields that an event sets."""
        fields = self._constants | pick(event.details, self._details)
        for field, name in self._renamed:
            value = event.details.get(name)
            if value is not None:
                fields[field] = bounded(value)
        for field, read in self._read:
            value = read(event)
            if value is not NOTHING:
                fields[field] = value
        return fields


class Table(msgspec.Struct, frozen=True):
    """One sort of record, or the fields of the section itself.

    records: the name of the collection; empty for the fields of the section itself.
    kinds: of the events that set something.
    rows: by which rules. limit: how many records are kept.
    key: the record that an event is about; None for none.
    rank: what an event's fields are stamped with, if not its time and id; None to keep nothing.
    """

    records: str
    kinds: tuple[str, ...]
    rows: Rows
    limit: int = 0
    key: Callable[[Event], str | None] = lambda event: event.id
    rank: Callable[[Event, Stamp], Stamp | None] | None = None

    def show(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record as readers see it: every row, None where nothing has set it."""
        return complete(self.rows, shown(fields))


def by_detail(*names: str) -> Callable[[Event], str | None]:
    """Key records by the first of these details that can name one."""
    return lambda event: identity(event.details, *names)


def least_first(event: Event, stamp: Stamp) -> Stamp | None:
    """Rank an event by its loss, the least above all others; None without a loss."""
    loss = number(event.details.get("loss"))
    return None if loss is None else (-loss, *stamp)


def whole(table: Table) -> Rule:
    """Keep all that an event sets in another table as one value, so that it is of one event."""
    plans = {kind: Plan(table.rows, kind) for kind in table.kinds}
    return Rule(read=lambda event: plans[event.kind].fields(event))


def _unless_none(value: Any) -> Any:
    return NOTHING if value is None else value
