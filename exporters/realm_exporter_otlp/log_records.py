"""Events as OTLP log records, by the table in docs/semantic-conventions.md."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from realm_exporter_otlp.encoding import SCOPE, any_value, hex_bytes, key_value, resource_of
from realm_telemetry.event import Event
from realm_telemetry.otel import names
from realm_telemetry.values import safe_text

EVENT_NAME: str = "event.name"
"""The event's name once more, as an attribute: some stores drop the field."""

_MAX_UNIX_NANO = 2**64 - 1
_FLAGS = 0xFF  # the trace flags; other bits are reserved


def encode_events(
    events: Sequence[Event], resource: Callable[[str], Mapping[str, Any]]
) -> ExportLogsServiceRequest:
    """Return a request with the events in their order, grouped by neighbours of one producer.

    resource: what is known of a producer.
    """
    return ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(
                resource=resource_of(producer, resource(producer)),
                scope_logs=[ScopeLogs(scope=SCOPE, log_records=map(log_record, group))],
            )
            for producer, group in groupby(events, attrgetter("producer"))
        ]
    )


def encode_records(records: Sequence[Any]) -> ExportLogsServiceRequest:
    """Return a request with a plain SDK's records, as OpenTelemetry's own exporters encode them."""
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs

    return encode_logs(records)


def item_id(item: Any) -> str:
    """Return the id of an event, or of a plain SDK's record, empty if it has none."""
    if isinstance(item, Event):
        return item.id
    return str((item.log_record.attributes or {}).get(names.UID, ""))


def log_record(event: Event) -> LogRecord:
    """Return one event as a log record."""
    return LogRecord(
        time_unix_nano=_time(event.time_unix_nano),
        observed_time_unix_nano=_time(event.observed_unix_nano or 0),
        severity_number=names.SEVERITY_NUMBERS[event.severity],  # type: ignore[arg-type]  # the enum
        severity_text=names.SEVERITY_TEXTS[event.severity],
        event_name=safe_text(names.EVENT_NAME_PREFIX + event.kind),
        body=any_value(event.message),
        attributes=_attributes(event),
        trace_id=hex_bytes(event.trace_id, 16),
        span_id=hex_bytes(event.span_id, 8),
        flags=event.trace_flags & _FLAGS,
    )


def _attributes(event: Event) -> list[KeyValue]:
    attributes = [
        key_value(names.DETAIL_PREFIX + key, value) for key, value in event.details.items()
    ]
    fields = (
        (names.HERO, event.hero_id),
        (names.CAMPAIGN, event.campaign_id),
        (names.RUN, event.run_id),
        (names.SOURCE, event.source),
        (names.KIND, event.kind),
        (names.CHANNEL, event.channel),
        (names.SEVERITY, event.severity),
        (EVENT_NAME, names.EVENT_NAME_PREFIX + event.kind),
        (names.UID, event.id),
    )
    attributes += [key_value(name, value) for name, value in fields if value is not None]
    return attributes


def _time(unix_nano: int) -> int:
    """A time as OTLP has it: unsigned, 0 for one before 1970."""
    return min(max(unix_nano, 0), _MAX_UNIX_NANO)
