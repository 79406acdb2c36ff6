"""A program with OpenTelemetry only: an exporter of ours, and records that survive a crash."""

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger, set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from realm_exporter_battle_log import BattleLogExporter

from realm_telemetry.otel.durable import DurableLogRecordProcessor

provider = LoggerProvider(Resource.create({"service.name": "evaluator"}))
# In place of BatchLogRecordProcessor(exporter), with any exporter; the name is the spool's.
provider.add_log_record_processor(DurableLogRecordProcessor("battle-log", BattleLogExporter()))
set_logger_provider(provider)

logger = get_logger("lab.eval", "1.0")
for level in range(1, 4):
    logger.emit(
        LogRecord(
            event_name="app.level_evaluated",
            body=f"Level {level} evaluated",
            severity_number=SeverityNumber.INFO,
            attributes={"skill": "sums", "level": level, "accuracy": 0.9 - level / 10},
        )
    )
logger.emit(LogRecord(body="Level 4 was skipped", severity_number=SeverityNumber.WARN))
# At exit the provider exports what is left; after a crash the next run does.
