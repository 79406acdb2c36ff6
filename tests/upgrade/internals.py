"""Every name from inside the package that these tests use; a move changes this file alone."""

from typing import Final

from realm_telemetry.log import LogWriter
from realm_telemetry.wire import CONTENT_TYPE, BatchAnswer, encode_answer

__all__ = ["CONTENT_TYPE", "DURABLE_PROCESSOR", "BatchAnswer", "LogWriter", "encode_answer"]

DURABLE_PROCESSOR: Final = "realm_telemetry.integrations.opentelemetry"
"""The module that has DurableLogRecordProcessor, in old and new code."""

COVERAGE: Final = ("data/realm_state.db", "SELECT log_id, cursor FROM realm_snapshot")
"""Where a home says up to which row a saved RealmState covers its log."""

METRIC_CURSORS: Final = (
    "data/realm_measures.db",
    "SELECT reader, log_id, cursor FROM realm_measures ORDER BY reader",
)
"""Where a home says up to which row its metrics are saved."""

OLD_LOG_WRITER: Final = "realm_telemetry.log:LogWriter"
NEW_LOG_WRITER: Final = "realm_telemetry.log:LogWriter"
"""The class of the log's writer, in old and new code."""
