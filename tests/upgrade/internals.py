"""Every name from inside the package that these tests use; a move changes this file alone."""

from typing import Final

from realm_telemetry.log import LogWriter
from realm_telemetry.wire import CONTENT_TYPE, BatchAnswer, encode_answer

__all__ = ["CONTENT_TYPE", "DURABLE_PROCESSOR", "BatchAnswer", "LogWriter", "encode_answer"]

DURABLE_PROCESSOR: Final = "realm_telemetry.integrations.opentelemetry"
"""The module that has DurableLogRecordProcessor, in old and new code."""
