"""Tables to import: an older `battle_log` or `events`, or a whole log of ours."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from realm_telemetry.event import Event, InvalidEventError
from realm_telemetry.log.sqlite.connection import explained, open_reader
from realm_telemetry.log.sqlite.older import older_kind
from realm_telemetry.log.sqlite.rows import INSERT_COLUMNS, to_log_row
from realm_telemetry.log.sqlite.schema import read_log_id
from realm_telemetry.log.sqlite.tail import ARRIVALS_WINDOW
from realm_telemetry.transfer.batches import Batch, Broken
from realm_telemetry.transfer.identity import Origin, Origins, RowMark, identify_table, mark_row
from realm_telemetry.transfer.older_events import (
    Times,
    details_of,
    event_of_battle_row,
    event_of_store_row,
)

Row = tuple[Any, ...]


class Shape(NamedTuple):
    """How an older table is read. columns: the row's number first, and its details last."""

    table: str
    kind: str
    columns: tuple[str, ...]
    to_event: Callable[[Row, Times, str], Event]


SHAPES: Final = {
    "battle_log": Shape(
        "battle_log",
        "older battle log",
        ("id", "timestamp", "channel", "source", "severity", "hero_id", "campaign_id", "message",
         "details_json"),
        event_of_battle_row,
    ),
    "events": Shape(
        "events",
        "events of the older RealmService",
        ("rowid", "timestamp", "kind", "channel", "severity", "message", "details"),
        event_of_store_row,
    ),
}  # fmt: skip


def tables_of(path: Path) -> list[str]:
    """Return which tables of a file can be imported: of SHAPES, or `realm_meta` for a log of ours.

    Raises LogError.
    """
    with explained(path), closing(open_reader(path)) as connection:
        found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if "realm_meta" in found:
        return ["realm_meta"]
    return [name for name in SHAPES if name in found]


class OlderTable:
    """The rows of an older table, in short reads. Raises LogError."""

    unit = "row"

    def __init__(self, path: Path, shape: Shape, times: Times, known: Origins) -> None:
        self.kind = shape.kind
        self._path = path
        self._shape = shape
        self._times = times
        self.producer, self.origin = "", Origin(path=str(path.absolute()))
        self.last = 0
        with explained(path), closing(open_reader(path)) as connection:
            ends = [self._end(connection, order) for order in ("", "DESC")]
            if all(ends):
                first, last = (self._mark(row) for row in ends if row)
                self.last = last.number
                self.producer, self.origin = identify_table(
                    shape.table,
                    first,
                    last,
                    path.absolute(),
                    known,
                    lambda mark: self._holds(connection, mark),
                )

    def batches(self) -> Iterator[Batch]:
        """Yield what the rows hold, in order of their numbers."""
        number = 0
        with explained(self._path), closing(open_reader(self._path)) as connection:
            while rows := self._rows(connection, number):
                yield self._batch(rows, number)
                number = rows[-1][0]

    def _batch(self, rows: Sequence[Row], before: int) -> Batch:
        batch = Batch()
        batch.seen = len(rows)
        batch.share = rows[-1][0] / max(self.last, 1)
        for row in rows:
            try:
                batch.add(self._shape.to_event(row, self._times, self.producer))
            except InvalidEventError as error:
                batch.break_off(Broken(row[0], str(error), _as_line(self._shape, row)))
        # With the gaps between: rows that were deleted never come back under their numbers.
        batch.settled[self.producer] = [(before + 1, rows[-1][0])]
        return batch

    def _rows(self, connection: sqlite3.Connection, after: int) -> list[Row]:
        columns = ", ".join(self._shape.columns)
        query = (
            f"SELECT {columns} FROM {self._shape.table} WHERE {self._shape.columns[0]} > ?"
            f" AND {self._shape.columns[0]} <= ? ORDER BY 1 LIMIT ?"
        )
        return connection.execute(query, (after, self.last, ARRIVALS_WINDOW)).fetchall()

    def _end(self, connection: sqlite3.Connection, order: str) -> Row | None:
        columns = ", ".join(self._shape.columns)
        query = f"SELECT {columns} FROM {self._shape.table} ORDER BY 1 {order} LIMIT 1"
        row: Row | None = connection.execute(query).fetchone()
        return row

    def _holds(self, connection: sqlite3.Connection, mark: RowMark) -> bool:
        rows = self._rows(connection, mark.number - 1)
        return bool(rows) and self._mark(rows[0]) == mark

    def _mark(self, row: Row) -> RowMark:
        return mark_row(row[0], row[1:])


class OtherLog:
    """The rows of another log of ours: they keep their ids. Raises LogError."""

    kind = "log of realm_telemetry"
    unit = "row"
    producer = ""
    origin = None

    def __init__(self, path: Path, times: Times) -> None:
        self._path = path
        self._times = times

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, and the resources of their producers."""
        with explained(self._path), closing(open_reader(self._path)) as connection:
            log_id = read_log_id(connection)
            resources = _resources(connection)
            query = self._query(connection)
            last = connection.execute("SELECT coalesce(max(id), 0) FROM battle_log").fetchone()[0]
            cursor = 0
            while rows := connection.execute(query, (cursor, last, ARRIVALS_WINDOW)).fetchall():
                cursor = rows[-1][0]
                batch = Batch()
                batch.seen, batch.share = len(rows), cursor / max(last, 1)
                batch.events = [to_log_row(row, log_id).event for row in rows]
                self._times.with_zone += len(rows)
                batch.resources = {
                    event.producer: resources[event.producer]
                    for event in batch.events
                    if event.producer in resources
                }
                yield batch

    def _query(self, connection: sqlite3.Connection) -> str:
        """A log that an older version wrote may lack the newest columns."""
        present = {row[1] for row in connection.execute("PRAGMA table_info(battle_log)")}
        columns = [name if name in present else f"NULL AS {name}" for name in INSERT_COLUMNS]
        return (
            f"SELECT id, {', '.join(columns)} FROM battle_log"
            " WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
        )


def _resources(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    rows = connection.execute("SELECT producer, resource_json FROM realm_producers")
    told = {producer: msgspec.json.decode(text) for producer, text in rows}
    return {producer: resource for producer, resource in told.items() if resource}


def _as_line(shape: Shape, row: Row) -> bytes:
    """A row as an older line, which can be mended and imported as those of a file."""
    columns = dict(zip(shape.columns, row, strict=True))
    del columns[shape.columns[0]]
    line = {"ts": columns.pop("timestamp")}
    if "source" in columns:
        line["kind"] = older_kind(str(columns["source"]))
    details = details_of(columns.pop(shape.columns[-1]))
    line |= {name: value for name, value in columns.items() if value is not None}
    return json.dumps(details | line, default=repr).encode() + b"\n"
