"""Where a command reads: the log's file, or a service's answers; the same events either way."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qs

import msgspec

from realm_telemetry.client import (
    EventMessage,
    RealmClient,
    ResetMessage,
    RunOutput,
    ServiceError,
    ServiceUnreachableError,
    SnapshotMessage,
    StreamMessage,
)
from realm_telemetry.config import DEFAULT_SERVICE_URL, Settings, token_for
from realm_telemetry.errors import LogError, shown
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.log import Filters, to_params
from realm_telemetry.log.engine import Log, Reader, Snapshot, open_log
from realm_telemetry.log.filters import MAX_LIMIT
from realm_telemetry.log.runs import RunsWanted
from realm_telemetry.spool.output import read_end, read_from

if TYPE_CHECKING:
    from realm_telemetry.folds.report import ReportFormat
    from realm_telemetry.folds.runs import Layer, Reading, RunRecord

T = TypeVar("T")

PROBE_S: Final = 2.0
POLL_S: Final = 0.05
FOLLOW_ROWS: Final = 500
LAST_LINES: Final = 1_000
_OLDER: Final = "not_found"
"""The error of a service that is older than a path."""


class Row(NamedTuple):
    """An event and its cursor, None if a service did not give it."""

    event: Event
    cursor: int | None


class Listing(NamedTuple):
    """Rows newest first, and how many there are in all.

    relation: "eq", or "gte" if there may be more. as_of: later arrivals are left out.
    """

    rows: Iterator[Row]
    total: int | None
    relation: str
    as_of: int | None


class Backend(Protocol):
    """What commands need of a place to read from.

    name: for people, such as "the log /home/dio/.realm/vault/jobs.db".
    """

    name: str

    def newest(self, filters: Filters, most: int) -> Listing:
        """Return up to `most` events that match."""
        ...

    def follow(self, filters: Filters, cursor: int | None) -> Iterator[Row]:
        """Yield what arrives after a cursor, for ever."""
        ...

    def runs(
        self,
        wanted: RunsWanted,
        warnings: Sequence[str] = (),
        tags: Sequence[str] = (),
        metrics: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return the runs that are wanted, newest first, as a list shows them.

        warnings: only those that had some of these; `any` for all. tags: that have all of these.
        metrics: numbers whose last values each is to have.
        """
        ...

    def run(self, run_id: str) -> dict[str, Any] | None:
        """Return all of one run, None for an unknown one."""
        ...

    def changes(self, run_id: str) -> dict[str, Any] | None:
        """Return what was changed since the run before; None for an unknown one."""
        ...

    def metrics(self, run_id: str, points: int) -> dict[str, Any] | None:
        """Return what a run measures, with the series of the first 64; None for an unknown one."""
        ...

    def compare(self, run_ids: Sequence[str]) -> dict[str, Any]:
        """Return two to six runs beside each other; some may be `missing`, or all."""
        ...

    def report(self, run_id: str, wanted: "ReportFormat" = "md") -> str | None:
        """Return a run as Markdown or HTML, None for an unknown one."""
        ...

    def output(
        self, run_id: str, *, tail: int | None = None, offset: int | None = None
    ) -> RunOutput | None:
        """Return the last lines that a run printed, or on from an offset; None if none are kept."""
        ...

    def event(self, event_id: str) -> dict[str, Any] | None:
        """Return one event in its JSON shape, None for an unknown one."""
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...


class LogBackend:
    """Reads the log's file. Raises LogError."""

    def __init__(self, settings: Settings, log_url: str | None = None) -> None:
        place = log_url or settings.log_path
        self._home = settings.home
        self._log = open_log(
            place, search_path=settings.search_path, state_path=settings.state_path
        )
        self.name = f"the log {self._log.place}"
        self._reader = self._log.reader()

    @property
    def log(self) -> Log:
        """The log itself."""
        return self._log

    @property
    def reader(self) -> Reader:
        """The reader itself."""
        return self._reader

    def newest(self, filters: Filters, most: int) -> Listing:
        """Return up to `most` events that match."""
        filters = _sized(filters, most)
        page = self._reader.now.page(filters)
        rows = islice(self._rows(filters, page), most)
        return Listing(rows, page.total, page.relation, page.as_of)

    def _rows(self, filters: Filters, page: Any) -> Iterator[Row]:
        while True:
            yield from (Row(row.event, row.cursor) for row in page.rows)
            if page.next_token is None:
                return
            following = msgspec.structs.replace(filters, page_token=page.next_token)
            page = self._reader.now.page(following, count=False)

    def follow(self, filters: Filters, cursor: int | None) -> Iterator[Row]:
        """Yield what arrives after a cursor, for ever; looks every 50 ms."""
        cursor = cursor or 0
        with closing(self._log.watch()) as watch:
            while True:
                if not watch.changed():
                    time.sleep(POLL_S)
                    continue
                rows, cursor = self._behind(filters, cursor)
                yield from rows
                if len(rows) < FOLLOW_ROWS:
                    watch.caught_up()

    def _behind(self, filters: Filters, cursor: int) -> tuple[list[Row], int]:
        """Rows after a cursor, and the cursor to go on from."""
        # Read before the rows: those that come in between are found next time.
        highest = self._reader.now.max_cursor()
        rows = self._reader.now.after(cursor, FOLLOW_ROWS, filters)
        last = rows[-1].cursor if rows else 0
        after = last if len(rows) == FOLLOW_ROWS else max(highest, last)
        return [Row(row.event, row.cursor) for row in rows], after

    def runs(
        self,
        wanted: RunsWanted,
        warnings: Sequence[str] = (),
        tags: Sequence[str] = (),
        metrics: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return the runs that are wanted, newest first, as a list shows them."""
        from realm_telemetry.folds.runs import Reading, summary

        layers = self._layers
        with self._reader.snapshot() as log:
            reading = Reading(log, layers)
            sifts = bool(warnings or tags)
            page = _sifted(reading, wanted, warnings, tags) if sifts else reading.page(wanted)[0]
        return [summary(run_id, record, metrics) for run_id, record in page]

    def run(self, run_id: str) -> dict[str, Any] | None:
        """Return all of one run, None for an unknown one."""
        from realm_telemetry.folds.runs import detailed

        return self._ask(run_id, lambda log, record: detailed(log, run_id, record))

    def changes(self, run_id: str) -> dict[str, Any] | None:
        """Return what was changed since the run before; None for an unknown one."""
        from realm_telemetry.folds.runs import Reading, changes

        layers = self._layers
        return self._ask(run_id, lambda log, record: changes(Reading(log, layers), run_id, record))

    def metrics(self, run_id: str, points: int) -> dict[str, Any] | None:
        """Return what a run measures, with the series of the first 64; None for an unknown one."""
        from realm_telemetry.folds.curves.reading import curves_now
        from realm_telemetry.folds.curves.view import listed, metrics_of, series_of, wanted_metrics
        from realm_telemetry.folds.runs import events_of

        def ask(log: Snapshot, record: "RunRecord") -> dict[str, Any]:
            curves = curves_now(self._log, log, run_id, events_of(run_id, record))
            metrics = metrics_of(curves)
            drawn = [series_of(one, None, points) for one in wanted_metrics(metrics, ("*",))]
            return {
                "run_id": run_id,
                "building": None,
                "cut": curves.is_cut,
                "groups": listed(metrics),
                "series": [each for series in drawn for each in series],
            }

        return self._ask(run_id, ask)

    def compare(self, run_ids: Sequence[str]) -> dict[str, Any]:
        """Return two to six runs beside each other; some may be `missing`, or all."""
        from realm_telemetry.folds.comparison import comparison_now
        from realm_telemetry.folds.runs import Reading

        layers = self._layers
        with self._reader.snapshot() as log:
            return comparison_now(self._log, log, Reading(log, layers), run_ids)

    def report(self, run_id: str, wanted: "ReportFormat" = "md") -> str | None:
        """Return a run as Markdown or HTML, None for an unknown one."""
        from realm_telemetry.folds.curves.reading import curves_now
        from realm_telemetry.folds.curves.view import metrics_of
        from realm_telemetry.folds.report import LAST_LINES as LINES
        from realm_telemetry.folds.report import Report
        from realm_telemetry.folds.runs import detailed, events_of, notable

        printed = self.output(run_id, tail=LINES)

        def ask(log: Snapshot, record: "RunRecord") -> str:
            curves = curves_now(self._log, log, run_id, events_of(run_id, record))
            output = "" if printed is None else printed.text
            events = notable(log, run_id, record)
            run = detailed(log, run_id, record)
            return Report(run, events, metrics_of(curves), output).text(wanted)

        return self._ask(run_id, ask)

    def as_runs_say(self, training: dict[str, Any]) -> dict[str, Any]:
        """Return the section training of the state as the table of runs has it."""
        from realm_telemetry.folds.runs import Reading, projected

        layers = self._layers
        with self._reader.snapshot() as log:
            return projected(training, Reading(log, layers))

    def output(
        self, run_id: str, *, tail: int | None = None, offset: int | None = None
    ) -> RunOutput | None:
        """Return the last lines that a run printed, or on from an offset; None if none are kept."""
        if offset is None:
            piece = read_end(self._home, run_id, LAST_LINES if tail is None else tail)
        else:
            piece = read_from(self._home, run_id, offset)
        return piece and RunOutput(
            piece.text.decode("utf-8", "replace"), piece.next_offset, piece.goes_on
        )

    def _ask(self, run_id: str, ask: "Callable[[Snapshot, RunRecord], T]") -> T | None:
        from realm_telemetry.folds.runs import Reading, is_shown

        layers = self._layers
        with self._reader.snapshot() as log:
            record = Reading(log, layers).record(run_id)
            return ask(log, record) if record is not None and is_shown(record) else None

    @cached_property
    def _layers(self) -> "list[Layer]":
        """What the rows behind the table of runs add to it."""
        from realm_telemetry.folds.runs import RunsRunner
        from realm_telemetry.folds.runtime import every_row

        runner = RunsRunner(self._log, saves=False)
        runner.restart()
        return runner.catch_up(every_row(self._reader.now)).layers()

    def event(self, event_id: str) -> dict[str, Any] | None:
        """Return one event in its JSON shape, None for an unknown one."""
        row = self._reader.now.get(event_id)
        return None if row is None else event_to_dict(row.event, row.cursor)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def _sifted(
    reading: "Reading", wanted: RunsWanted, warnings: Sequence[str], tags: Sequence[str]
) -> "list[tuple[str, RunRecord]]":
    """The runs whose records are as wanted, from the whole list."""
    found, below = reading.sifted(wanted, warnings=warnings, tags=tags)
    while below is not None and len(found) < wanted.limit:
        left = wanted.limit - len(found)
        part = msgspec.structs.replace(wanted, below=below, limit=left)
        more, below = reading.sifted(part, warnings=warnings, tags=tags)
        found += more
    return found


class ServiceBackend:
    """Reads a RealmService. Raises ServiceError.

    report: takes a line about a stream that could not go on where it was.
    """

    def __init__(self, client: RealmClient, report: Callable[[str], None]) -> None:
        self._client = client
        self._report = report
        try:
            health = client.health()
            self.log_id = str(health.get("log_id", ""))
            self._stream = health.get("stream") or self.log_id
            # Of several addresses this is the one that answered.
            self.name = shown(f"the service at {client.url}")
        except ServiceError:
            client.close()
            raise

    @property
    def client(self) -> RealmClient:
        """The client itself."""
        return self._client

    def newest(self, filters: Filters, most: int) -> Listing:
        """Return up to `most` events that match."""
        page = self._client.query_page(**_arguments(_sized(filters, most)))
        return Listing(islice(self._rows(page), most), page.total, page.relation, page.as_of)

    def _rows(self, page: Any) -> Iterator[Row]:
        while True:
            yield from (Row(row.event, row.cursor) for row in page.rows)
            if page.next_params is None:
                return
            params = parse_qs(page.next_params)
            params.pop("as_of", None)  # the cursor holds it
            page = self._client.query_page(**dict(params))

    def follow(self, filters: Filters, cursor: int | None) -> Iterator[Row]:
        """Yield what arrives after a cursor, for ever; goes on when the service comes back."""
        seen = cursor or 0
        resume = None if cursor is None else f"{self._stream}-{cursor}"
        for message in self._client.stream(_arguments(filters), resume):
            if isinstance(message, ResetMessage) and message.reason == "other_log":
                self._report(f"{self.name} has another log now; it starts anew.")
                seen = 0
            # A service may stand a moment behind its log, and then repeat what we have.
            for row in _fresh(message, seen):
                yield row
                seen = max(seen, row.cursor or 0)

    def runs(
        self,
        wanted: RunsWanted,
        warnings: Sequence[str] = (),
        tags: Sequence[str] = (),
        metrics: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return the runs that are wanted, newest first, as a list shows them."""
        since = None if wanted.since is None else f"{wanted.since / 1e9:.9f}"
        return self._client.runs(
            status=wanted.statuses or None,
            warnings=warnings or None,
            tags=tags or None,
            metrics=metrics,
            since=since,
            q=wanted.words or None,
            limit=wanted.limit,
        )

    def run(self, run_id: str) -> dict[str, Any] | None:
        """Return all of one run, None for an unknown one."""
        return _known(lambda: self._client.run(run_id))

    def changes(self, run_id: str) -> dict[str, Any] | None:
        """Return what was changed since the run before; None for an unknown one."""
        return _known(lambda: self._client.run_changes(run_id), _OLDER)

    def metrics(self, run_id: str, points: int) -> dict[str, Any] | None:
        """Return what a run measures, with the series of the first 64; None for an unknown one."""
        return _known(lambda: self._client.run_metrics(run_id, ("*",), points=points))

    def compare(self, run_ids: Sequence[str]) -> dict[str, Any]:
        """Return two to six runs beside each other; some may be `missing`, or all."""
        found = _known(lambda: self._client.compare(run_ids, points=2))
        return found or {"runs": [], "missing": [{"run_id": run_id} for run_id in run_ids]}

    def report(self, run_id: str, wanted: "ReportFormat" = "md") -> str | None:
        """Return a run as Markdown or HTML, None for an unknown one."""
        return _known(lambda: self._client.run_report(run_id, wanted))

    def output(
        self, run_id: str, *, tail: int | None = None, offset: int | None = None
    ) -> RunOutput | None:
        """Return the last lines that a run printed, or on from an offset; None if none are kept."""
        return _known(lambda: self._client.run_output(run_id, tail=tail, offset=offset), _OLDER)

    def event(self, event_id: str) -> dict[str, Any] | None:
        """Return one event in its JSON shape, None for an unknown one."""
        return _known(lambda: self._client.event(event_id))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _known(ask: Callable[[], T], *further: str) -> T | None:
    """Return an answer, None if the service does not know what is asked for."""
    try:
        return ask()
    except ServiceError as error:
        if error.error in ("run_not_found", "output_not_found", "event_not_found", *further):
            return None
        raise


def _fresh(message: StreamMessage, seen: int) -> list[Row]:
    if isinstance(message, EventMessage):
        rows = [Row(message.event, message.cursor)]
    elif isinstance(message, SnapshotMessage):
        rows = [Row(row.event, row.cursor) for row in reversed(message.rows)]
    else:
        return []
    return [row for row in rows if row.cursor is None or row.cursor > seen]


def open_source(
    settings: Settings, *, url: str | None, from_log: bool, report: Callable[[str], None]
) -> Backend:
    """Return the service if it runs, else the log.

    url: that service and nothing else. from_log: the log and nothing else.
    A service of another log counts only where the settings name it or there is no log here.
    Raises ServiceError, LogError.
    """
    if url is not None:
        return ServiceBackend(
            RealmClient(url, token_for(settings.home, settings.token, url)), report
        )
    if from_log:
        return LogBackend(settings)
    try:
        service = ServiceBackend(
            RealmClient(settings.service_url, settings.token, timeout_s=PROBE_S), report
        )
    except ServiceUnreachableError:
        return LogBackend(settings)
    except ServiceError as refusal:
        try:
            return LogBackend(settings)
        except LogError:
            raise refusal from None
    try:
        log = LogBackend(settings)
    except LogError:
        return service
    same = service.log_id == log.reader.log_id
    wanted: Backend = service
    other: Backend = log
    if not same and settings.service_url == DEFAULT_SERVICE_URL:
        wanted, other = log, service
    other.close()
    return wanted


def _sized(filters: Filters, most: int) -> Filters:
    return msgspec.structs.replace(filters, limit=max(1, min(most, MAX_LIMIT)))


def _arguments(filters: Filters) -> Mapping[str, Any]:
    return to_params(filters)
