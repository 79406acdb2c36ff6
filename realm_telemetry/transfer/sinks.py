"""Where an import goes: into the home's log, or nowhere in a dry run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from realm_telemetry.errors import LogError
from realm_telemetry.event import Event
from realm_telemetry.log.event_rows import check_rows, event_id_bytes
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.log.sqlite.connection import open_reader
from realm_telemetry.log.sqlite.older import older_producer
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.transfer.identity import PIPELINE, ImportOrigin, Origins, read_origins
from realm_telemetry.transfer.inputs import Batch


class Taken(NamedTuple):
    """Of the events of a batch: stored, or known already."""

    stored: int
    already: int


class Sink(Protocol):
    """Takes what an import reads."""

    def origins(self) -> Origins:
        """Earlier imports that the log knows of."""
        ...

    def begin(self, producer: str, origin: ImportOrigin | None) -> None:
        """Make a file known before its events come."""
        ...

    def take(self, batch: Batch) -> Taken:
        """Take a batch."""
        ...

    def end(self, producer: str, numbers: int) -> None:
        """Note that a file has been read, and how many lines or rows it has."""
        ...

    def close(self) -> None:
        """Close the log."""
        ...


class IntoLog:
    """Writes to the log; every event counts as arriving now. Raises LogError.

    fill: brings an older log's rows up to date first, so that they are known again.
    """

    def __init__(self, path: Path, redact: Sequence[str] = ()) -> None:
        self._writer = LogWriter(path, redact=redact)
        self._reader = LogReader(path)
        self._in_place = InPlace(path, self._writer.log_id)
        self._noted: set[str] = set()

    def origins(self) -> Origins:
        """Earlier imports that the log knows of."""
        return _origins(self._reader)

    def begin(self, producer: str, origin: ImportOrigin | None) -> None:
        """Make a file known before its events: an interrupted import can be continued."""
        if producer and origin:
            self._writer.register_producer(ProducerInfo(producer, PIPELINE, origin.resource()))

    def take(self, batch: Batch) -> Taken:
        """Store a batch."""
        for producer, resource in batch.resources.items():
            if producer not in self._noted:
                self._writer.note_resource(producer, PIPELINE, resource)
                self._noted.add(producer)
        events = self._in_place.without(batch.events)
        result = self._writer.append(events, skipped=batch.settled)
        return Taken(result.stored, len(batch.events) - result.stored)

    def end(self, producer: str, numbers: int) -> None:
        """Note that a file has been read, and how many lines or rows it has."""
        if producer:
            self._writer.record_receipt(producer, emitted=numbers, ended=True)

    def close(self) -> None:
        """Close the log."""
        self._in_place.close()
        self._reader.close()
        self._writer.close()


class Nowhere:
    """Counts what the log would take; writes nothing, not even a log where there is none."""

    def __init__(self, path: Path) -> None:
        self._reader: LogReader | None = None
        self._in_place: InPlace | None = None
        if path.exists():
            try:
                self._reader = LogReader(path)
                self._in_place = InPlace(path, self._reader.log_id)
            except LogError:  # not brought up to date yet; then it has had no import either
                self._reader = None

    def origins(self) -> Origins:
        """Earlier imports that the log knows of."""
        return _origins(self._reader) if self._reader else {}

    def begin(self, producer: str, origin: ImportOrigin | None) -> None:
        """Note nothing."""

    def take(self, batch: Batch) -> Taken:
        """Count a batch."""
        check_rows(batch.events)
        events = self._in_place.without(batch.events) if self._in_place else batch.events
        stored = self._reader.now.stored_among(events) if self._reader else 0
        return Taken(len(events) - stored, len(batch.events) - len(events) + stored)

    def end(self, producer: str, numbers: int) -> None:
        """Note nothing."""

    def close(self) -> None:
        """Close the log."""
        if self._reader:
            self._reader.close()
        if self._in_place:
            self._in_place.close()


def _origins(reader: LogReader) -> Origins:
    return read_origins((info.producer, info.resource) for info in reader.now.producers())


class InPlace:
    """Knows the rows of an older battle log that this log was extended in place from.

    A copy of that file holds the same rows without event ids: number, time and text identify them.
    """

    def __init__(self, path: Path, log_id: str) -> None:
        self._connection = open_reader(path)
        self._any = self._connection.execute(
            "SELECT 1 FROM battle_log WHERE event_id BETWEEN ? AND ? LIMIT 1",
            [event_id_bytes(older_producer(log_id), number) for number in (0, 2**64 - 1)],
        ).fetchone()
        self._producer = older_producer(log_id)

    def without(self, events: Sequence[Event]) -> Sequence[Event]:
        """Leave out events that are in the log as rows of the older table."""
        if not self._any:
            return events
        found = self._rows([event.number for event in events if event.number < 2**63])
        return [event for event in events if found.get(event.number) != _words(event)]

    def _rows(self, numbers: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        rows = self._connection.execute(
            "SELECT id, time_unix_nano, kind, message FROM battle_log"
            " WHERE id IN (SELECT value FROM json_each(?)) AND producer = ?",
            (msgspec.json.encode(numbers).decode(), self._producer),
        )
        return {row[0]: row[1:] for row in rows}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _words(event: Event) -> tuple[Any, ...]:
    return event.time_unix_nano, event.kind, event.message
