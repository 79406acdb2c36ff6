"""A log record as plain values, and its attributes read back into JSON values."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from realm_telemetry.otel import names
from realm_telemetry.otel.sdk import Context, LogRecord
from realm_telemetry.values.details import safe_text, to_json_value
from realm_telemetry.values.rank import to_rank


class PlainRecord(msgspec.Struct):
    """A log record that no SDK of this process made; its fields are named as the API's are.

    timestamp, observed_timestamp: ns since 1970; 0 or None is unknown.
    severity_number: OpenTelemetry's, 0 is unknown; any other number may come.
    body, attributes: JSON values.
    trace_id, span_id: 0 is none.
    """

    timestamp: int | None = 0
    observed_timestamp: int | None = 0
    severity_number: int = 0
    severity_text: str = ""
    event_name: str = ""
    body: Any = None
    attributes: dict[str, Any] = {}
    trace_id: int = 0
    span_id: int = 0
    trace_flags: int = 0
    context: Context | None = None


class Origin(msgspec.Struct, frozen=True):
    """What all records of one scope of one resource have in common.

    producer: the producer id that stands for the resource.
    scope: the scope's name, maybe empty.
    details: what else scope and resource say, under the names that it has among the details.
    run_id, rank: of records that say none of their own.
    """

    producer: str
    scope: str
    details: dict[str, Any]
    run_id: str | None = None
    rank: int | None = None


_PREFIX_LENGTH: Final = len(names.DETAIL_PREFIX)


class Attributes(NamedTuple):
    """fields: those the table gives to an event's own fields; details: all others."""

    details: dict[str, Any]
    fields: dict[str, str]


def read_attributes(attributes: Mapping[str, Any] | None) -> Attributes:
    """Sort attributes; those that are neither fields nor details of ours become details."""
    details: dict[str, Any] = {}
    fields: dict[str, str] = {}
    others: dict[str, Any] = {}
    for key, value in _as_dict(attributes).items():
        if key.startswith(names.DETAIL_PREFIX):
            details[key[_PREFIX_LENGTH:]] = json_value(value)
        elif key in names.FIELD_ATTRIBUTES:
            if key == names.RANK and to_rank(value) is None:
                others[key] = value
            elif value is not None:
                fields[key] = value_text(value)
        else:
            others[key] = value
    if others.get(names.EVENT_NAME) == names.EVENT_NAME_PREFIX + fields.get(names.KIND, ""):
        # Repeated for stores that drop the record's own field.
        del others[names.EVENT_NAME]
    for key, value in others.items():
        add_detail(details, safe_text(key), json_value(value))
    return Attributes(details, fields)


def _as_dict(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    # The SDK's mapping takes its lock for each look-up; its copy is one plain dict.
    if type(attributes) is dict:
        return attributes
    copy = getattr(attributes, "copy", None)
    return copy() if copy is not None else dict(attributes or {})


def add_detail(details: dict[str, Any], key: str, value: Any) -> None:
    """Add a detail under its key, or under `attributes.` and its key if that is taken."""
    while key in details:
        key = f"attributes.{key}"
    details[key] = value


def json_value(value: Any) -> Any:
    """Return the JSON value of an attribute; the SDK makes lists tuples."""
    kind = type(value)
    if kind is str:
        return safe_text(value)
    if kind is int or kind is bool or value is None:
        return value
    if kind is float and value - value == 0.0:  # not so for NaN and the infinities
        return value
    if kind is tuple or kind is list:
        return [json_value(item) for item in value]
    if kind is dict and all(type(key) is str for key in value):
        return {safe_text(key): json_value(item) for key, item in value.items()}
    return to_json_value(value)


def value_text(value: Any) -> str:
    """Return a value as text: text itself, anything else as JSON would have it."""
    converted = json_value(value)
    return converted if type(converted) is str else msgspec.json.encode(converted).decode()


def trace_context(record: LogRecord | PlainRecord) -> tuple[str | None, str | None, int]:
    """Return trace_id, span_id and trace_flags as an event has them."""
    trace_id, span_id = record.trace_id, record.span_id
    return (
        f"{trace_id:032x}" if trace_id else None,
        f"{span_id:016x}" if span_id else None,
        int(record.trace_flags or 0),
    )
