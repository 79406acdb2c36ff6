"""Adapters to the OpenTelemetry SDK: the base class of exporters, and its processors in our chain.

An exporter that has this base runs in our shipper and in a plain OpenTelemetry SDK.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from threading import Event as Signal
from threading import RLock
from typing import Any, ClassVar, Final, Self

import msgspec

from realm_telemetry.errors import ExportError
from realm_telemetry.event import Event
from realm_telemetry.otel.record import EMPTY_RESOURCE, SCOPE, from_log_record, to_api_record
from realm_telemetry.otel.sdk import (
    LogRecordExporter,
    LogRecordExportResult,
    LogRecordLimits,
    LogRecordProcessor,
    ReadableLogRecord,
    ReadWriteLogRecord,
    Resource,
)
from realm_telemetry.plugins import Batch, ExporterContext, read_options, standalone_context
from realm_telemetry.values.clock import monotonic

RETRY_FOR_S: Final = 5.0
"""How long `export` tries again before it gives a batch up: the SDK does not keep it."""

_CLOSE_WAIT_S: Final = 2.0
_logger = logging.getLogger(__name__)


class EventExporter(LogRecordExporter):
    """Delivers events to one place. A subclass implements `deliver`, maybe `open` and `close`.

    The shipper calls `export_events` and keeps the events until it returns; a plain OpenTelemetry
    SDK calls `export` with log records. `deliver` is called by one thread at a time, never with an
    empty batch, never before `open` or after `close`.

    name: the entry point's, under which options are found.
    defaults: the options and their default values; others are refused.
    """

    name: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        context: ExporterContext | None = None,
        **options: Any,
    ) -> None:
        """Read the options; opens nothing.

        settings, options: both are options, as a mapping and by name, as an OpenTelemetry
            configuration file gives them; without a context all else comes from the environment.
        Raises ConfigError.
        """
        own = dict(settings or {}) | options
        self.context = context or standalone_context(self.name, own)
        given = self.context.options | own
        self.options = read_options(f"options.{self.name}", given, self.defaults)
        self.stopping = Signal()
        self._lock = RLock()
        self._is_open = False
        self._failing = False

    @classmethod
    def from_context(cls, context: ExporterContext) -> Self:
        """Build it for the shipper."""
        return cls(context=context)

    def open(self) -> None:
        """Acquire what `deliver` needs. Raises ExportError; then it is called again later."""

    def deliver(self, events: Batch[Event]) -> None:
        """Deliver the events, oldest first; returning means that all of them are safe.

        The same events may come again: recognise them by `event.id`. `events.resource(producer)`
        is the resource of an event's producer, where there is a log that knows it.
        Raises ExportError if not all were delivered.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no `deliver`")

    def close(self) -> None:
        """Release what `open` acquired; called at most once, also if `open` never was."""

    def read_records(self, batch: Sequence[ReadableLogRecord]) -> Sequence[Any]:
        """Return what `deliver` gets of a plain SDK's records: events, unless a subclass says else.

        Records become events without loss, but not under the same names.
        """
        return [from_log_record(record) for record in batch]

    def begin(self) -> None:
        """Open now, not with the first events: for what waits already. Raises ExportError."""
        with self._lock:
            self._ensure_open()

    def export_events(self, events: Sequence[Event]) -> None:
        """Deliver a batch, oldest first. Raises ExportError if not all were delivered."""
        with self._lock:
            if self.stopping.is_set():
                # Retryable: the next run's exporter will take them.
                raise ExportError(f"{self.name} is shut down, it took nothing", retryable=True)
            if not events:
                return
            try:
                self._ensure_open()
                self.deliver(Batch.of(events))
            except OSError as error:
                raise ExportError(f"{self.name}: {error}", retryable=True) from error

    def _ensure_open(self) -> None:
        if not self._is_open:
            self.open()
            self._is_open = True

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Deliver log records of a plain OpenTelemetry SDK, trying again for a short while."""
        events = self.read_records(batch)
        try:
            self._try_again_until(monotonic() + RETRY_FOR_S, events)
        except ExportError as error:
            if not self._failing:
                # The SDK only learns that it failed; a person wants to know why. Once: where
                # logging itself is exported, each report is one more record to lose.
                rejected = len(error.rejected_ids) + error.rejected_count
                _logger.warning("%s lost %d records: %s", self.name, rejected or len(events), error)
            self._failing = True
            return LogRecordExportResult.FAILURE
        self._failing = False
        return LogRecordExportResult.SUCCESS

    def _try_again_until(self, deadline: float, events: Sequence[Event]) -> None:
        delay_s = 0.1
        while True:
            try:
                return self.export_events(events)
            except ExportError as error:
                wait_s = error.retry_after_s or delay_s * random.uniform(0.5, 1.5)
                # While it is failing, one attempt a batch: the caller may be the program itself.
                hopeless = not error.retryable or self._failing or self.stopping.is_set()
                if hopeless or monotonic() + wait_s > deadline or self.stopping.wait(wait_s):
                    raise
            delay_s *= 2

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept back, so there is nothing to flush."""
        return not self._failing

    def shutdown(self) -> None:
        """Stop; harmless a second time, and does not wait long for a delivery that hangs."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        locked = self._lock.acquire(timeout=_CLOSE_WAIT_S)
        try:
            self.close()
        finally:
            if locked:
                self._lock.release()


class _CleanLogRecord(ReadWriteLogRecord):
    """A record whose attributes are clean and within limits since `emit`.

    The SDK's own copies each value again, half of the lane's time, and its older releases
    replace lists of mixed types by None.
    """

    def __post_init__(self) -> None:
        """Leave the attributes the plain dict they are."""


def apply_log_record_processor(
    processor: LogRecordProcessor, events: Sequence[Event], resource: Resource | None = None
) -> list[Event]:
    """Show each event to a processor as a log record; return them as it left them.

    resource: their producer's. Ids and webhooks stay what they were, also if the processor
    does to the record. What the processor raises is raised.
    """
    if resource is None:
        resource = EMPTY_RESOURCE
    limits = LogRecordLimits()
    processed = []
    for event in events:
        record = _CleanLogRecord(to_api_record(event), resource, SCOPE, limits)
        processor.on_emit(record)
        processed.append(_as_left(record, event))
    return processed


def _as_left(record: ReadWriteLogRecord, event: Event) -> Event:
    after = from_log_record(record)
    if (after.producer, after.number) == (event.producer, event.number) and not event.webhooks:
        return after
    return msgspec.structs.replace(
        after, producer=event.producer, number=event.number, webhooks=event.webhooks
    )
