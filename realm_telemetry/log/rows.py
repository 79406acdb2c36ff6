"""What the log answers with: rows, pages of them, and steps of a tail."""

from typing import Final, Literal

import msgspec

from realm_telemetry.event import Event

Relation = Literal["eq", "gte"]
"""Whether a count is exact, or there may be more."""

UNREADABLE: Final = "realm.unreadable"
"""The detail of an event whose row other software wrote: what of it cannot be read, and why."""


class LogRow(msgspec.Struct, frozen=True, gc=False):
    """An event where it stands in the log.

    cursor: the row id, in order of arrival.
    replayed: it was replayed out of another log, whose arrival the event has.
    set_back_unix_nano: when the log's clock went back by over 60 s before this row, and after the
        one read before it: the arrival of the first row after that. For folds, see folds.clock.
    """

    cursor: int
    event: Event
    replayed: bool = False
    set_back_unix_nano: int | None = None


class Page(msgspec.Struct, frozen=True):
    """Rows newest first: by time, for a search by arrival.

    next_token: leads to the rows below; None after the last. A page can be short and still have
        one: looking for rare rows has a time limit.
    as_of: rows that arrived later than this one are left out, on all further pages too.
    total: how many rows match in all; relation "gte" if there may be more.
    indexed_through: for a search, the last row that came from the index.
    """

    rows: list[LogRow]
    next_token: str | None
    as_of: int
    total: int
    relation: Relation
    indexed_through: int | None = None


class Followed(msgspec.Struct, frozen=True):
    """Rows in order of arrival, and the cursor to go on from, which may be past the last one."""

    rows: list[LogRow]
    cursor: int
