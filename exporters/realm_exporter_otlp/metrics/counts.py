"""How events become counts: read from the log, each once, or as they are handed over."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from realm_telemetry.delivery.sources import EVERY_PIPELINE, PipelineLog, Recent, WholeLog
from realm_telemetry.event import Event
from realm_telemetry.folds.metrics import Definition, Metrics, metrics_runner
from realm_telemetry.folds.runtime import FoldRunner
from realm_telemetry.log.engine import Reader, open_log
from realm_telemetry.plugins import ExporterContext

_REMEMBERED: Final = 10_000
_NOTHING_RECENT: Final = 2**63 - 1


class Counting(Protocol):
    """Metrics, and how far they were sent.

    resource: what identifies who counts: of one resource each series has one counter.
    all_sent: whether there is something, and all of it was sent.
    """

    metrics: Metrics
    resource: Mapping[str, str]
    all_sent: bool

    def open(self) -> None:
        """Go on from what was saved. Raises LogError."""

    def has_sent(self, events: Sequence[Event]) -> bool:
        """Whether these are counted and sent. Raises LogError."""
        ...

    def take(self, events: Sequence[Event]) -> None:
        """Count these events, and what else there is. Raises LogError."""

    def sent(self) -> None:
        """Note that the metrics were sent, for good. Raises LogError."""

    def close(self) -> None:
        """Release what is held."""


class FromLog:
    """Counts the log's rows behind a cursor that is saved with the counts."""

    def __init__(self, context: ExporterContext, definition: Definition) -> None:
        self._context = context
        self._definition = definition
        self.metrics = Metrics(definition)
        self.resource: Mapping[str, str] = {}
        self.all_sent = False
        self._sent_through = 0
        self._reader: Reader | None = None
        self._rows: PipelineLog | None = None
        self._runner: FoldRunner[Metrics] | None = None

    def open(self) -> None:
        self.close()
        path, pipeline = self._context.log_place, self._context.pipeline
        log = open_log(path, home=self._context.home)
        self._reader = log.reader()
        nothing = Recent()
        nothing.start(_NOTHING_RECENT)
        whole = pipeline == EVERY_PIPELINE
        self._rows = WholeLog(path) if whole else PipelineLog(path, pipeline, nothing)
        log_id = self._reader.log_id
        self.resource = _resource(f"{log_id}/{pipeline}") | {"realm.log.id": log_id}
        name = f"otlp_metrics/{pipeline}"
        # Its counters begin at the start that they have: no rows from before it.
        self._runner = metrics_runner(log_id, log, name, self._definition, refill=False)
        self._runner.restart()
        self.metrics = self._runner.fold
        self._sent_through = self.metrics.cursor
        self.all_sent = self._sent_through > 0

    def has_sent(self, events: Sequence[Event]) -> bool:
        cursor = self._cursor_of(events[-1])
        # None: retention was faster. Nobody can count it any more.
        return cursor is None or cursor <= self._sent_through

    def take(self, events: Sequence[Event]) -> None:
        assert self._reader is not None, "`open` comes first"
        assert self._rows is not None, "`open` comes first"
        assert self._runner is not None, "`open` comes first"
        self.all_sent = False
        if not self.metrics.cursor:
            self.metrics.cursor = self._before(events)
        end = self._reader.now.max_cursor()
        # Without progress the last rows are gone already.
        while self._runner.is_behind(end) and self._runner.step(self._rows.after):
            pass

    def sent(self) -> None:
        assert self._runner is not None, "`open` comes first"
        self._runner.save()
        for series in self.metrics:
            series.changed.clear()
        self._sent_through = self.metrics.cursor
        self.all_sent = True

    def close(self) -> None:
        for each in (self._reader, self._rows):
            if each is not None:
                each.close()
        self._reader = self._rows = None

    def _before(self, events: Sequence[Event]) -> int:
        """The cursor before the first event: what came earlier is not this exporter's."""
        cursors = (self._cursor_of(event) for event in events)
        return next((cursor for cursor in cursors if cursor is not None), 1) - 1

    def _cursor_of(self, event: Event) -> int | None:
        assert self._reader is not None, "`open` comes first"
        row = self._reader.now.get(event.id)
        return None if row is None else row.cursor


class FromEvents:
    """Counts what it is handed in a plain OpenTelemetry SDK; what comes again, once.

    From 0 in each process, which is a resource of its own.
    """

    def __init__(self, definition: Definition) -> None:
        self.metrics = Metrics(definition)
        self.resource: Mapping[str, str] = _resource(str(uuid.uuid4()))
        self.all_sent = False
        self._seen: dict[str, None] = {}

    def open(self) -> None:
        return

    def has_sent(self, events: Sequence[Event]) -> bool:
        return self.all_sent and all(event.id in self._seen for event in events)

    def take(self, events: Sequence[Event]) -> None:
        self.all_sent = False
        for event in events:
            if event.id not in self._seen:
                self._seen[event.id] = None
                self.metrics.apply(event, self.metrics.cursor + 1)
        for event_id in list(self._seen)[:-_REMEMBERED]:
            del self._seen[event_id]

    def sent(self) -> None:
        self.all_sent = True
        for series in self.metrics:
            series.changed.clear()

    def close(self) -> None:
        return


def _resource(who: str) -> dict[str, str]:
    return {"service.instance.id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"realm:{who}"))}
