"""Events as OTLP log records, by the table in docs/semantic-conventions.md."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from realm_exporter_otlp.encoding import SCOPE, add_attributes, fill_value, hex_bytes, resource_of
from realm_telemetry.event import Event
from realm_telemetry.otel import names
from realm_telemetry.values.details import safe_text
from realm_telemetry.values.rank import rank_of

_MAX_UNIX_NANO: Final = 2**64 - 1
_FLAGS: Final = 0xFF  # the trace flags; other bits are reserved


def encode_events(
    events: Sequence[Event], resource: Callable[[str], Mapping[str, Any]]
) -> ExportLogsServiceRequest:
    """Return a request with the events in their order, grouped by neighbours of one producer.

    resource: what is known of a producer.
    """
    request = ExportLogsServiceRequest()
    for producer, group in groupby(events, attrgetter("producer")):
        resource_logs = request.resource_logs.add(
            resource=resource_of(producer, resource(producer))
        )
        records = resource_logs.scope_logs.add(scope=SCOPE).log_records
        for event in group:
            fill_record(records.add(), event)
    return request


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
    record = LogRecord()
    fill_record(record, event)
    return record


def fill_record(record: LogRecord, event: Event) -> None:
    """Write an event into a new log record."""
    severity = event.severity
    record.time_unix_nano = _time(event.time_unix_nano)
    record.observed_time_unix_nano = _time(event.observed_unix_nano or 0)
    record.severity_number = names.SEVERITY_NUMBERS[severity]  # type: ignore[assignment]  # an enum
    record.severity_text = names.SEVERITY_TEXTS[severity]
    record.event_name = safe_text(names.EVENT_NAME_PREFIX + event.kind)
    fill_value(record.body, event.message)
    prefix = names.DETAIL_PREFIX
    add_attributes(
        record.attributes, [(prefix + key, value) for key, value in event.details.items()]
    )
    add_attributes(record.attributes, _fields(event))
    record.trace_id = hex_bytes(event.trace_id, 16)
    record.span_id = hex_bytes(event.span_id, 8)
    record.flags = event.trace_flags & _FLAGS


def _fields(event: Event) -> Iterator[tuple[str, str | int]]:
    for name, value in (
        (names.HERO, event.hero_id),
        (names.CAMPAIGN, event.campaign_id),
        (names.RUN, event.run_id),
        (names.SOURCE, event.source),
    ):
        if value is not None:
            yield name, value
    if (rank := rank_of(event)) is not None:
        yield names.RANK, rank
    yield names.KIND, event.kind
    yield names.CHANNEL, event.channel
    yield names.SEVERITY, event.severity
    # Once more: some stores drop the field.
    yield names.EVENT_NAME, names.EVENT_NAME_PREFIX + event.kind
    yield names.UID, event.id


def _time(unix_nano: int) -> int:
    """A time as OTLP has it: unsigned, 0 for one before 1970."""
    return min(max(unix_nano, 0), _MAX_UNIX_NANO)
