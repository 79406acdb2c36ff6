"""A whole log that moves to another engine: its rows and tables, and the seal behind them.

The file stays where it is and goes on as the log of its host, under a new id: what is stored behind
the seal is sent to the service of the moved log, as by any other host.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from realm_telemetry.home import CURVES, WEBHOOKS
from realm_telemetry.log.engine import Log
from realm_telemetry.log.event_rows import Row, mended, to_rows
from realm_telemetry.log.records import Moved
from realm_telemetry.log.sqlite.addresses import addresses_path
from realm_telemetry.log.sqlite.connection import explained, open_reader, translated
from realm_telemetry.log.sqlite.inserts import last_arrival, last_cursor
from realm_telemetry.log.sqlite.log import SqliteLog
from realm_telemetry.log.sqlite.rows import READ_COLUMNS, is_plain, to_log_row
from realm_telemetry.log.sqlite.schema import read_moved

_ROWS: Final = f"SELECT {READ_COLUMNS} FROM battle_log WHERE id > ? ORDER BY id LIMIT ?"
_IDS: Final = "SELECT id, event_id FROM battle_log WHERE id > ? AND id <= ? ORDER BY id"
_SUMS: Final = "SELECT count(*), coalesce(sum(id), 0), coalesce(min(id), 0) FROM battle_log"

TABLES: Final = {
    "totals": "SELECT kind, channel, severity, happened, gone FROM realm_totals",
    "hours": "SELECT hour, kind, channel, severity, happened, gone FROM realm_hourly_counts",
    "run_hours": "SELECT hour, run_id, kind, channel, severity, happened FROM realm_run_counts",
    "producers": (
        "SELECT producer, pipeline, resource_json, history, clock_offset_ns, done, stored, emitted,"
        " dropped, ended, last_kind, last_step, last_time_unix_nano, origin FROM realm_producers"
    ),
    # Pipelines of this host go on here; a service's own exporters go on there.
    "cursors": "SELECT pipeline, exporter, cursor FROM realm_cursors WHERE pipeline = ''",
    "dead_letters": (
        "SELECT pipeline, exporter, cursor, lower(hex(event_id)), reason, time_unix_nano"
        " FROM realm_dead_letters ORDER BY id"
    ),
    "requests": "SELECT cursor, urls FROM webhook_requests",
    "kinds": "SELECT kind, channel, severity, message, routine FROM realm_kinds",
    "jumps": "SELECT cursor, arrival_unix_nano FROM realm_clock_jumps",
    "runs": ("SELECT run_id, started, updated, status, command, through, record FROM realm_runs"),
    "meta": (
        "SELECT key, value FROM realm_meta WHERE key = 'runs' OR key LIKE 'refused/%'"
        " OR key LIKE 'set back//%'"
    ),
}
"""The tables that move, and what is read of each; see log.postgres.move for where it goes."""

OUTBOX: Final = {
    "messages": (
        "SELECT message_id, scope, rule, title, target, url, events, body, state, attempts,"
        " due_unix_nano, created_unix_nano, settled_unix_nano, status, problem"
        " FROM messages ORDER BY id"
    ),
    "rule_states": "SELECT scope, rule, grouped, definition, state FROM rule_states ORDER BY rowid",
    "scopes": "SELECT scope, began_unix_nano FROM scopes",
    "seen": "SELECT scope, event_id FROM seen ORDER BY id",
    "replays": "SELECT scope, times FROM replays",
    "circuits": "SELECT scope, pool, place, failures, until_unix_nano, reason FROM circuits",
    "mutes": "SELECT rule, until_unix_nano FROM mutes",
}

_CURVES: Final = {
    "curves_mark": "SELECT log_id, mark FROM realm_curves_mark WHERE log_id = ?",
    "curves": "SELECT run_id, part, through, content, {thin} FROM realm_curves",
}
_KNOWS_THIN: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'realm_curves_thin'"
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Departure:
    """The log of a home while it is moved. Raises LogUnavailableError.

    log_id: what it has now.
    """

    def __init__(self, log: Log, home: Path) -> None:
        assert isinstance(log, SqliteLog), "only a log in SQLite moves"
        self._log = log
        self._home = home
        self._outbox_path = home / WEBHOOKS
        self._writer = log.writer()
        self._locked: sqlite3.Connection | None = None
        self.log_id = self._writer.log_id
        try:
            self._connection = open_reader(log.path)
        except BaseException:
            self._writer.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._writer.close()

    def moved(self) -> Moved | None:
        """Return where the log was moved to; None for one that was not."""
        with explained(self._log.path):
            return read_moved(self._connection)

    def fill(self) -> None:
        """Fill in all rows of an older table."""
        while self._writer.backfill_step():
            pass

    def last_cursor(self) -> int:
        """Return the cursor of the last row, even if that is gone."""
        with explained(self._log.path):
            return last_cursor(self._connection)

    def last_arrival(self) -> int | None:
        """Return the arrival of the last row."""
        with explained(self._log.path):
            return last_arrival(self._connection)

    def rows(self, after: int, limit: int) -> list[Row]:
        """Return rows behind a cursor, in the order of READ_COLUMNS, each as an append makes it.

        What other software has written is made storable, as it is for those who read it.
        """
        with explained(self._log.path):
            rows = self._connection.execute(_ROWS, (after, limit)).fetchall()
        return [row if _is_storable(row) else self._mended(row) for row in rows]

    def _mended(self, row: Row) -> Row:
        read = to_log_row(row, self.log_id)
        made = list(to_rows([mended(read.event)], read.event.observed_unix_nano or 0)[0])
        if read.replayed:
            observed, origin = row[3], made[2]
            made[2] = observed if type(observed) is int else origin
            made[17] = origin
        return (row[0], *made)

    def ids(self, after: int, until: int) -> tuple[int, bytes]:
        """Return the sum of the cursors in a span, and the ids of its events in a row."""
        with explained(self._log.path):
            rows = self._connection.execute(_IDS, (after, until)).fetchall()
        ids = b"".join(
            row[1] if type(row[1]) is bytes and len(row[1]) == 16 else self._id_of(row[0])
            for row in rows
        )
        return sum(row[0] for row in rows), ids

    def _id_of(self, cursor: int) -> bytes:
        row: bytes = self.rows(cursor - 1, 1)[0][1]
        return row

    def sums(self) -> tuple[int, int, int]:
        """Return the number of rows, the sum of their cursors, and the lowest."""
        with explained(self._log.path):
            count, total, lowest = self._connection.execute(_SUMS).fetchone()
        return count, total, lowest

    def cursors(self, after: int, limit: int) -> list[int]:
        """Return the cursors of rows behind a cursor."""
        query = "SELECT id FROM battle_log WHERE id > ? ORDER BY id LIMIT ?"
        with explained(self._log.path):
            return [row[0] for row in self._connection.execute(query, (after, limit))]

    def table(self, name: str) -> list[Row]:
        """Return the rows of one of TABLES."""
        with explained(self._log.path):
            return self._connection.execute(TABLES[name]).fetchall()

    def curves(self) -> dict[str, list[Row]]:
        """Return the tables of runs' curves; nothing where they are of another log."""
        path = self._home / CURVES
        if not path.exists():
            return {}
        with translated(path), closing(sqlite3.connect(path, timeout=10)) as connection:
            connection.execute("BEGIN")
            marks = connection.execute(_CURVES["curves_mark"], (self.log_id,)).fetchall()
            if not marks:
                return {}
            # An older file has no table of what was thinned.
            (knows,) = connection.execute(_KNOWS_THIN).fetchone()
            thin = "run_id IN (SELECT run_id FROM realm_curves_thin)" if knows else "0"
            layers = connection.execute(_CURVES["curves"].format(thin=thin)).fetchall()
        return {"curves_mark": marks, "curves": layers}

    def addresses(self) -> list[Row]:
        """Return the addresses of webhooks: name, URL, last use."""
        path = addresses_path(self._log.path)
        return _select(path, "SELECT name, url, used_unix_nano FROM addresses")

    def outbox(self) -> dict[str, list[Row]] | None:
        """Return the tables of the webhooks' outbox; None if there is none."""
        if not self._outbox_path.exists():
            return None
        self._log.outbox("webhooks").close()  # brings it up to date
        return {name: _select(self._outbox_path, query) for name, query in OUTBOX.items()}

    def forget_messages(self) -> None:
        """Remove messages that wait here: the service of the moved log sends them."""
        if self._outbox_path.exists():
            with (
                translated(self._outbox_path),
                closing(sqlite3.connect(self._outbox_path, timeout=10)) as connection,
                connection,
            ):
                connection.execute("DELETE FROM messages WHERE state = 'pending'")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other writers out; what `seal` writes is committed at the end."""
        with self._writer.transaction() as connection:
            self._locked = connection
            try:
                yield
            finally:
                self._locked = None

    def seal(self, moved: Moved, log_id: str) -> None:
        """Give the log its new id, and note where what it had is now. To be called while alone.

        Whoever has it open notices the id before the next write and begins anew.
        """
        assert self._locked is not None, "a seal needs the log for itself"
        self._locked.execute("UPDATE realm_meta SET value = ? WHERE key = 'log_id'", (log_id,))
        self._locked.execute(
            "INSERT OR REPLACE INTO realm_meta VALUES ('moved', ?)",
            (msgspec.json.encode(moved).decode(),),
        )


def new_log_id(log_id: str) -> str:
    """Return the id of a log that goes on behind a seal.

    The first half stays: events of the older table have their ids from it.
    """
    return log_id[:16] + secrets.token_hex(8)


def _is_storable(row: Row) -> bool:
    if not is_plain(row):
        return False
    try:
        return row[14] is None or bool(_decode(row[14])) or row[14] == "{}"
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False


def _select(path: Path, query: str) -> list[Row]:
    if not path.exists():
        return []
    with translated(path), closing(sqlite3.connect(path, timeout=10)) as connection:
        return connection.execute(query).fetchall()
