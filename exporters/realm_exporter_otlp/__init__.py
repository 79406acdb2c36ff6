"""Sends events as OpenTelemetry log records to any OTLP receiver: Grafana, a collector."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from realm_exporter_otlp.log_records import encode_events
from realm_exporter_otlp.resources import Resources
from realm_exporter_otlp.splitting import send_split
from realm_exporter_otlp.transport import TRANSPORT_DEFAULTS, open_channel
from realm_telemetry.errors import ExportError
from realm_telemetry.event import Event
from realm_telemetry.otel import EventExporter

__all__ = ["OtlpExporter"]


class OtlpExporter(EventExporter):
    """Sends log records; a receiver that cares tells one that comes again by `log.record.uid`."""

    name = "otlp"
    defaults: ClassVar[Mapping[str, Any]] = TRANSPORT_DEFAULTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connects to nothing yet. Raises ConfigError."""
        super().__init__(*args, **kwargs)
        self._channel = open_channel("logs", self.options, self.context)
        self._resources = Resources(self.context.log_path if self.context.inside_shipper else None)

    def deliver(self, events: Sequence[Event]) -> None:
        """Send the events, in parts where one request would be too large."""
        now_s = time.monotonic()
        sent = send_split(
            self._channel,
            events,
            lambda part: encode_events(part, lambda producer: self._resources.of(producer, now_s)),
            self.options["max_request_bytes"],
        )
        if sent.too_large:
            raise ExportError(
                f"{len(sent.too_large)} events are too large: {sent.too_large[0][1]}",
                retryable=False,
                rejected_ids=[event.id for event, _ in sent.too_large],
            )

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
