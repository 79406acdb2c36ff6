"""Resources, scopes, log records and span events of either encoding, as plain values."""

from collections.abc import Iterable
from typing import Any, Final

from realm_telemetry.otel import names
from realm_telemetry.otel.attributes import PlainRecord, json_value
from realm_telemetry.otel.otlp.parts import Item, ResourceFields, ScopeFields

_TRACE_FLAGS: Final = 0xFF
"""The bits of `flags` that are W3C trace flags; the others are reserved."""

_TRACE_ID_BYTES: Final = (0, 16)
_SPAN_ID_BYTES: Final = (0, 8)

_MAX_SPAN_NAME_CHARS: Final = 256

_EXCEPTION: Final = "exception"
_ERROR: Final = 17


def record_of(
    time_unix_nano: int,
    observed_time_unix_nano: int,
    attributes: dict[str, Any],
    trace_id: bytes,
    span_id: bytes,
    flags: int,
    dropped_attributes_count: int,
) -> PlainRecord:
    """Return a record; what an event has no place for is added to the attributes.

    An id of another length than its own is no id, and the record belongs to no trace
    (opentelemetry/proto/logs/v1/logs.proto); the bytes are kept.
    """
    usual = (
        flags <= _TRACE_FLAGS
        and not dropped_attributes_count
        and len(trace_id) in _TRACE_ID_BYTES
        and len(span_id) in _SPAN_ID_BYTES
    )
    if not usual:
        rest = {
            "otel.flags": flags if flags > _TRACE_FLAGS else 0,
            "otel.dropped_attributes_count": dropped_attributes_count,
            "otel.trace_id": trace_id.hex() if len(trace_id) not in _TRACE_ID_BYTES else "",
            "otel.span_id": span_id.hex() if len(span_id) not in _SPAN_ID_BYTES else "",
        }
        attributes |= _present(rest)
    return PlainRecord(
        time_unix_nano,
        observed_time_unix_nano,
        attributes=attributes,
        trace_id=int.from_bytes(trace_id) if len(trace_id) == 16 else 0,
        span_id=int.from_bytes(span_id) if len(span_id) == 8 else 0,
        trace_flags=flags & _TRACE_FLAGS,
    )


def span_event(record: PlainRecord, name: str, span_name: str) -> PlainRecord:
    """Give the record of a span's event its name; an exception also its severity and message.

    Source: https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/
    """
    record.event_name = name
    if name == _EXCEPTION:
        parts = [record.attributes.get(f"exception.{part}") for part in ("type", "message")]
        record.body = ": ".join(part for part in parts if isinstance(part, str)) or None
        record.severity_number = _ERROR
        record.severity_text = "ERROR"
    # In each of its events: a long one must not be stored as often.
    record.attributes["otel.span.name"] = span_name[:_MAX_SPAN_NAME_CHARS]
    return record


def span_item(records: Iterable[PlainRecord], size: int) -> Item:
    """Return a span's events as an item; the span itself is refused.

    An event of ours in a span is an excerpt of one that is sent whole as a log record. It has the
    same id, so if it came first, the whole one would be taken for a resend.
    """
    return Item([record for record in records if not _is_excerpt(record.attributes)], 1, size)


def _is_excerpt(attributes: dict[str, Any]) -> bool:
    return names.UID in attributes and names.CHANNEL in attributes


def resource_fields(
    attributes: dict[str, Any], dropped_attributes_count: int, schema_url: str
) -> ResourceFields:
    """Return the fields of a resource."""
    plain = json_value(attributes)
    details = {
        "otel.resource": plain,
        "otel.resource.dropped_attributes_count": dropped_attributes_count,
        "otel.resource.schema_url": schema_url,
    }
    return ResourceFields(plain, _present(details))


def scope_fields(
    name: str,
    version: str,
    attributes: dict[str, Any],
    dropped_attributes_count: int,
    schema_url: str,
) -> ScopeFields:
    """Return the fields of a scope."""
    details = {
        "otel.scope.version": version,
        "otel.scope.schema_url": schema_url,
        "otel.scope.attributes": json_value(attributes),
        "otel.scope.dropped_attributes_count": dropped_attributes_count,
    }
    return ScopeFields(name, _present(details))


def _present(details: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in details.items() if value}
