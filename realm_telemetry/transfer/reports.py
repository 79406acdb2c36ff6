"""What an import took and what not, for people and programs."""

from typing import Final, Literal

import msgspec

Outcome = Literal["imported", "dry_run", "own_log", "empty"]

MAX_EXAMPLES: Final = 10


class BrokenLine(msgspec.Struct, frozen=True):
    """A line or row that is no event, and why."""

    number: int
    reason: str


class ImportReport(msgspec.Struct):
    """What became of one file, or of one table of it.

    outcome: own_log is a file that is this home's log already, to which nothing was done.
    unit: what is counted, line or row. taken, already: events stored now, and known before.
    broken: lines or rows that are no event; examples has the first of them, kept_aside the file
        that holds them all. blank: empty lines.
    without_zone, with_zone: times by whether they named one; zone: what the former were read as.
    first, last: the earliest and latest time of the events.
    """

    path: str
    kind: str
    outcome: Outcome = "imported"
    unit: str = "line"
    seen: int = 0
    taken: int = 0
    already: int = 0
    broken: int = 0
    blank: int = 0
    without_zone: int = 0
    with_zone: int = 0
    zone: str = ""
    first: str | None = None
    last: str | None = None
    examples: list[BrokenLine] = []
    kept_aside: str | None = None
