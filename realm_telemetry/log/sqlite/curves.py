"""Curves of runs, in a file beside the log: see log.curves."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from realm_telemetry.home import make_private_directory
from realm_telemetry.log.curves import CurvesLayer, CurvesMark, Part
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.sqlite.side_files import is_damaged, usable

BUSY_TIMEOUT_S: Final = 5.0

_SCHEMA: Final = (
    """
CREATE TABLE IF NOT EXISTS realm_curves (
    run_id TEXT NOT NULL,
    part TEXT NOT NULL,
    through INTEGER NOT NULL,
    content BLOB NOT NULL
) STRICT""",
    """
CREATE UNIQUE INDEX IF NOT EXISTS realm_curves_by_run ON realm_curves (run_id, part, through)""",
    # One row: the mark of one log. The layers are of the same log.
    """
CREATE TABLE IF NOT EXISTS realm_curves_mark (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    log_id TEXT NOT NULL,
    mark TEXT NOT NULL
) STRICT""",
    # The runs whose layers were thinned to make room.
    """
CREATE TABLE IF NOT EXISTS realm_curves_thin (run_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID""",
)
_MARK: Final = "SELECT mark FROM realm_curves_mark WHERE log_id = ?"
_SET_MARK: Final = "INSERT OR REPLACE INTO realm_curves_mark VALUES (1, ?, ?)"
_LAYERS: Final = """
SELECT part, through, content FROM realm_curves WHERE run_id = ? ORDER BY part, through"""
_ADD: Final = "INSERT INTO realm_curves (run_id, part, through, content) VALUES (?, ?, ?, ?)"
_COUNT: Final = "SELECT count(*) FROM realm_curves WHERE run_id = ?"
_REMOVE: Final = "DELETE FROM realm_curves WHERE run_id = ? AND part = ? AND through = ?"
_OLDEST: Final = """
SELECT run_id, run_id IN (SELECT run_id FROM realm_curves_thin) AS is_thin
FROM realm_curves GROUP BY run_id ORDER BY is_thin, max(through) LIMIT ?"""
_THIN: Final = "INSERT OR IGNORE INTO realm_curves_thin VALUES (?)"
_REPLACE: Final = (
    "UPDATE realm_curves SET content = ? WHERE run_id = ? AND part = ? AND through = ?"
)
_FORGET: Final = (
    "DELETE FROM realm_curves WHERE run_id = ?",
    "DELETE FROM realm_curves_thin WHERE run_id = ?",
)
_AT_ONCE: Final = 100
"""Runs that make room in one call."""

_LOST: Final = "Curves are made again of the events that the log still has."

T = TypeVar("T")


class CurveFile:
    """The curves of one log in one file; see log.curves.CurveStore."""

    def __init__(self, path: Path, log_id: str) -> None:
        self.path = path
        self._log_id = log_id

    def mark(self) -> CurvesMark | None:
        """Return up to where the curves are stored; None if there are none of this log."""
        return self._read(self._mark, None)

    def layers(self, run_id: str) -> tuple[CurvesMark, list[CurvesLayer]]:
        """Return what is stored of one run, true at the mark."""
        nothing: tuple[CurvesMark, list[CurvesLayer]] = (CurvesMark(), [])
        return self._read(lambda connection: self._layers(connection, run_id), nothing)

    def save(
        self, part: Part, layers: Mapping[str, bytes], mark: CurvesMark, *, before: CurvesMark
    ) -> CurvesMark:
        """Store layers and their mark in one transaction; return the mark that counts then."""

        def write(connection: sqlite3.Connection) -> CurvesMark:
            known = self._mark(connection)
            if known is None:
                # Those of another log, or of one that was set back, are no curves of this one.
                connection.execute("DELETE FROM realm_curves")
                connection.execute("DELETE FROM realm_curves_thin")
                known = CurvesMark(before.begun)
            if (known.begun, getattr(known, part)) != (before.begun, getattr(before, part)):
                return known
            new = known.advanced(part, getattr(mark, part), mark.set_backs)
            through = getattr(mark, part)
            rows = [(run_id, part, through, content) for run_id, content in layers.items()]
            connection.executemany(_ADD, rows)
            connection.execute(_SET_MARK, (self._log_id, _text(new)))
            return new

        return self._write(write)

    def crowded(self, runs: Sequence[str], most: int) -> list[str]:
        """Return which of these runs have more than so many layers."""

        def count(connection: sqlite3.Connection) -> list[str]:
            return [r for r in runs if connection.execute(_COUNT, (r,)).fetchone()[0] > most]

        return self._read(count, [])

    def join(self, run_id: str, joined: Sequence[CurvesLayer], layer: CurvesLayer) -> None:
        """Store one layer in the place of several of a run; nothing if they are not there now."""

        def write(connection: sqlite3.Connection) -> None:
            there = self._layers(connection, run_id)[1]
            if all(each in there for each in joined):
                places = [(run_id, each.part, each.through) for each in joined]
                connection.executemany(_REMOVE, places)
                connection.execute(_ADD, (run_id, *layer))

        self._write(write)

    def make_room(self, most_bytes: int, thin: Callable[[bytes], bytes]) -> None:
        """Thin the layers of the oldest runs, then remove them, down to nine tenths of this."""
        if self._read(_used_bytes, 0) <= most_bytes:
            return
        nothing: list[tuple[str, int]] = []
        oldest = self._read(lambda file: file.execute(_OLDEST, (_AT_ONCE,)).fetchall(), nothing)
        for run_id, is_thin in oldest:
            if self._write(partial(self._shrink, run_id, None if is_thin else thin)) <= (
                most_bytes * 9 // 10
            ):
                return

    def _shrink(
        self, run_id: str, thin: Callable[[bytes], bytes] | None, connection: sqlite3.Connection
    ) -> int:
        """Thin one run, or remove it; return what all take then."""
        if thin is None:
            for statement in _FORGET:
                connection.execute(statement, (run_id,))
        else:
            for layer in self._layers(connection, run_id)[1]:
                place = (run_id, layer.part, layer.through)
                connection.execute(_REPLACE, (thin(layer.content), *place))
            connection.execute(_THIN, (run_id,))
        return _used_bytes(connection)

    def _mark(self, connection: sqlite3.Connection) -> CurvesMark | None:
        row = connection.execute(_MARK, (self._log_id,)).fetchone()
        return msgspec.json.decode(row[0], type=CurvesMark) if row else None

    def _layers(
        self, connection: sqlite3.Connection, run_id: str
    ) -> tuple[CurvesMark, list[CurvesLayer]]:
        mark = self._mark(connection)
        if mark is None:
            return CurvesMark(), []
        return mark, [CurvesLayer(*row) for row in connection.execute(_LAYERS, (run_id,))]

    def _read(self, ask: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        if not self.path.exists():
            return nothing
        try:
            with self._connection() as connection:
                connection.execute("BEGIN")
                return ask(connection)
        except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
            if isinstance(error, msgspec.MsgspecError) or is_damaged(self.path, error):
                return nothing
            raise LogUnavailableError(f"{self.path} cannot be read: {error}") from error

    def _write(self, write: Callable[[sqlite3.Connection], T]) -> T:
        def use() -> T:
            self.path.touch(0o600)  # SQLite would make it readable to everybody
            with self._connection() as connection, connection:
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("BEGIN IMMEDIATE")
                return write(connection)

        try:
            make_private_directory(self.path.parent)
            return usable(self.path, use, _LOST)
        except (sqlite3.Error, OSError) as error:
            raise LogUnavailableError(f"{self.path} cannot be written: {error}") from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S)) as connection:
            yield connection


def _text(mark: CurvesMark) -> str:
    return msgspec.json.encode(mark).decode()


def _used_bytes(connection: sqlite3.Connection) -> int:
    """What the file holds; pages that are free are used again."""
    page_bytes, pages, free = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page_bytes * (pages - free)
