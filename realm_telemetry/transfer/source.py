"""Where an export or a replay reads: the home's log, or a service, in steps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from realm_telemetry.config import Settings
from realm_telemetry.event import InvalidEventError
from realm_telemetry.kinds.catalog import event_from_dict
from realm_telemetry.log.engine import Reader
from realm_telemetry.log.filters import Filters, to_params
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.connection import explained, open_reader
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.schema import SCHEMA_VERSION, read_version
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.transfer.formats import Exported
from realm_telemetry.values.json_text import read_object

Progress = Callable[[int, float | None], None]
"""Called with the number of events done, and the share of the work; None where it is unknown."""

FILL_ROWS: Final = 1_000
_SERVICE_ROWS: Final = 500


def no_progress(_events: int, _share: float | None) -> None:
    """Show nothing."""


class Step(NamedTuple):
    """Some rows, perhaps none, and the share of the work that is done; None if unknown."""

    rows: Sequence[Exported]
    share: float | None


class EventInput(Protocol):
    """Where an export reads."""

    def steps(self, filters: Filters) -> Iterator[Step]:
        """Yield all events that match the filters, in order of arrival."""
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...


def open_log(settings: Settings, progress: Progress = no_progress) -> LogReader:
    """Open the home's log; first migrate it, and fill in all rows of an older one.

    Raises LogError.
    """
    path = settings.log_path
    if path.exists() and _is_older(path):
        LogWriter(path).close()
    reader = LogReader(path, search_path=settings.search_path)
    try:
        if not reader.now.is_filled():
            _fill(path, progress)
    except BaseException:
        reader.close()
        raise
    return reader


def _is_older(path: Path) -> bool:
    with explained(path), closing(open_reader(path)) as connection:
        return read_version(connection) < SCHEMA_VERSION


def _fill(path: Path, progress: Progress) -> None:
    """Fill in an older log's rows: until then neither times nor kinds find them."""
    with LogWriter(path) as writer:
        left = most = writer.backfill_step(FILL_ROWS)
        while left:
            progress(0, 1 - left / most)
            left = writer.backfill_step(FILL_ROWS)


class LogInput:
    """Reads the log's file."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._resources = Resources(reader)

    def steps(self, filters: Filters) -> Iterator[Step]:
        """Yield all events that match the filters, in order of arrival. Raises LogError."""
        end = self._reader.now.max_cursor()
        first: int | None = None
        for step in self._reader.arrivals(filters, end):
            first = step.cursor if first is None else first
            share = (step.cursor - first) / max(end - first, 1)
            yield Step(self._resources.join(step.rows), share)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


class ServiceInput:
    """Reads a service's export."""

    def __init__(self, url: str, token: str | None) -> None:
        from realm_telemetry.client import RealmClient

        self._client = RealmClient(url, token)

    def steps(self, filters: Filters) -> Iterator[Step]:
        """Yield all events that match the filters, in order of arrival. Raises ServiceError."""
        params = to_params(filters)
        page = self._client.query_page(**(params | {"limit": "1"}))
        total = page.total if page.relation == "eq" else None
        done = 0
        rows: list[Exported] = []
        for line in self._client.export_lines(**params):
            rows.append(read_line(line))
            if len(rows) == _SERVICE_ROWS:
                done += len(rows)
                yield Step(rows, min(done / total, 1.0) if total else None)
                rows = []
        yield Step(rows, 1.0)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class _Line(msgspec.Struct):
    cursor: int | None = None
    resource: dict[str, Any] = {}


def read_line(line: bytes) -> Exported:
    """Read what `formats.encode_jsonl` wrote of an event.

    Raises InvalidEventError.
    """
    try:
        shape = read_object(line)
        line_fields = msgspec.convert(shape, _Line)
    except (msgspec.ValidationError, InvalidEventError) as error:
        raise InvalidEventError(f"not an event of an export: {error}") from None
    return Exported(event_from_dict(shape), line_fields.cursor, line_fields.resource)


class Resources:
    """What a log knows of its producers; read again when a new one is met."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, Mapping[str, Any]] = {}

    def of(self, producer: str) -> Mapping[str, Any]:
        """Return a producer's resource; empty for one that is not registered."""
        if producer not in self._known:
            found = {info.producer: info.resource for info in self._reader.now.producers()}
            self._known = {producer: {}} | self._known | found
        return self._known[producer]

    def join(self, rows: Sequence[LogRow]) -> list[Exported]:
        """Put rows together with the resources of their producers."""
        return [Exported(row.event, row.cursor, self.of(row.event.producer)) for row in rows]
