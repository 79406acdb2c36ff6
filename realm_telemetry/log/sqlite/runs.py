"""The table of runs. It came with schema 12 and is made by the first writer that misses it."""

import sqlite3
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from realm_telemetry.log.runs import RunsMark, RunsWanted, StoredRun, mark_text, read_mark
from realm_telemetry.log.sqlite.schema import has_runs

_COLUMNS: Final = "run_id, started, updated, status, command, through, record"
_SAVE: Final = f"INSERT OR REPLACE INTO realm_runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
_MARK: Final = "SELECT value FROM realm_meta WHERE key = 'runs'"
_LIST: Final = """
SELECT run_id, started, updated, status, command, through, x'' FROM realm_runs
WHERE status IS NOT NULL AND updated >= ? AND (started, run_id) < (?, ?)"""
_COUNTS: Final = "SELECT status, count(*) FROM realm_runs WHERE status IS NOT NULL GROUP BY status"
_END: Final = (2**63 - 1, "")


def runs_mark(connection: sqlite3.Connection) -> RunsMark:
    """Up to which cursor the table has the events."""
    row = connection.execute(_MARK).fetchone() if has_runs(connection) else None
    return read_mark(row[0]) if row else RunsMark()


def read_run(connection: sqlite3.Connection, run_id: str) -> StoredRun | None:
    """One run of the table."""
    if not has_runs(connection):
        return None
    query = f"SELECT {_COLUMNS} FROM realm_runs WHERE run_id = ?"
    row = connection.execute(query, (run_id,)).fetchone()
    return StoredRun(*row) if row else None


def read_runs(connection: sqlite3.Connection, wanted: RunsWanted) -> list[StoredRun]:
    """The runs of the table that are wanted, newest first by their start.

    Words are looked for here, because SQLite knows the case of ASCII alone.
    """
    if not has_runs(connection):
        return []
    since = -(2**63) if wanted.since is None else wanted.since
    query, params = _LIST, [since, *(wanted.below or _END)]
    if wanted.statuses:
        query += f" AND status IN ({', '.join('?' * len(wanted.statuses))})"
        params += wanted.statuses
    query += " ORDER BY started DESC, run_id DESC"
    wanted_ones = filter(
        wanted.matches, (StoredRun(*row) for row in connection.execute(query, params))
    )
    ids = [run.run_id for run in islice(wanted_ones, wanted.limit)]
    return [run for run_id in ids if (run := read_run(connection, run_id)) is not None]


def count_runs(connection: sqlite3.Connection) -> dict[str, int]:
    """How many runs of the table have each status."""
    return dict(connection.execute(_COUNTS).fetchall()) if has_runs(connection) else {}


def save_runs(
    connection: sqlite3.Connection, runs: Sequence[StoredRun], mark: RunsMark, after: int
) -> int:
    """Save runs and the mark they are true at; return the cursor of the mark that counts then.

    after: the cursor that they were made from. Nothing is saved if that of the table is another.
    """
    known = runs_mark(connection).cursor
    if known != after:
        return known
    connection.executemany(_SAVE, [_row(run) for run in runs])
    connection.execute("INSERT OR REPLACE INTO realm_meta VALUES ('runs', ?)", (mark_text(mark),))
    return mark.cursor


def _row(run: StoredRun) -> tuple[Any, ...]:
    return tuple(getattr(run, name) for name in StoredRun.__struct_fields__)
