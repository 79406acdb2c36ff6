"""Event <-> OpenTelemetry log record, by the table in docs/semantic-conventions.md."""

from typing import Any, Final

from realm_telemetry.event import CHANNELS, Event, InvalidEventError, split_event_id
from realm_telemetry.otel import names
from realm_telemetry.otel.attributes import Attributes, PlainRecord, read_attributes, trace_context
from realm_telemetry.otel.foreign import foreign_event, origin_of
from realm_telemetry.otel.sdk import (
    Context,
    InstrumentationScope,
    LogRecord,
    ReadableLogRecord,
    ReadWriteLogRecord,
    Resource,
    SeverityNumber,
    TraceFlags,
)
from realm_telemetry.values.rank import rank_of, to_rank, with_rank

SCOPE: Final = InstrumentationScope("realm_telemetry")
EMPTY_RESOURCE: Final = Resource({})

_SEVERITIES: Final = {
    severity: (SeverityNumber(number), names.SEVERITY_TEXTS[severity])
    for severity, number in names.SEVERITY_NUMBERS.items()
}
_CHANNELS: Final = frozenset(CHANNELS)
_NOT_SAMPLED: Final = TraceFlags(0)
# Not empty, or LogRecord would take the current context and with it a span that is not ours.
_NO_SPAN: Final = Context({"realm-record": True})


def to_log_record(event: Event, resource: Resource | None = None) -> ReadableLogRecord:
    """Return the event as a log record that any OpenTelemetry exporter takes.

    resource: its producer's.
    """
    return ReadableLogRecord(to_api_record(event), resource or EMPTY_RESOURCE, SCOPE)


def to_api_record(event: Event) -> LogRecord:
    """Return the event as the API's log record, attributes in a plain dict."""
    number, text = _SEVERITIES[event.severity]
    webhooks = event.webhooks
    record = LogRecord(
        timestamp=event.time_unix_nano,
        # 0 means unknown, as in OTLP; None would be filled in.
        observed_timestamp=event.observed_unix_nano or 0,
        context=Context({names.WEBHOOKS_KEY: webhooks}) if webhooks else _NO_SPAN,
        severity_number=number,
        severity_text=text,
        body=event.message,
        attributes=_attributes(event),
        event_name=names.EVENT_NAME_PREFIX + event.kind,
    )
    record.trace_id = int(event.trace_id, 16) if event.trace_id else 0
    record.span_id = int(event.span_id, 16) if event.span_id else 0
    record.trace_flags = TraceFlags(event.trace_flags) if event.trace_flags else _NOT_SAMPLED
    return record


def _attributes(event: Event) -> dict[str, Any]:
    attributes = {names.DETAIL_PREFIX + key: value for key, value in event.details.items()}
    # These come last: the SDK keeps 128 attributes and evicts the oldest.
    if event.hero_id is not None:
        attributes[names.HERO] = event.hero_id
    if event.campaign_id is not None:
        attributes[names.CAMPAIGN] = event.campaign_id
    if event.run_id is not None:
        attributes[names.RUN] = event.run_id
    if event.source is not None:
        attributes[names.SOURCE] = event.source
    if (rank := rank_of(event)) is not None:
        attributes[names.RANK] = rank
    attributes[names.KIND] = event.kind
    attributes[names.CHANNEL] = event.channel
    attributes[names.SEVERITY] = event.severity
    attributes[names.UID] = event.id
    return attributes


def from_log_record(record: ReadableLogRecord | ReadWriteLogRecord) -> Event:
    """Return a log record as an event: ours as it was, any other one without loss.

    What a foreign record has and an event has no field for is in the details; its id comes from
    `log.record.uid` or its content, so that the same record is the same event every time.
    """
    log_record = record.log_record
    read = read_attributes(log_record.attributes)
    ours = our_event(log_record, read)
    if ours is not None:
        return ours
    origin = origin_of(record.resource, record.instrumentation_scope)
    return foreign_event(log_record, read, origin, record.dropped_attributes)


def our_event(record: LogRecord | PlainRecord, read: Attributes) -> Event | None:
    """Return the event of a record that has all of the table, else None."""
    fields = read.fields
    kind, channel, severity = map(fields.get, (names.KIND, names.CHANNEL, names.SEVERITY))
    complete = kind and severity in _SEVERITIES and channel in _CHANNELS
    if not complete or type(record.body) is not str or record.timestamp is None:
        return None
    try:
        producer, number = split_event_id(fields[names.UID])
    except (KeyError, TypeError, InvalidEventError):
        return None
    event = Event(
        kind,  # type: ignore[arg-type]  # attributes of the table are text
        channel,  # type: ignore[arg-type]
        severity,  # type: ignore[arg-type]
        record.body,
        read.details,
        record.timestamp,
        producer,
        number,
        fields.get(names.HERO),
        fields.get(names.CAMPAIGN),
        fields.get(names.RUN),
        fields.get(names.SOURCE),
        *trace_context(record),
        record.context.get(names.WEBHOOKS_KEY, ()) if record.context else (),  # type: ignore[arg-type]
        record.observed_timestamp or None,
    )
    return with_rank(event, to_rank(fields.get(names.RANK)))
