"""What an import reads: batches of events, from JSON lines, compressed or not."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError, split_event_id
from realm_telemetry.kinds.catalog import event_from_dict
from realm_telemetry.transfer.identity import Origins, identify_file
from realm_telemetry.transfer.older_events import (
    SURELY_FITS,
    Times,
    decode_object,
    event_of_fields,
)
from realm_telemetry.values.details import make_safe


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
    resources: of producers that the file tells of. share: of the file, at the end of the batch.
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

    def break_off(self, broken: Broken) -> None:
        """Take what is no event."""
        self.broken.append(broken)

    def settle(self, producer: str, number: int) -> None:
        """Note that a number, and all before it in this batch, need no further look."""
        ranges = self.settled.setdefault(producer, [])
        if ranges and number <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(number, ranges[-1][1]))
        else:
            ranges.append((number, number))


MAX_LINE_BYTES: Final = 8 * 1024 * 1024
_BATCH: Final = 1_000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_GZIP: Final = b"\x1f\x8b"


class Line(NamedTuple):
    """A line of a file, with its end; of one that is too long, a piece.

    rest: it goes on what the piece before began.
    """

    number: int
    data: bytes
    rest: bool


class JsonLines:
    """A file of JSON objects, one a line. Raises OSError."""

    kind = "JSON lines"
    unit = "line"

    def __init__(self, path: Path, times: Times, known: Origins) -> None:
        self._path = path
        self._times = times
        with open_lines(path) as file:
            self.producer, self.origin = identify_file(cast("Any", file), path.absolute(), known)
        self._bytes = self.origin.file.bytes if self.origin.file else 0

    def batches(self) -> Iterator[Batch]:
        """Yield what the lines hold, some thousand at a time."""
        batch, done = Batch(), 0
        with open_lines(self._path) as file:
            # No further than was looked at for the digest: the file may be growing.
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
        text = line.data.strip()
        whole = line.data.endswith(b"\n")
        if line.rest or len(line.data) > MAX_LINE_BYTES:
            reason = "" if line.rest else f"longer than {MAX_LINE_BYTES:,} bytes"
            batch.break_off(Broken(line.number, reason, line.data))
        elif not text:
            batch.blank += 1
        else:
            try:
                batch.add(self._event(text, line.number, batch))
            except InvalidEventError as error:
                batch.break_off(Broken(line.number, str(error), line.data))
                if not whole:
                    # Somebody is writing it: the next import takes it.
                    return
        batch.settle(self.producer, line.number)

    def _event(self, text: bytes, number: int, batch: Batch) -> Event:
        fields = decode_object(text)
        if "ts" in fields and not is_export(fields):
            moment = self._times.read(fields.pop("ts"))
            return event_of_fields(fields, moment, self.producer, number, len(text))
        if not is_export(fields):
            raise InvalidEventError(
                "neither `ts` nor an event id: no older event, and none of ours"
            )
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
    event = event_from_dict(fields)
    return event if size < SURELY_FITS else make_safe(event)


def numbered_lines(file: IO[bytes], most_bytes: int) -> Iterator[Line]:
    """Yield the lines within the first bytes of a file; one that is too long in pieces."""
    left, number, rest = most_bytes, 1, False
    while left > 0 and (data := file.readline(min(MAX_LINE_BYTES + 1, left))):
        left -= len(data)
        yield Line(number, data, rest)
        rest = not data.endswith(b"\n")
        number += not rest


def open_lines(path: Path) -> IO[bytes]:
    """Open a file, decompressed if it is compressed. Raises OSError."""
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP
    return cast("IO[bytes]", gzip.open(path)) if compressed else path.open("rb")
