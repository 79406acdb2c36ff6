"""One full text search: the rows that the index has not seen, then the index."""

import sqlite3
import time
from typing import Final

from realm_telemetry.kinds.catalog import is_routine
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import READ_COLUMNS, LogRow, to_log_row
from realm_telemetry.log.sqlite.conditions import Condition, both, residual, within
from realm_telemetry.log.sqlite.migrations import read_log_id
from realm_telemetry.log.sqlite.paths import matching
from realm_telemetry.log.text import contains_words, match_expression
from realm_telemetry.log.tokens import Position

_CHUNK: Final = 500
_INSTRUCTIONS_A_CHECK: Final = 20_000


class Query:
    """The search for one page; `ids` holds what it has found, one more than the limit at least
    if there are further rows.
    """

    def __init__(
        self, log: sqlite3.Connection, filters: Filters, limit: int, deadline: float
    ) -> None:
        self._log = log
        self._log_id = read_log_id(log)
        self._filters = filters
        self._limit = limit
        self._deadline = deadline
        self._condition: Condition = both(
            [residual(filters), within(filters.since_unix_nano, filters.until_unix_nano)]
        )
        self.ids: list[int] = []

    def read_tail(self, below: int, through: int) -> int | None:
        """Read rows over `through`; returns where it stopped, None if it saw them all."""
        condition = self._condition
        while len(self.ids) <= self._limit:
            # The window is of ids, so that one step is short however few rows are wanted.
            low = max(through, below - 1 - _CHUNK)
            rows = rows_where(
                self._log,
                f"id > ? AND id < ? AND {condition.sql} ORDER BY id DESC",
                (low, below, *condition.params),
                self._log_id,
            )
            self.ids += [row.cursor for row in rows if self._wants(row)]
            if low == through:
                return None
            below = low + 1
            if time.monotonic() > self._deadline:
                return below
        return below

    def search(self, index: sqlite3.Connection, below: int) -> int | None:
        """Ask the index; returns where it stopped, None if it saw all hits."""
        index.set_progress_handler(self._is_late, _INSTRUCTIONS_A_CHECK)
        found = index.execute(
            "SELECT rowid FROM event_text WHERE event_text MATCH ? AND rowid < ?"
            " ORDER BY rowid DESC",
            (match_expression(self._filters.q), below),
        )
        place: int | None = below
        try:
            while len(self.ids) <= self._limit:
                hits = [row[0] for row in found.fetchmany(max(self._limit + 1, 100))]
                if not hits:
                    return None
                self.ids += self._kept(hits)
                place = hits[-1]
                if self._is_late():
                    return place
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
        return place

    def _wants(self, row: LogRow) -> bool:
        return not is_routine(row.event.kind) and contains_words(row.event, self._filters.q)

    def _kept(self, hits: list[int]) -> list[int]:
        positions = [Position(0, hit) for hit in hits]
        return [row.cursor for row in matching(self._log, positions, self._condition)]

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline


def rows_where(
    log: sqlite3.Connection, where: str, params: tuple[object, ...], log_id: str
) -> list[LogRow]:
    """The rows for which a piece of SQL is true."""
    rows = log.execute(f"SELECT {READ_COLUMNS} FROM battle_log WHERE {where}", params)
    return [to_log_row(row, log_id) for row in rows]
