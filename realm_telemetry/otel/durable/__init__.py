"""OpenTelemetry without code of ours, and a processor for programs that have their own set-up.

Importing this imports the OpenTelemetry SDK.
"""

from realm_telemetry.otel.durable.processor import DurableLogRecordProcessor

__all__ = ["DurableLogRecordProcessor"]
