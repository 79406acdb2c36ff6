"""What an import reads: batches of events, from JSON lines, compressed or not."""

import sqlite3
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError, split_event_id
from realm_telemetry.kinds.outside import TIMES, event_from_outside
from realm_telemetry.log.event_rows import INSERT_COLUMNS
from realm_telemetry.log.sqlite.connection import explained, open_reader, tables_in
from realm_telemetry.log.sqlite.rows import to_log_row
from realm_telemetry.log.sqlite.schema import read_log_id
from realm_telemetry.log.sqlite.tail import ARRIVALS_WINDOW
from realm_telemetry.plugins import extension
from realm_telemetry.transfer.identity import ImportOrigin, Origins, identify_file
from realm_telemetry.transfer.lines import MAX_LINE_BYTES, Line, LineFile, numbered_lines
from realm_telemetry.values.details import MAX_EVENT_BYTES, make_safe
from realm_telemetry.values.json_text import read_object
from realm_telemetry.values.times import read_time

SURELY_FITS: Final = MAX_EVENT_BYTES // 4
"""A JSON text of this length: its msgpack is shorter than four times as many bytes."""


class Times:
    """Reads times, and counts those that name no zone.

    zone: of a time without one; None is this machine's.
    """

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self.with_zone = 0
        self.without_zone = 0

    def read(self, value: Any, name: str) -> int:
        """Return nanoseconds since 1970. name: of the field. Raises InvalidEventError."""
        without_zone = self.without_zone
        nanos = read_time(value, name, self._to_zone)
        self.with_zone += self.without_zone == without_zone
        return nanos

    def _to_zone(self, moment: datetime) -> datetime:
        self.without_zone += 1
        return moment.astimezone() if self._zone is None else moment.replace(tzinfo=self._zone)

    def zone_name(self) -> str:
        """Return the name of the zone of times without one."""
        if self._zone is not None:
            return str(self._zone)
        # Both names: which of them holds depends on the date of each event.
        names = "/".join(dict.fromkeys(time.tzname if time.daylight else time.tzname[:1]))
        return f"{names}, this machine's zone"


class UnknownFormatError(ConfigError):
    """A file is none of those that can be imported."""


class Broken(NamedTuple):
    """A line or row that is no event.

    number: its own. reason: empty for a further piece of the line before. data: the line itself.
    """

    number: int
    reason: str
    data: bytes


class Batch:
    """Events with their ids, and the numbers of the file that are settled.

    seen: lines or rows. settled: ranges by producer that need no further import: they are events
        of this batch, or nothing that could become one.
    resources: of the producers that the file names. share: of the file, at the end of the batch.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broken: list[Broken] = []
        self.resources: dict[str, dict[str, Any]] = {}
        self.settled: dict[str, list[tuple[int, int]]] = {}
        self.seen = self.blank = self.bytes = 0
        self.share: float | None = None

    def add(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)

    def add_broken(self, broken: Broken) -> None:
        """Take a line or row that is no event."""
        self.broken.append(broken)

    def settle(self, producer: str, number: int) -> None:
        """Note that a number, and all before it in this batch, need no further import."""
        ranges = self.settled.setdefault(producer, [])
        if ranges and number <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(number, ranges[-1][1]))
        else:
            ranges.append((number, number))


class Input(Protocol):
    """A file, or a table of one, that is read for an import."""

    kind: str
    unit: str
    damage: str
    """Why it could not be read to its end; empty if it could."""

    @property
    def producer(self) -> str:
        """The producer of the events that bring no id; empty if all bring one."""
        ...

    @property
    def origin(self) -> ImportOrigin | None:
        """What the log keeps about the file."""
        ...

    def batches(self) -> Iterator[Batch]:
        """Yield what it holds."""
        ...


class Found(NamedTuple):
    """An input that was found in a file. open: opens it, given the origins of earlier imports."""

    open: Callable[[Origins], Input]
    times: Times


TablesOf = Callable[[Path, tzinfo | None], list[Found]]
"""Returns what can be imported from a SQLite file that is no log of ours; zone as in Times."""

EventOfLine = Callable[[dict[str, Any], Times, str, int, int], Event]
"""Returns the event of a line that is no export of ours; raises InvalidEventError.

Of the line's fields, times, producer, line number, and size in bytes.
"""


def inputs_of(path: Path, zone: tzinfo | None) -> list[Found]:
    """Return what can be imported from a file. zone: as in Times.

    Raises UnknownFormatError, LogError, OSError.
    """
    start = _start_of(path)
    if start != _SQLITE:
        times = Times(zone)
        return [Found(lambda known: JsonLines(path, times, known), times)]
    if _is_log(path):
        utc = Times(UTC)
        return [Found(lambda known: OtherLog(path, utc), utc)]
    tables_of: TablesOf = extension("import.tables")
    return tables_of(path, zone)


def _start_of(path: Path) -> bytes:
    """Return a file's first bytes. Raises UnknownFormatError for what has to be unpacked first."""
    with path.open("rb") as file, LineFile(path) as lines:
        start, content = file.read(len(_SQLITE)), lines.read(len(_SQLITE))
    packed = next((name for name, mark in _PACKED.items() if start.startswith(mark)), "")
    if content == _SQLITE != start:
        packed = "gzip"
    if packed:
        raise UnknownFormatError(str(path), f"is packed with {packed}", "Unpack it first.")
    return start


def _is_log(path: Path) -> bool:
    with explained(path), closing(open_reader(path)) as connection:
        return {"realm_meta", "battle_log"} <= tables_in(connection)


_SQLITE: Final = b"SQLite format 3\0"
_PACKED: Final = {
    "zip": b"PK\x03\x04",
    "zstd": b"\x28\xb5\x2f\xfd",
    "xz": b"\xfd7zXZ\0",
    "bzip2": b"BZh",
    "lz4": b"\x04\x22\x4d\x18",
}
"""What files begin with that other programs have to unpack."""
_BATCH: Final = 1_000
_BATCH_BYTES: Final = 4 * 1024 * 1024


class JsonLines:
    """A file of JSON objects, one a line; a damaged one up to the damage. Raises OSError."""

    kind = "JSON lines"
    unit = "line"

    def __init__(self, path: Path, times: Times, known: Origins) -> None:
        self._path = path
        self._times = times
        with LineFile(path) as file:
            self.producer, self.origin = identify_file(cast("Any", file), path.absolute(), known)
            self.damage = file.damage
        self._bytes = self.origin.file.bytes if self.origin.file else 0
        self._event_of_line: EventOfLine = extension("import.line")

    def batches(self) -> Iterator[Batch]:
        """Yield what the lines hold, some thousand at a time."""
        batch, done = Batch(), 0
        with LineFile(self._path) as file:
            # Only the bytes that the digest covers: the file may be growing.
            for line in numbered_lines(file, self._bytes):
                batch.bytes += len(line.data)
                batch.seen += not line.rest
                self._take(line, batch)
                if batch.seen >= _BATCH or batch.bytes >= _BATCH_BYTES:
                    done += batch.bytes
                    batch.share = done / max(self._bytes, 1)
                    yield batch
                    batch = Batch()
        batch.share = 1.0
        yield batch

    def _take(self, line: Line, batch: Batch) -> None:
        text = line.data.removeprefix(BOM_UTF8 if line.number == 1 else b"").strip()
        whole = line.data.endswith(b"\n")
        if line.rest or len(line.data) > MAX_LINE_BYTES:
            reason = "" if line.rest else f"longer than {MAX_LINE_BYTES:,} bytes"
            batch.add_broken(Broken(line.number, reason, line.data))
        elif not text:
            batch.blank += 1
        else:
            try:
                batch.add(self._event(text, line.number, batch))
            except InvalidEventError as error:
                batch.add_broken(Broken(line.number, str(error), line.data))
                if not whole:
                    # It is still being written: the next import takes it.
                    return
        batch.settle(self.producer, line.number)

    def _event(self, text: bytes, number: int, batch: Batch) -> Event:
        fields = read_object(text)
        if not is_export(fields):
            return self._event_of_line(fields, self._times, self.producer, number, len(text))
        resource = fields.get("resource")
        event = event_of_export(fields, len(text))
        self._times.with_zone += 1
        if isinstance(resource, dict) and resource:
            batch.resources[event.producer] = resource
        return event


def is_export(fields: dict[str, Any]) -> bool:
    """Whether a line is of an export of ours: it has an event id."""
    event_id = fields.get("id")
    try:
        return isinstance(event_id, str) and bool(split_event_id(event_id))
    except InvalidEventError:
        return False


def event_of_export(fields: dict[str, Any], size: int) -> Event:
    """Return the event of an exported line. Raises InvalidEventError."""
    for name, known in (("channel", CHANNELS), ("severity", SEVERITIES)):
        if isinstance(word := fields.get(name), str) and word not in known:
            # Of an older row that was extended in place: older code could write any word.
            fields["details"] = {name: fields.pop(name)} | (fields.get("details") or {})
    # The time of a line without one is the log's, so it is none: it must be given.
    if not any(fields.get(name) is not None for name in TIMES):
        raise InvalidEventError(f"no time: {', '.join(TIMES[:-1])} or {TIMES[-1]} is missing")
    event = event_from_outside(fields, now_ns=0)
    if event.webhooks:
        raise InvalidEventError("webhooks: an import sends no messages; leave the field out")
    return event if size < SURELY_FITS else make_safe(event)


class OtherLog:
    """The rows of another log of ours: they keep their ids. Raises LogError."""

    kind = "log of realm_telemetry"
    unit = "row"
    damage = ""
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
    return {producer: resource for producer, text in rows if (resource := _resource(text))}


def _resource(text: Any) -> dict[str, Any]:
    try:
        return read_object(text)
    except (InvalidEventError, TypeError):  # no resource is worth the events
        return {}
