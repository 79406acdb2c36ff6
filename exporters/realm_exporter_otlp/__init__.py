"""Sends events as OpenTelemetry log records to any OTLP receiver: Grafana, a collector."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from realm_exporter_otlp.log_records import encode_events, encode_records, item_id
from realm_exporter_otlp.resources import Resources
from realm_exporter_otlp.transport import (
    TRANSPORT_DEFAULTS,
    Said,
    Sent,
    examine,
    open_channel,
    send_split,
)
from realm_telemetry.errors import ExportError
from realm_telemetry.event import Event
from realm_telemetry.otel import EventExporter
from realm_telemetry.plugins import ExporterContext

__all__ = ["OtlpExporter"]

_logger = logging.getLogger(__name__)


class OtlpExporter(EventExporter):
    """Sends log records; a receiver that cares tells one that comes again by `log.record.uid`."""

    name = "otlp"
    defaults: ClassVar[Mapping[str, Any]] = TRANSPORT_DEFAULTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connects to nothing yet. Raises ConfigError."""
        super().__init__(*args, **kwargs)
        self._channel = open_channel("logs", self.options, self.context)
        self._resources = Resources(self.context.log_path if self.context.inside_shipper else None)
        self._warned = False

    @classmethod
    def examine(cls, context: ExporterContext) -> Iterator[Said]:
        """What `realm doctor` says of the settings and the receiver: level, message, fix."""
        return examine(cls(context=context)._channel, ExportLogsServiceRequest())

    def read_records(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Leave a plain SDK's records as they are: any logger's keep their names and resource."""
        return batch

    def deliver(self, events: Sequence[Any]) -> None:
        """Send events, or a plain SDK's records, in parts where one request would be too large."""
        encode = self._encode if isinstance(events[0], Event) else encode_records
        self._tell(send_split(self._channel, events, encode, self.options["max_request_bytes"]))

    def _encode(self, events: Sequence[Event]) -> ExportLogsServiceRequest:
        now_s = time.monotonic()
        return encode_events(events, lambda producer: self._resources.of(producer, now_s))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _tell(self, sent: Sent[Any]) -> None:
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
