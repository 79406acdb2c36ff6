"""The log as a follower reads it: the events of one pipeline, or those of all."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from realm_telemetry.event import Event
from realm_telemetry.log.records import AppendResult
from realm_telemetry.log.rows import LogRow

MAX_CHUNKS: Final = 8


class _Chunk:
    """One transaction's events; rows are made when the first exporter asks."""

    def __init__(self, first_cursor: int, events: Sequence[Event], observed_unix_nano: int) -> None:
        self.first = first_cursor
        self.last = first_cursor + len(events) - 1
        self._events = events
        self._observed = observed_unix_nano
        self._rows: list[LogRow] | None = None

    def rows(self) -> list[LogRow]:
        rows = self._rows
        if rows is None:
            rows = self._rows = [
                LogRow(cursor, replace(event, observed_unix_nano=self._observed))
                for cursor, event in enumerate(self._events, self.first)
            ]
        return rows


class _View(NamedTuple):
    """All of the pipeline's events above `floor` are in the chunks, up to `last`."""

    floor: int
    last: int
    chunks: tuple[_Chunk, ...]


class Recent:
    """The last transactions; one thread adds, any thread reads.

    Every event of a pipeline passes through its one shipper, so that what lies between two
    transactions belongs to others.
    """

    def __init__(self) -> None:
        self._view = _View(0, 0, ())

    def start(self, last_cursor: int) -> None:
        """Nothing is known of what the log has up to here."""
        self._view = _View(last_cursor, last_cursor, ())

    def add(self, events: Sequence[Event], result: AppendResult) -> None:
        """Remember what a transaction stored."""
        if not result.stored:
            return
        if result.stored != len(events):
            # Some were there before; which ones, the log knows.
            self.start(result.last_cursor)
            return
        floor, _, chunks = self._view
        if len(chunks) == MAX_CHUNKS:
            floor, chunks = chunks[0].last, chunks[1:]
        chunk = _Chunk(result.first_cursor, events, result.observed_unix_nano)
        self._view = _View(floor, chunk.last, (*chunks, chunk))

    def after(self, cursor: int, limit: int) -> tuple[Sequence[LogRow], int] | None:
        """Rows behind a cursor and how far was looked; None if the log has to be asked."""
        floor, last, chunks = self._view
        if cursor < floor:
            return None
        found: list[LogRow] = []
        for chunk in chunks:
            if chunk.last > cursor and len(found) < limit:
                skipped = max(cursor - chunk.first + 1, 0)
                found += chunk.rows()[skipped : skipped + limit - len(found)]
        return found, found[-1].cursor if found else max(cursor, last)
