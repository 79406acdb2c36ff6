"""Full text search: an index in its own file, filled behind the writer, that can be rebuilt.

A search looks at the rows that the index has not seen, then at the index.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from realm_telemetry.errors import LogError
from realm_telemetry.home import make_private_directory
from realm_telemetry.kinds.catalog import is_routine
from realm_telemetry.log.kind_watch import learn_kinds
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.connection import check_place, open_reader
from realm_telemetry.log.sqlite.kinds import read_kinds
from realm_telemetry.log.sqlite.plan import Plan, matching
from realm_telemetry.log.sqlite.rows import READ_COLUMNS, to_log_row
from realm_telemetry.log.sqlite.schema import read_log_id
from realm_telemetry.log.sqlite.side_files import rename_damaged, usable
from realm_telemetry.log.text import contains_words, match_expression, search_text
from realm_telemetry.log.tokens import Position

_CHUNK: Final = 500
_INSTRUCTIONS_A_CHECK: Final = 20_000


class _DamagedIndexError(Exception):
    """The index cannot be asked; the log's own errors are none of these."""


class _Query:
    """The search for one page; `ids` has more than `limit` of them if there are further rows."""

    def __init__(self, log: sqlite3.Connection, plan: Plan, limit: int, deadline: float) -> None:
        self._log = log
        self._log_id = read_log_id(log)
        self._words = plan.filters.q
        self._limit = limit
        self._deadline = deadline
        self._condition = plan.row
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
        place = below
        for hits in self._hits(index, below):
            self.ids += self._kept(hits)
            place = hits[-1]
            if len(self.ids) > self._limit or self._is_late():
                return place
        return place if self._is_late() else None

    def _hits(self, index: sqlite3.Connection, below: int) -> Iterator[list[int]]:
        """Row ids that the index has, until it is late. Raises _DamagedIndexError."""
        query = (
            "SELECT rowid FROM event_text WHERE event_text MATCH ? AND rowid < ?"
            " ORDER BY rowid DESC"
        )
        try:
            found = index.execute(query, (match_expression(self._words), below))
            while rows := found.fetchmany(max(self._limit + 1, 100)):
                yield [row[0] for row in rows]
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise _DamagedIndexError(str(error)) from error

    def _wants(self, row: LogRow) -> bool:
        return not is_routine(row.event.kind) and contains_words(row.event, self._words)

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


BUDGET_S: Final = 0.2
_LOST: Final = "Nothing is lost with it: the log has every word."
_INDEX_BUSY_MS: Final = 200

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS search_meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    "CREATE VIRTUAL TABLE IF NOT EXISTS event_text USING fts5("
    "text, content = '', detail = full, tokenize = 'unicode61 remove_diacritics 2')",
)


class Hits(msgspec.Struct, frozen=True):
    """Rows that hold the words, newest arrival first.

    further: the row id to go on below; None if there are no more.
    indexed_through: rows up to this one come from the index, later ones were read.
    """

    ids: list[int]
    further: int | None
    indexed_through: int


class SearchIndex:
    """The full text index of one log, of all kinds that are not routine.

    A row that retention removed stays in the index (SQLite before 3.43 cannot delete from a
    contentless one) and is left out when found; `rebuild` starts afresh. Steps take turns;
    queries may come from any thread.
    """

    def __init__(self, log_path: Path, search_path: Path) -> None:
        self.log_path = Path(log_path)
        self.search_path = Path(search_path)
        self._step_lock = threading.Lock()

    def index_step(self, max_rows: int = 1000) -> int:
        """Index the next rows of the log; returns how many it looked at, 0 if it is up to date.

        Raises LogError if there is no log.
        """
        with self._step_lock, closing(open_reader(self.log_path)) as log:
            # A log that is damaged must not cost the index: its errors are not the index's.
            learn_kinds(read_kinds(log))
            return usable(self.search_path, lambda: self._index(log, max_rows), _LOST)

    def rebuild(self) -> None:
        """Throw the index away; the next steps fill it again."""
        with self._step_lock:
            self._remove()

    def indexed_through(self, log_id: str) -> int:
        """The highest row id that the index has seen; 0 if there is none for this log."""
        with self._reading(log_id) as index:
            return _indexed_through(index) if index else 0

    def query(
        self,
        log: sqlite3.Connection,
        plan: Plan,
        *,
        below: int,
        limit: int,
        deadline: float | None = None,
    ) -> Hits:
        """Find the newest rows with an id under `below` that hold the words of the plan.

        log: a read connection inside a snapshot. deadline: time.monotonic(), 200 ms from now by
        default; what is found by then makes a shorter page.
        """
        deadline = time.monotonic() + BUDGET_S if deadline is None else deadline
        learn_kinds(read_kinds(log))
        with self._reading(read_log_id(log)) as index:
            query = _Query(log, plan, limit, deadline)
            through = _indexed_through(index) if index else 0
            further = query.read_tail(below, through)
            if further is None and index and len(query.ids) <= limit:
                further = self._search(query, index, min(below, through + 1))
        ids = query.ids
        if len(ids) > limit:
            return Hits(ids[:limit], ids[limit - 1], through)
        return Hits(ids, further, through)

    def _search(self, query: _Query, index: sqlite3.Connection, below: int) -> int | None:
        """Ask the index; read the rows themselves where it is damaged."""
        found = len(query.ids)
        try:
            return query.search(index, below)
        except _DamagedIndexError as error:
            with suppress(OSError):
                rename_damaged(self.search_path, error, _LOST)
            del query.ids[found:]
            return query.read_tail(below, 0)

    def _index(self, log: sqlite3.Connection, max_rows: int) -> int:
        log_id = read_log_id(log)
        with closing(self._open()) as index:
            if _is_of(index, log_id):
                return _index_next(log, index, max_rows, log_id)
        # Left from a log that was moved away.
        self._remove()
        with closing(self._open()) as index:
            return _index_next(log, index, max_rows, log_id)

    def _open(self) -> sqlite3.Connection:
        check_place(self.search_path)
        make_private_directory(self.search_path.parent)
        index = sqlite3.connect(
            self.search_path, timeout=30, isolation_level=None, check_same_thread=False
        )
        try:
            index.execute("PRAGMA journal_mode = WAL")
            index.execute("PRAGMA synchronous = NORMAL")
            for statement in _SCHEMA:
                index.execute(statement)
        except BaseException:
            index.close()
            raise
        return index

    @contextmanager
    def _reading(self, log_id: str) -> Iterator[sqlite3.Connection | None]:
        """The index for reading; None if there is none, or not of this log, or a broken one."""
        index = self._open_for_reading(log_id)
        try:
            yield index
        finally:
            if index:
                index.close()

    def _open_for_reading(self, log_id: str) -> sqlite3.Connection | None:
        try:
            index = open_reader(self.search_path)
        except (LogError, OSError):
            return None
        try:
            index.execute(f"PRAGMA busy_timeout = {_INDEX_BUSY_MS}")
            if _is_of(index, log_id):
                # So that one whose other tables are missing is none.
                _indexed_through(index)
                return index
        except sqlite3.DatabaseError:
            pass
        index.close()
        return None

    def _remove(self) -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{self.search_path}{end}").unlink(missing_ok=True)


def _index_next(
    log: sqlite3.Connection, index: sqlite3.Connection, max_rows: int, log_id: str
) -> int:
    through = _indexed_through(index)
    rows = rows_where(log, "id > ? ORDER BY id LIMIT ?", (through, max_rows), log_id)
    if rows:
        _add(index, rows, log_id)
    return len(rows)


def _add(index: sqlite3.Connection, rows: list[LogRow], log_id: str) -> None:
    index.execute("BEGIN IMMEDIATE")
    try:
        index.executemany(
            "INSERT INTO event_text (rowid, text) VALUES (?, ?)",
            [
                (row.cursor, search_text(row.event))
                for row in rows
                if not is_routine(row.event.kind)
            ],
        )
        index.executemany(
            "INSERT OR REPLACE INTO search_meta VALUES (?, ?)",
            [("log_id", log_id), ("indexed_through", rows[-1].cursor)],
        )
        index.execute("COMMIT")
    finally:
        if index.in_transaction:
            index.execute("ROLLBACK")


def _is_of(index: sqlite3.Connection, log_id: str) -> bool:
    row = index.execute("SELECT value FROM search_meta WHERE key = 'log_id'").fetchone()
    return row is None or row[0] == log_id


def _indexed_through(index: sqlite3.Connection) -> int:
    row = index.execute("SELECT value FROM search_meta WHERE key = 'indexed_through'").fetchone()
    return row[0] if row and isinstance(row[0], int) else 0
