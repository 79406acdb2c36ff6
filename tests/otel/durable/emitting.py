"""A plain OpenTelemetry program that notes each record whose `emit` returned, until it is killed.

Arguments: endpoint, processor (durable or batch), file to note in, how many (0: only what an
earlier run has left). REALM_HOME is where the spool is.
"""

import os
import sys
import time

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from realm_telemetry.otel.durable import DurableLogRecordProcessor

ENDPOINT, KIND, NOTES, COUNT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def main() -> None:
    exporter = OTLPLogExporter(endpoint=ENDPOINT)
    durable = KIND == "durable"
    processor = (
        DurableLogRecordProcessor("collector", exporter)
        if durable
        else BatchLogRecordProcessor(exporter)
    )
    provider = LoggerProvider()
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("lab")
    notes = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for index in range(COUNT):
        name = f"{os.getpid()}-{index}"
        logger.emit(LogRecord(body=name, attributes={"text": "x" * (index % 300)}))
        os.write(notes, f"{name}\n".encode())
        if index % 50 == 49:
            time.sleep(0.002)
    if COUNT == 0:
        time.sleep(float(os.environ.get("STAY_S", "0.5")))


if __name__ == "__main__":
    main()
