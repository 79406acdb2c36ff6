"""All that we use of the OpenTelemetry logs SDK; no other module imports it.

That API is not stable and changes in minor releases: what a release renames is mended here.
Tested with opentelemetry-sdk 1.39 to 1.45.
"""

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import (
    LogRecordLimits,
    LogRecordProcessor,
    ReadableLogRecord,
    ReadWriteLogRecord,
)
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags

__all__ = [
    "Context",
    "InstrumentationScope",
    "LogRecord",
    "LogRecordExportResult",
    "LogRecordExporter",
    "LogRecordLimits",
    "LogRecordProcessor",
    "ReadWriteLogRecord",
    "ReadableLogRecord",
    "Resource",
    "SeverityNumber",
    "TraceFlags",
]
