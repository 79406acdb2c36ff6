"""A plain OpenTelemetry program whose records a durable processor keeps and posts.

Arguments: the module of the processor, address, how many records to emit (0: only those that
were left). REALM_HOME is where the spool is. Ends once all is exported.
"""

import importlib
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

MODULE, URL, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Posting(LogRecordExporter):
    """Posts the bodies of a batch as JSON."""

    def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
        body = json.dumps([record.log_record.body for record in batch]).encode()
        request = urllib.request.Request(f"{URL}/records", body)
        try:
            with urllib.request.urlopen(request, timeout=5):
                return LogRecordExportResult.SUCCESS
        except (urllib.error.URLError, ConnectionError):
            return LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


processor = importlib.import_module(MODULE).DurableLogRecordProcessor(
    "collector", Posting(), max_export_batch_size=20, schedule_delay_millis=100
)
provider = LoggerProvider()
provider.add_log_record_processor(processor)
logger = provider.get_logger("lab")
for number in range(COUNT):
    logger.emit(LogRecord(body=f"#{number:05d}#"))
if COUNT == 0:
    time.sleep(1.5)  # so long that a spool that was left is found and exported
provider.force_flush(30_000)
