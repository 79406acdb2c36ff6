"""Tables of rows (field, rule): what the events of some kinds set in a record.

A row names a field that readers see and the rule by which events set it. Rules are made into one
plan for each kind when a section is put together, so that an event costs no look at the table.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.state.values import (
    bounded,
    complete,
    identity,
    number,
    shown,
)

NOTHING: Final = msgspec.UNSET
"""The default of a rule by which a field stays as it was where an event says nothing of it."""

Read = Callable[[Event], Any]
Fields = Mapping[str, Any]


class Rule(msgspec.Struct, frozen=True):
    """How events set a field.

    kinds: of the events that set it; None for all kinds of the table.
    detail: the name of a detail, which is kept within bounds unless it is absent or null.
    read: reads the value from the event instead.
    default: what the field is set to where there is no such detail, or None is read; NOTHING
        leaves it as it was.
    """

    kinds: frozenset[str] | None = None
    detail: str | None = None
    read: Read | None = None
    default: Any = NOTHING

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


def attribute(name: str, default: Any = NOTHING) -> Rule:
    """Keep a field of the event itself."""
    return Rule(read=attrgetter(name), default=default)


def computed(read: Read) -> Rule:
    """Set what a function reads; None leaves the field as it was."""
    return Rule(read=read)


def time_of(*kinds: str) -> Rule:
    """Keep the event's own time."""
    return attribute("time_unix_nano").on(*kinds)


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


def plan(rows: Rows, kind: str) -> Callable[[Event], dict[str, Any]]:
    """Return what gives the fields that an event of one kind sets.

    Every event comes through here, so that all that is known of the kind is looked up before.
    """
    ruled = [(field, rule) for field, given in rows.items() for rule in _rules(given, kind)]
    constants = {field: rule.default for field, rule in ruled if rule.default is not NOTHING}
    named = [(field, rule.detail) for field, rule in ruled if rule.detail is not None]
    reads = [(field, rule.read) for field, rule in ruled if rule.read is not None]

    def fields_of(event: Event) -> dict[str, Any]:
        fields, details = constants.copy(), event.details
        for field, name in named:
            value = details.get(name)
            if value is not None:
                fields[field] = value if type(value) is float else bounded(value)
        for field, read in reads:
            value = read(event)
            if value is not None:
                fields[field] = value
        return fields

    return fields_of


def _rules(given: Rule | tuple[Rule, ...], kind: str) -> list[Rule]:
    rules = given if isinstance(given, tuple) else (given,)
    return [rule for rule in rules if rule.kinds is None or kind in rule.kinds]


class Table(msgspec.Struct, frozen=True):
    """One sort of record, or the fields of the section itself.

    records: the name of the collection; empty for the fields of the section itself.
    kinds: of the events that set something.
    rows: by which rules. limit: how many records are kept.
    key: the record that an event is about; None for none.
    rank: makes of the fields what they are stamped with instead of the event's time and id; None
        to keep nothing.
    """

    records: str
    kinds: tuple[str, ...]
    rows: Rows
    limit: int = 0
    key: Callable[[Event], str | None] = lambda event: event.id
    rank: Callable[[Fields, Stamp], Stamp | None] | None = None

    def show(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record as readers see it: every row, None where nothing has set it."""
        return complete(self.rows, shown(fields))


def by_detail(*names: str) -> Callable[[Event], str | None]:
    """Key records by the first of these details that can name one."""
    return lambda event: identity(event.details, *names)


def least_first(fields: Fields, stamp: Stamp) -> Stamp | None:
    """Rank by the loss, the least above all others; None without a loss."""
    loss = number(fields.get("loss"))
    return None if loss is None else (-loss, *stamp)


def whole(table: Table) -> Rule:
    """Keep all that an event sets in another table as one value, so that it is of one event."""
    plans = {kind: plan(table.rows, kind) for kind in table.kinds}
    return Rule(read=lambda event: plans[event.kind](event))
