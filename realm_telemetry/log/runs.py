"""Runs in the log: a table that outlives the events, and the cursor up to which it has them."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

KEPT_SET_BACKS: Final = 100

Place = tuple[int, str]
"""Start and id of a run: its place in the list, newest first."""


class RunsMark(NamedTuple):
    """Up to which cursor the table has the events.

    set_backs: the last steps back of the log's clock, each the first cursor behind it and that
        row's arrival; for records that have not been touched since.
    """

    cursor: int = 0
    set_backs: tuple[tuple[int, int], ...] = ()

    def advanced(self, cursor: int, set_backs: tuple[tuple[int, int], ...]) -> "RunsMark":
        """Return the mark of a later cursor, with further steps of the clock."""
        return RunsMark(cursor, (self.set_backs + set_backs)[-KEPT_SET_BACKS:])


class StoredRun(msgspec.Struct, frozen=True):
    """A run of the table.

    started, updated: nanoseconds since 1970. status: None for what is no run to be shown.
    through: the cursor of the mark that it was saved with. record: as the fold dumps it.
    """

    run_id: str
    started: int
    updated: int
    status: str | None
    command: str | None
    through: int
    record: bytes

    @property
    def place(self) -> Place:
        """Where it stands in the list."""
        return self.started, self.run_id


class RunsWanted(msgspec.Struct, frozen=True):
    """Which runs are wanted, newest first by their start; an empty field wants all.

    since: heard of at or after, nanoseconds. words: part of the id or the command, in any case.
    below: the place after which the list begins.
    """

    statuses: tuple[str, ...] = ()
    since: int | None = None
    words: str = ""
    below: Place | None = None
    limit: int = 100

    def matches(self, run: StoredRun) -> bool:
        """Whether a run is wanted; the same answer as the log's query gives."""
        words = self.words.lower()
        return (
            run.status is not None
            and (not self.statuses or run.status in self.statuses)
            and (self.since is None or run.updated >= self.since)
            and (words in run.run_id.lower() or words in (run.command or "").lower())
            and (self.below is None or run.place < self.below)
        )


def read_mark(value: Any) -> RunsMark:
    """Return the mark that `mark_text` wrote; that of an empty table for anything else."""
    try:
        cursor, set_backs = msgspec.json.decode(value, type=tuple[int, list[tuple[int, int]]])
    except (msgspec.MsgspecError, TypeError):
        return RunsMark()
    return RunsMark(cursor, tuple(set_backs))


def mark_text(mark: RunsMark) -> str:
    """Return a mark as the log keeps it."""
    return msgspec.json.encode(tuple(mark)).decode()


class RunsTable(Protocol):
    """The part of a log's snapshot that reads the table of runs."""

    def run(self, run_id: str) -> StoredRun | None:
        """One run of the table, true at its mark."""
        ...

    def runs(self, wanted: RunsWanted) -> list[StoredRun]:
        """Runs of the table, newest first by their start."""
        ...

    def run_counts(self) -> dict[str, int]:
        """How many runs of the table have each status; those without one are none to be shown."""
        ...

    def runs_mark(self) -> RunsMark:
        """Up to which cursor the table has the events; retention stays below."""
        ...


class RunsWriter(Protocol):
    """The part of a log's writer that saves runs."""

    def save_runs(self, found: Sequence[StoredRun], mark: RunsMark, *, after: int) -> int:
        """Save runs and the mark that they are true at; return the cursor that counts then.

        after: the cursor they were made from; if it has moved since, nothing is saved.
        """
        ...
