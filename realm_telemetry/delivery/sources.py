"""The log as a follower reads it: the events of one pipeline, or those of all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from realm_telemetry.errors import LogError
from realm_telemetry.event import Event
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.records import AppendResult, ProducerInfo
from realm_telemetry.log.rows import LogRow
from realm_telemetry.values.clock import monotonic

EVERY_PIPELINE: Final = ""
"""The pipeline under which a service keeps the cursors of its exporters."""

RETRY_S: Final = 5.0
"""How soon the log is asked again for a producer of which it knows nothing."""

MAX_CHUNKS: Final = 8


class _Chunk:
    """One transaction's events; rows are made when the first exporter asks."""

    def __init__(self, first_cursor: int, events: Sequence[Event], observed_unix_nano: int) -> None:
        self.first = first_cursor
        self.last = first_cursor + len(events) - 1
        self._events = events
        self._observed = observed_unix_nano
        self._rows: list[LogRow] | None = None

    def rows(self) -> list[LogRow]:
        rows = self._rows
        if rows is None:
            rows = self._rows = [
                LogRow(cursor, _as_read(event, self._observed))
                for cursor, event in enumerate(self._events, self.first)
            ]
        return rows


def _as_read(event: Event, observed_unix_nano: int) -> Event:
    """Return a stored event as the log would be read."""
    if event.source is None:
        return replace(event, observed_unix_nano=observed_unix_nano)
    # The log has its default for one that is not given, and cannot tell them apart.
    is_default = event.source in ("", f"event.{event.kind}")
    source = None if is_default else event.source
    return replace(event, observed_unix_nano=observed_unix_nano, source=source)


class _View(NamedTuple):
    """All of the pipeline's events above `floor` are in the chunks, up to `last`."""

    floor: int
    last: int
    chunks: tuple[_Chunk, ...]


class Recent:
    """The last transactions of a shipper, in memory: exporters that keep up do not read them back.

    One thread adds, any thread reads. Every event of a pipeline passes through its one shipper, so
    what lies between two transactions belongs to other pipelines.
    """

    def __init__(self) -> None:
        self._view = _View(0, 0, ())

    def start(self, last_cursor: int) -> None:
        """Begin empty: what the log has up to here is not remembered."""
        self._view = _View(last_cursor, last_cursor, ())

    def add(self, result: AppendResult) -> None:
        """Remember what a transaction stored."""
        if not result.stored:
            return
        if not result.events:
            # Only the log knows all of it.
            self.start(result.last_cursor)
            return
        floor, _, chunks = self._view
        if len(chunks) == MAX_CHUNKS:
            floor, chunks = chunks[0].last, chunks[1:]
        chunk = _Chunk(result.first_cursor, result.events, result.observed_unix_nano)
        self._view = _View(floor, chunk.last, (*chunks, chunk))

    def after(self, cursor: int, limit: int) -> tuple[Sequence[LogRow], int] | None:
        """Rows behind a cursor and how far was looked; None if the log has to be asked."""
        floor, last, chunks = self._view
        if cursor < floor:
            return None
        found: list[LogRow] = []
        for chunk in chunks:
            if chunk.last > cursor and len(found) < limit:
                skipped = max(cursor - chunk.first + 1, 0)
                found += chunk.rows()[skipped : skipped + limit - len(found)]
        return found, found[-1].cursor if found else max(cursor, last)


def without_webhooks(row: LogRow) -> LogRow:
    """Return a row without the addresses that its event names: they are secrets."""
    return replace(row, event=replace(row.event, webhooks=())) if row.event.webhooks else row


class RecentOfLog(Recent):
    """The last transactions of a service, for those who follow the whole log beside it.

    Others write to that log as well: what is remembered has no gap, and what is not, the log has.

    seen: how far the service's tail has read, None where there is no tail. Behind that the log has
        nothing that the tail does not report.
    """

    seen: int | None = None

    def add(self, result: AppendResult) -> None:
        """Remember what a transaction stored; what came before a gap is forgotten."""
        if result.stored and result.first_cursor != self._view.last + 1:
            self.start(result.first_cursor - 1)
        super().add(result)

    def after(self, cursor: int, limit: int) -> tuple[Sequence[LogRow], int] | None:
        """Rows behind a cursor and the last of their cursors; None if the log has to be asked."""
        found = super().after(cursor, limit)
        return found if found and found[0] else None


class PipelineLog:
    """The events of one pipeline, from memory where they are still there.

    Raises LogError if there is no log.
    """

    def __init__(
        self,
        path: str | Path,
        pipeline: str,
        recent: Recent,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._reader = open_log(path).reader()
        self._pipeline = pipeline
        self._recent = recent
        self._clock = clock
        self._producers: dict[str, ProducerInfo] = {}
        self._unknown_until_s: dict[str, float] = {}
        self.log_id = self._reader.log_id

    def after(self, cursor: int, limit: int) -> tuple[Sequence[LogRow], int]:
        """Return the rows behind a cursor, in order, and the cursor up to which was read."""
        remembered = self._recent.after(cursor, limit)
        if remembered is not None:
            return remembered
        found = self._reader.now.follow(cursor, limit, pipeline=self._pipeline, webhooks=True)
        return found.rows, found.cursor

    def settle(self, cursor: int) -> None:
        """Do nothing: the log keeps its rows until retention removes them."""

    def resource(self, producer: str) -> Mapping[str, Any]:
        """Return the resource of a producer; empty if the log knows none.

        All producers are read when one is new or has no resource yet; it does not change then.
        """
        known = self._producers.get(producer)
        now_s = self._clock()
        if not (known and known.resource) and now_s >= self._unknown_until_s.get(producer, now_s):
            self._unknown_until_s[producer] = now_s + RETRY_S
            with suppress(LogError):  # events go without a resource: it is not worth a delay
                self._read_producers()
            known = self._producers.get(producer)
        return known.resource if known else {}

    def close(self) -> None:
        """Close the log."""
        self._reader.close()

    def _read_producers(self) -> None:
        self._producers = {info.producer: info for info in self._reader.now.producers()}


class WholeLog(PipelineLog):
    """The events of all pipelines, as a service's exporter reads them.

    Imported and replayed events are passed over: they are history.
    """

    def __init__(self, place: str | Path, recent: RecentOfLog | None = None) -> None:
        super().__init__(place, EVERY_PIPELINE, recent := recent or RecentOfLog())
        self._recent: RecentOfLog = recent

    def after(self, cursor: int, limit: int) -> tuple[Sequence[LogRow], int]:
        """Return the rows behind a cursor, in order, and the cursor up to which was read."""
        remembered = self._recent.after(cursor, limit)
        if remembered is not None:
            rows, end = remembered
        elif self._recent.seen is not None and cursor >= self._recent.seen:
            return (), cursor
        else:
            rows = self._reader.now.after(cursor, limit, webhooks=True)
            end = rows[-1].cursor if rows else cursor
        return [row for row in rows if not self._is_history(row)], end

    def _is_history(self, row: LogRow) -> bool:
        return row.replayed or self._brings_history(row.event.producer)

    def _brings_history(self, producer: str) -> bool:
        if producer not in self._producers:
            self._producers = {producer: ProducerInfo(producer)}
            self._producers |= {info.producer: info for info in self._reader.now.producers()}
        return self._producers[producer].brings_history
