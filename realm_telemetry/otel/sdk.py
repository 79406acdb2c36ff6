"""All that we use of the OpenTelemetry logs SDK; no other module imports it.

That API is not stable and changes in minor releases: renames of a release are handled here.
Tested with opentelemetry-sdk 1.39 to 1.45.
"""

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESS_INSTRUMENTATION,
)
from opentelemetry.context import Context
from opentelemetry.sdk._logs import (
    LoggerProvider,
    LogRecordLimits,
    LogRecordProcessor,
    ReadableLogRecord,
    ReadWriteLogRecord,
)
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags

__all__ = [
    "SUPPRESS_INSTRUMENTATION",
    "BatchLogRecordProcessor",
    "Context",
    "InstrumentationScope",
    "LogRecord",
    "LogRecordExportResult",
    "LogRecordExporter",
    "LogRecordLimits",
    "LogRecordProcessor",
    "LoggerProvider",
    "ReadWriteLogRecord",
    "ReadableLogRecord",
    "Resource",
    "SeverityNumber",
    "TraceFlags",
]
