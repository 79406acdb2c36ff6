"""The log record processor of our distro: records of any logger become events in our spool."""

import threading

from realm_telemetry.errors import warn_once
from realm_telemetry.integrations.logging import THREAD_PREFIX
from realm_telemetry.otel import from_log_record
from realm_telemetry.otel.sdk import (
    LogRecordProcessor,
    ReadableLogRecord,
    ReadWriteLogRecord,
    Resource,
)
from realm_telemetry.producer.api import get_telemetry
from realm_telemetry.producer.emission import keep_clean
from realm_telemetry.producer.telemetry import Telemetry

_IDENTITY = frozenset({"service.name", "service.instance.id"})


class SpoolingProcessor(LogRecordProcessor):
    """Keeps each record as an event; the shipper does the rest, in a process of its own.

    What its producer's resource says already is not repeated in every event.
    """

    def __init__(self) -> None:
        self._last: tuple[object, Telemetry | None, Resource] = (None, None, Resource({}))

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Keep a record; never raises."""
        if threading.current_thread().name.startswith(THREAD_PREFIX):
            return  # what a delivery logs must not bring forth the next
        try:
            beyond = self._beyond_producer(log_record.resource)
            scope = log_record.instrumentation_scope
            keep_clean(from_log_record(ReadableLogRecord(log_record.log_record, beyond, scope)))
        except Exception as error:  # noqa: BLE001 - a logging program must not see it
            warn_once(f"spooling {type(error)}", f"a log record was not kept: {error!r}")

    def _beyond_producer(self, resource: Resource | None) -> Resource:
        """The resource without what the producer's hello has told."""
        known, active, beyond = self._last
        telemetry = get_telemetry()
        if known is resource and active is telemetry:
            return beyond
        told = {} if telemetry is None else telemetry.resource()
        attributes = {} if resource is None else dict(resource.attributes)
        left = {
            key: value
            for key, value in attributes.items()
            if key not in _IDENTITY and _plain(value) != told.get(key)
        }
        self._last = (resource, telemetry, Resource(left))
        return self._last[2]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until all is in the log and with every exporter."""
        telemetry = get_telemetry()
        return telemetry is None or telemetry.flush(timeout_millis / 1e3)

    def shutdown(self) -> None:
        """Nothing to do: the producer ends by itself, after what is logged at exit."""


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
