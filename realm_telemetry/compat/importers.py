"""Import from the older systems: the lines of events.jsonl, the tables `battle_log` and `events`.

Nothing is lost: what is no field of an event, or not a fit value for one, is a detail.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.kinds.outside import joined
from realm_telemetry.log.sqlite.connection import explained, open_reader, tables_in
from realm_telemetry.log.sqlite.older import is_bus, older_kind
from realm_telemetry.log.sqlite.tail import ARRIVALS_WINDOW
from realm_telemetry.transfer.identity import (
    ImportOrigin,
    Origins,
    RowMark,
    identify_table,
    mark_row,
)
from realm_telemetry.transfer.inputs import SURELY_FITS, Batch, Broken, Found, Times
from realm_telemetry.values.details import clean_details, fit_event, make_safe, safe_text
from realm_telemetry.values.json_text import read_object, utf_8_text

_CHOICES: Final = {"channel": CHANNELS, "severity": SEVERITIES}
_FIELDS: Final = frozenset(
    ("channel", "severity", "message", "hero_id", "campaign_id", "run_id", "source")
)


def event_of_line(
    details: dict[str, Any], times: Times, producer: str, number: int, size: int
) -> Event:
    """Return the event of a line of the older `status/events.jsonl`.

    details: all fields of the line; those that stay are the event's details.
    size: of the line, in bytes. Raises InvalidEventError.
    """
    named = next((name for name in ("ts", "timestamp", "time_unix_nano") if name in details), None)
    if named is None:
        raise InvalidEventError("neither `ts` nor an event id: no older event, and none of ours")
    time, kind = times.read(details.pop(named), named), details.pop("kind", None)
    fields = {
        name: details.pop(name)
        for name in _FIELDS.intersection(details)
        if isinstance(value := details[name], str) and value in _CHOICES.get(name, (value,))
    }
    return _event(kind, details, fields, time, producer, number, size)


def event_of_battle_row(row: tuple[Any, ...], times: Times, producer: str) -> Event:
    """Return the event of a row of an older `battle_log`.

    row: id, timestamp, channel, source, severity, hero_id, campaign_id, message, details_json.
    Raises InvalidEventError.
    """
    number, timestamp, channel, source, severity, hero_id, campaign_id, message, text = row
    fields = {"channel": channel, "severity": severity, "message": message}
    fields |= {"hero_id": hero_id, "campaign_id": campaign_id}
    if not is_bus(str(source)):
        fields["source"] = source
    return _event_of_row(
        older_kind(str(source)), fields, text, times.read(timestamp, "timestamp"), producer, number
    )


def event_of_store_row(row: tuple[Any, ...], times: Times, producer: str) -> Event:
    """Return the event of a row of the older RealmService's `events`.

    row: rowid, timestamp, kind, channel, severity, message, details. Raises InvalidEventError.
    """
    number, timestamp, kind, channel, severity, message, text = row
    fields = {"channel": channel, "severity": severity, "message": message}
    return _event_of_row(kind, fields, text, times.read(timestamp, "timestamp"), producer, number)


def _event_of_row(
    kind: Any, columns: Mapping[str, Any], text: Any, time: int, producer: str, number: int
) -> Event:
    details = details_of(text)
    fields = {name: str(value) for name, value in columns.items() if value is not None}
    for name, known in _CHOICES.items():
        if name in fields and fields[name] not in known:
            details = {name: fields.pop(name)} | details
    size = len(str(text or "")) + len(fields.get("message", ""))
    return _event(kind, details, fields, time, producer, number, size)


def _event(
    kind: Any,
    details: dict[str, Any],
    fields: dict[str, str],
    time: int,
    producer: str,
    number: int,
    size: int,
) -> Event:
    if not isinstance(kind, str) or not kind:
        raise InvalidEventError("kind is missing")
    details, _ = clean_details(details)
    channel, severity = resolve(kind, fields.pop("channel", None), fields.pop("severity", None))
    message = fields.pop("message", None)
    if message is None:
        message = render(kind, details)
    event = Event(
        kind, channel, severity, message, details, time, producer, number,
        fields.get("hero_id"), fields.get("campaign_id"), fields.get("run_id"),
        fields.get("source"),
    )  # fmt: skip
    return event if size < SURELY_FITS else fit_event(make_safe(event))


def details_of(text: Any) -> dict[str, Any]:
    """Return the details in a row's text; the text itself where it is no JSON object."""
    if not text:
        return {}
    try:
        return read_object(str(text))
    except InvalidEventError:
        return {"details": str(text)}


Row = tuple[Any, ...]
MAX_VALUE_BYTES: Final = 256 * 1024 * 1024
"""Of one value; a generated column may make any number of a short row."""


class Shape(NamedTuple):
    """How an older table is read.

    in_utc: whether times without a zone are UTC. columns: the row's number first, its details last.
    """

    table: str
    kind: str
    in_utc: bool
    columns: tuple[str, ...]
    to_event: Callable[[Row, Times, str], Event]


SHAPES: Final = {
    "battle_log": Shape(
        "battle_log",
        "older battle log",
        True,
        ("id", "timestamp", "channel", "source", "severity", "hero_id", "campaign_id", "message",
         "details_json"),
        event_of_battle_row,
    ),
    "events": Shape(
        "events",
        "events of the older RealmService",
        False,
        ("rowid", "timestamp", "kind", "channel", "severity", "message", "details"),
        event_of_store_row,
    ),
}  # fmt: skip


def tables_of(path: Path, zone: tzinfo | None) -> list[Found]:
    """Return the older tables of a SQLite file. zone: as in Times. Raises LogError."""
    with explained(path), closing(open_reader(path)) as connection:
        names = tables_in(connection)
    return [_found(path, shape, zone) for name, shape in SHAPES.items() if name in names]


def _found(path: Path, shape: Shape, zone: tzinfo | None) -> Found:
    # The older battle log wrote UTC, with `Z` and without; the RealmService wrote local times.
    times = Times(UTC if shape.in_utc else zone)
    return Found(lambda known: OlderTable(path, shape, times, known), times)


class OlderTable:
    """The rows of an older table, in short reads. Raises LogError."""

    unit = "row"
    damage = ""

    def __init__(self, path: Path, shape: Shape, times: Times, known: Origins) -> None:
        self.kind = shape.kind
        self._path = path
        self._shape = shape
        self._times = times
        self.producer, self.origin = "", ImportOrigin(path=safe_text(str(path.absolute())))
        self.last = 0
        with explained(path), closing(open_reader(path)) as connection:
            connection.text_factory = utf_8_text
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
            self._columns, self._further = _columns_of(connection, shape)
            self._number = self._columns[0]
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
            # Other software wrote what it liked: one text must not end the import.
            connection.text_factory = utf_8_text
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
            while rows := self._rows(connection, number):
                yield self._batch(rows, number)
                number = rows[-1][0]

    def _batch(self, rows: Sequence[Row], before: int) -> Batch:
        batch = Batch()
        batch.seen = len(rows)
        batch.share = rows[-1][0] / max(self.last, 1)
        for row in rows:
            try:
                values = tuple(utf_8_text(each) if type(each) is bytes else each for each in row)
                batch.add(self._event(values))
            except InvalidEventError as error:
                batch.add_broken(Broken(row[0], str(error), _as_line(self._shape, row)))
        # With the gaps between: rows that were deleted never come back under their numbers.
        batch.settled[self.producer] = [(before + 1, rows[-1][0])]
        return batch

    def _event(self, values: Row) -> Event:
        own = len(self._columns)
        event = self._shape.to_event(values[:own], self._times, self.producer)
        further = zip(self._further, values[own:], strict=True)
        given = {name: value for name, value in further if value is not None}
        if not given:
            return event
        return make_safe(replace(event, details=joined(event.details, given)))

    def _rows(self, connection: sqlite3.Connection, after: int) -> list[Row]:
        columns = ", ".join([*self._columns, *map(_quoted, self._further)])
        query = (
            f"SELECT {columns} FROM {self._shape.table} WHERE {self._number} > ?"
            f" AND {self._number} <= ? ORDER BY 1 LIMIT ?"
        )
        return connection.execute(query, (after, self.last, ARRIVALS_WINDOW)).fetchall()

    def _end(self, connection: sqlite3.Connection, order: str) -> Row | None:
        columns = ", ".join(self._columns)
        query = (
            f"SELECT {columns} FROM {self._shape.table} WHERE typeof({self._number}) = 'integer'"
            f" ORDER BY 1 {order} LIMIT 1"
        )
        row: Row | None = connection.execute(query).fetchone()
        return row

    def _holds(self, connection: sqlite3.Connection, mark: RowMark) -> bool:
        rows = self._rows(connection, mark.number - 1)
        return bool(rows) and self._mark(rows[0][: len(self._columns)]) == mark

    def _mark(self, row: Row) -> RowMark:
        return mark_row(row[0], row[1:])


def _columns_of(connection: sqlite3.Connection, shape: Shape) -> tuple[list[str], list[str]]:
    """Return the columns of a shape, NULL for those a table lacks, and those it has beside them."""
    # Generated columns too, which `table_info` leaves out.
    found = connection.execute(f"PRAGMA table_xinfo({shape.table})").fetchall()
    present = [row[1] for row in found if row[6] in (0, 2, 3)]
    known = {"rowid", *present}
    columns = [name if name in known else f"NULL AS {name}" for name in shape.columns]
    # Other columns may hold anything, nothing at all, or the same twice.
    alias = any(row[1] == columns[0] and row[5] and row[2].upper() == "INTEGER" for row in found)
    columns[0] = columns[0] if alias else "rowid"
    shown = {*shape.columns, *_DERIVED}
    return columns, [name for name in present if name not in shown]


_DERIVED: Final = frozenset(("icon", "id"))
"""Columns that say nothing that the event does not: the channel's icon, and the row's older id."""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _as_line(shape: Shape, row: Row) -> bytes:
    """Return a row as an older line, which can be corrected and imported like one of a file."""
    columns = dict(zip(shape.columns, row, strict=False))
    del columns[shape.columns[0]]
    line = {"ts": columns.pop("timestamp")}
    if "source" in columns:
        line["kind"] = older_kind(str(columns["source"]))
    details = details_of(columns.pop(shape.columns[-1]))
    line |= {name: value for name, value in columns.items() if value is not None}
    return json.dumps(details | line, default=repr).encode() + b"\n"
