"""Sends events as OpenTelemetry log records to any OTLP receiver: Grafana, a collector."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from realm_exporter_otlp.log_records import encode_events, encode_records, item_id
from realm_exporter_otlp.transport import (
    TRANSPORT_DEFAULTS,
    CheckResult,
    Sent,
    check_channel,
    open_channel,
    send_split,
)
from realm_telemetry.errors import ExportError
from realm_telemetry.event import Event
from realm_telemetry.otel import EventExporter
from realm_telemetry.plugins import Batch, ExporterContext

__all__ = ["OtlpExporter"]

_logger = logging.getLogger(__name__)


class OtlpExporter(EventExporter):
    """Sends log records; a receiver can recognise one that comes again by `log.record.uid`."""

    name = "otlp"
    defaults: ClassVar[Mapping[str, Any]] = TRANSPORT_DEFAULTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connects to nothing yet. Raises ConfigError."""
        super().__init__(*args, **kwargs)
        self._channel = open_channel("logs", self.options, self.context)
        self._warned = False

    @classmethod
    def check(cls, context: ExporterContext) -> Iterator[CheckResult]:
        """The checks of `realm doctor` on settings and receiver: level, message, fix."""
        return check_channel(cls(context=context)._channel, ExportLogsServiceRequest())

    def read_records(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Leave a plain SDK's records as they are: any logger's keep their names and resource."""
        return batch

    def deliver(self, events: Batch[Any]) -> None:
        """Send events, or a plain SDK's records, in parts where one request would be too large."""

        def encode(part: Sequence[Any]) -> ExportLogsServiceRequest:
            if isinstance(part[0], Event):
                return encode_events(part, events.resource)
            return encode_records(part)

        self._report(send_split(self._channel, events, encode, self.options["max_request_bytes"]))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _report(self, sent: Sent[Any]) -> None:
        """Raise ExportError for what the receiver will never take; the rest is delivered."""
        rejected = [item_id(item) for item, _ in sent.too_large]
        reasons = [reason for _, reason in sent.too_large]
        unknown = 0
        for items, answer in sent.answers:
            if answer.rejected >= len(items):
                rejected += [item_id(item) for item in items]
            else:
                unknown += answer.rejected
            if answer.rejected:
                reasons.append(f"{self._channel.target.shown} rejected them: {answer.message}")
            elif answer.message and not self._warned:
                self._warned = True
                _logger.warning("%s warns: %s", self._channel.target.shown, answer.message)
        if reasons:
            raise ExportError(
                reasons[0], retryable=False, rejected_ids=rejected, rejected_count=unknown
            )
