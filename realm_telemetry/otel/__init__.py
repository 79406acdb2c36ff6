"""Events as OpenTelemetry log records, and exporters and processors of either kind.

Only this package imports the OpenTelemetry logs SDK, and only in `sdk`.
"""

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
from realm_telemetry.otel.adapter import EventExporter, apply_log_record_processor
from realm_telemetry.otel.foreign import producer_of
from realm_telemetry.otel.record import from_log_record, to_log_record
from realm_telemetry.otel.sdk import LogRecordExporter, LogRecordExportResult, LogRecordProcessor

__all__ = [
    "EventExporter",
    "LogRecordExportResult",
    "LogRecordExporter",
    "LogRecordProcessor",
    "apply_log_record_processor",
    "from_log_record",
    "producer_of",
    "to_log_record",
]
