"""OpenTelemetry log record processors in the shipper's lane."""

from collections.abc import Sequence

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.otel.record import EMPTY_RESOURCE, SCOPE, from_log_record, to_api_record
from realm_telemetry.otel.sdk import (
    LogRecordLimits,
    LogRecordProcessor,
    ReadWriteLogRecord,
    Resource,
)


class _CleanLogRecord(ReadWriteLogRecord):
    """A record whose attributes are clean and within limits since `emit`.

    The SDK's own copies each value once more, half of the lane's time, and its older releases
    replace lists of mixed types by None.
    """

    def __post_init__(self) -> None:
        """Leave the attributes the plain dict they are."""


def apply_log_record_processor(
    processor: LogRecordProcessor, events: Sequence[Event], resource: Resource | None = None
) -> list[Event]:
    """Show each event to a processor as a log record; return them as it left them.

    resource: their producer's. Ids and webhooks stay what they were, whatever the processor
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
