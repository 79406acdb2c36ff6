"""Log records of other OpenTelemetry loggers -> events, without loss."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from realm_telemetry.event import (
    CHANNELS,
    FIRST_CONTENT_NUMBER,
    PROCESS_LOST_NUMBER,
    SEVERITIES,
    Event,
    InvalidEventError,
    split_event_id,
)
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.kinds.messages import body_message
from realm_telemetry.otel import names
from realm_telemetry.otel.attributes import (
    Attributes,
    Origin,
    PlainRecord,
    add_detail,
    json_value,
    trace_context,
    value_text,
)
from realm_telemetry.otel.sdk import (
    InstrumentationScope,
    LogRecord,
    Resource,
)
from realm_telemetry.values.details import safe_text
from realm_telemetry.values.rank import rank_of, to_rank, with_rank

LOG_RECORD_KIND: Final = "log_record"
"""The kind of a record without an event name."""

MAX_RUN_CHARS: Final = 256
"""Of the id of a run, as everywhere."""

_CONTENT_NUMBERS: Final = PROCESS_LOST_NUMBER - FIRST_CONTENT_NUMBER
_IDENTITY: Final = ("service.namespace", "service.name", "service.instance.id", "host.name")
_encode = msgspec.json.Encoder(order="deterministic").encode
_NO_RANK: Final = b',"rank":null}'


def foreign_event(
    record: LogRecord | PlainRecord, read: Attributes, origin: Origin, dropped_attributes: int = 0
) -> Event:
    """Return the event of a record that lacks some of what ours have.

    All that has no field of its own is among the details, under OpenTelemetry's names.
    """
    details, fields = dict(read.details), read.fields
    kind = _kind(record, fields, details)
    severity = _severity(record, fields, details)
    source = _source(origin, fields.get(names.SOURCE), dropped_attributes, details)
    time, observed = record.timestamp or 0, record.observed_timestamp or 0
    if observed and time and observed != time:
        # The log has its own arrival in the event's field.
        add_detail(details, "otel.observed_time_unix_nano", str(observed))
    event = Event(
        kind,
        _channel(record, fields, kind),
        severity or resolve(kind)[1],
        _message(record.body, kind, details),
        details,
        time or observed,
        origin.producer,
        1,
        fields.get(names.HERO),
        fields.get(names.CAMPAIGN),
        fields.get(names.RUN),
        source,
        *trace_context(record),
        (),
        observed or None,
    )
    event = with_rank(event, to_rank(fields.get(names.RANK)))
    return _of_process(_with_id(event, fields), origin)


def _of_process(event: Event, origin: Origin) -> Event:
    """Return the event with run and rank of its resource where it has none of its own.

    After it has its number, so that a record that is sent again after an upgrade is the same event.
    """
    if event.run_id is None and origin.run_id is not None:
        event = msgspec.structs.replace(event, run_id=origin.run_id)
    return event if rank_of(event) is not None else with_rank(event, origin.rank)


def run_of(attributes: Mapping[str, Any]) -> str | None:
    """Return the run that a resource names for all of its records."""
    given = attributes.get(names.RUN)
    return (safe_text(given)[:MAX_RUN_CHARS] or None) if isinstance(given, str) else None


def _kind(
    record: LogRecord | PlainRecord, fields: Mapping[str, str], details: dict[str, Any]
) -> str:
    # Older SDKs had no field for the event's name.
    name = record.event_name or value_text(details.get(names.EVENT_NAME, ""))
    bare = name.removeprefix(names.EVENT_NAME_PREFIX)
    kind = fields.get(names.KIND) or snake_case(bare) or LOG_RECORD_KIND
    if record.event_name and bare != kind:
        add_detail(details, "otel.event_name", safe_text(record.event_name))
    return kind


def snake_case(name: str) -> str:
    """Return a name as a kind: `app.Button-Clicked` is app_button_clicked; maybe empty."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def _severity(
    record: LogRecord | PlainRecord, fields: Mapping[str, str], details: dict[str, Any]
) -> str | None:
    number = _severity_number(record)
    text = safe_text(record.severity_text or "")
    given = fields.get(names.SEVERITY)
    severity = given if given in SEVERITIES else _severity_of(number, text)
    if number and number != names.SEVERITY_NUMBERS.get(severity or ""):
        add_detail(details, "otel.severity_number", number)
    if text and text != names.SEVERITY_TEXTS.get(severity or ""):
        add_detail(details, "otel.severity_text", text)
    return severity


def _severity_number(record: LogRecord | PlainRecord) -> int:
    number = record.severity_number
    if number is None or isinstance(number, int):
        return number or 0
    return int(number.value)


def _severity_of(number: int, text: str) -> str | None:
    """Read OpenTelemetry's severity numbers, 1 to 24; 10 means success only with that text."""
    if number == names.SEVERITY_NUMBERS["success"] and text.upper() == "SUCCESS":
        return "success"
    if number:
        return "info" if number < 13 else "warning" if number < 17 else "error"
    return _SEVERITY_WORDS.get(text.upper())


_SEVERITY_WORDS: Final = {
    "TRACE": "info",
    "DEBUG": "info",
    "INFO": "info",
    "SUCCESS": "success",
    "WARN": "warning",
    "WARNING": "warning",
    "ERROR": "error",
    "CRITICAL": "error",
    "FATAL": "error",
}


def _channel(record: LogRecord | PlainRecord, fields: Mapping[str, str], kind: str) -> str:
    given = fields.get(names.CHANNEL)
    if given is not None and given in CHANNELS:
        return given
    number = _severity_number(record)
    # TRACE and DEBUG, unless the kind itself belongs to another channel.
    if 0 < number < 9 and kind == LOG_RECORD_KIND:
        return "debug"
    return resolve(kind)[0]


def _message(body: Any, kind: str, details: dict[str, Any]) -> str:
    if body is None:
        return render(kind, details)
    if isinstance(body, str):
        return safe_text(body)
    shown = json_value(body)
    add_detail(details, "otel.body", shown)
    return body_message(shown)


def _source(
    origin: Origin, source: str | None, dropped_attributes: int, details: dict[str, Any]
) -> str | None:
    """Return the source, the scope's name if there is no other; scope and resource are kept."""
    if source and origin.scope:
        add_detail(details, "otel.scope.name", origin.scope)
    for key, value in origin.details.items():
        add_detail(details, key, value)
    if dropped_attributes:
        add_detail(details, "otel.dropped_attributes_count", dropped_attributes)
    return source or origin.scope or None


def origin_of(resource: Resource | None, scope: InstrumentationScope | None) -> Origin:
    """Return what a resource and a scope of the SDK say."""
    attributes = resource.attributes if resource is not None else {}
    details = {
        "otel.scope.version": scope and scope.version,
        "otel.scope.schema_url": scope and scope.schema_url,
        "otel.scope.attributes": dict((scope and scope.attributes) or {}),
        "otel.resource": dict(attributes),
    }
    known = {key: json_value(value) for key, value in details.items() if value}
    name = safe_text(scope.name or "") if scope else ""
    rank = to_rank(attributes.get(names.RANK))
    return Origin(producer_of(resource), name, known, run_of(attributes), rank)


def _with_id(event: Event, fields: Mapping[str, str]) -> Event:
    """Give the event the id it came with, or one made of its uid or content."""
    uid = fields.get(names.UID)
    if uid and names.KIND in fields:
        try:
            producer, number = split_event_id(uid)
            return msgspec.structs.replace(event, producer=producer, number=number or 1)
        except InvalidEventError:
            pass
    number = content_number(uid.encode() if uid else _content(event))
    return msgspec.structs.replace(event, number=number)


def _content(event: Event) -> bytes:
    """Return what the number of an event without a uid is made of."""
    content = _encode(event)
    # As before events had a rank: a record that is sent again after an upgrade is the same event.
    return content.removesuffix(_NO_RANK) + b"}" if rank_of(event) is None else content


def content_number(content: bytes) -> int:
    """Return the number that stands for a uid or for a record's whole content."""
    number = int.from_bytes(blake2b(content, digest_size=8).digest(), "big")
    return FIRST_CONTENT_NUMBER + number % _CONTENT_NUMBERS


_last_producer: tuple[Resource | None, str] = (None, "")


def producer_of(resource: Resource | None) -> str:
    """Return the producer id of a resource: its own, or one made of its attributes."""
    global _last_producer
    known, producer = _last_producer
    if known is not resource or known is None:
        attributes = dict(resource.attributes) if resource is not None else {}
        producer = producer_id(attributes)
        _last_producer = (resource, producer)
    return producer


def producer_id(attributes: Mapping[str, Any]) -> str:
    """Return the producer id that a resource's attributes give, or one made of them."""
    given = attributes.get(names.PRODUCER_ID)
    if isinstance(given, str) and re.fullmatch("[0-9a-f]{16}", given):
        return given
    # One process, if the resource names it; else all that the resource says.
    identity = {key: attributes[key] for key in _IDENTITY if key in attributes}
    if "service.instance.id" not in identity:
        identity = dict(attributes)
    return blake2b(_encode(json_value(identity)), digest_size=8).hexdigest()
