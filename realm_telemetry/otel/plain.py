"""A log record as plain values, and where it comes from: what an event is made of."""

from typing import Any

import msgspec

from realm_telemetry.otel.sdk import Context


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
    """

    producer: str
    scope: str
    details: dict[str, Any]
