"""Sends metrics made of events to any OTLP receiver: Grafana, Mimir, Prometheus, a collector."""

import logging
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from realm_exporter_otlp.metrics.counts import Counting, FromEvents, FromLog
from realm_exporter_otlp.metrics.requests import metrics_of, metrics_request
from realm_exporter_otlp.transport import (
    TRANSPORT_DEFAULTS,
    CheckResult,
    check_channel,
    open_channel,
    send_split,
)
from realm_telemetry.errors import ConfigError, ExportError, LogError, NotYetError
from realm_telemetry.event import Event
from realm_telemetry.folds.metrics import read_definition
from realm_telemetry.folds.metrics.definition import OPTIONS
from realm_telemetry.otel import EventExporter
from realm_telemetry.plugins import ExporterContext

__all__ = ["OtlpMetricsExporter"]

DEFAULT_INTERVAL_S: Final = 5.0
INTERVAL_VARIABLE: Final = "OTEL_METRIC_EXPORT_INTERVAL"

_logger = logging.getLogger(__name__)


class OtlpMetricsExporter(EventExporter):
    """Folds events into metrics and sends these, at most once in `interval_s`.

    In a shipper, being handed events means that there are some in the log: it reads them there,
    each once, with a cursor of its own, which is saved with the counts. In a plain OpenTelemetry
    SDK it counts what it is handed, from 0.
    """

    name = "otlp_metrics"
    defaults: ClassVar[Mapping[str, Any]] = {
        **TRANSPORT_DEFAULTS,
        **OPTIONS,
        "interval_s": 0.0,
        "repeat_s": 60.0,
        "service_name": "realm_telemetry",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connects to nothing yet. Raises ConfigError."""
        super().__init__(*args, **kwargs)
        definition = read_definition(self.options)
        self.interval_s = self._interval_s()
        self.repeat_s = _positive("repeat_s", self.options["repeat_s"])
        self._channel = open_channel("metrics", self.options, self.context)
        self._counting: Counting = (
            FromLog(self.context, definition)
            if self.context.inside_shipper
            else FromEvents(definition)
        )
        self._pushed_s = -math.inf
        self._is_reported = False
        self._repeating: threading.Thread | None = None

    @classmethod
    def check(cls, context: ExporterContext) -> Iterator[CheckResult]:
        """The checks of `realm doctor` on settings and receiver: level, message, fix."""
        return check_channel(cls(context=context)._channel, ExportMetricsServiceRequest())

    def open(self) -> None:
        """Go on from what was saved, and begin to repeat while nothing happens."""
        try:
            self._counting.open()
        except LogError as error:
            raise ExportError(str(error), retryable=True) from error
        self._repeating = threading.Thread(
            target=self._repeat, name="realm-telemetry-metrics", daemon=True
        )
        self._repeating.start()

    def deliver(self, events: Sequence[Event]) -> None:
        """Count what is in the log and send it; nothing if these events are counted and sent.

        Raises NotYetError within the interval, ExportError.
        """
        try:
            if self._counting.has_sent(events):
                return
            rest_s = self._pushed_s + self.interval_s - time.monotonic()
            if rest_s > 0 and self.context.inside_shipper:
                raise NotYetError(rest_s)
            self._counting.take(events)
            self._push()
            self._counting.sent()
        except LogError as error:
            raise ExportError(f"metrics cannot be counted: {error}", retryable=True) from error

    def close(self) -> None:
        """Close connection and log."""
        self._counting.close()
        self._channel.close()

    def _push(self) -> None:
        """Send all counters and histograms, and the gauges that changed.

        What is refused for good is reported once: the next push repeats it. Raises ExportError.
        """
        metrics = metrics_of(self._counting.metrics, time.time_ns())
        resource = {"service.name": self.options["service_name"], **self._counting.resource}
        try:
            sent = send_split(
                self._channel,
                metrics,
                lambda part: metrics_request(resource, part),
                self.options["max_request_bytes"],
            )
        except ExportError as error:
            if error.retryable:
                raise
            self._report(str(error))
        else:
            for metric, reason in sent.too_large:
                self._report(f"{metric.name} is too large: {reason}")
            if sent.answer.rejected or sent.answer.message:
                self._report(f"{sent.answer.rejected} points refused: {sent.answer.message}")
        self._pushed_s = time.monotonic()

    def _report(self, problem: str) -> None:
        if not self._is_reported:
            _logger.warning("%s at %s: %s", self.name, self._channel.target.shown, problem)
        self._is_reported = True

    def _repeat(self) -> None:
        """Say the counts again while nothing happens: receivers forget a series that is silent."""
        while not self.stopping.wait(self.repeat_s):
            with self._lock, suppress(ExportError):
                idle = time.monotonic() - self._pushed_s >= self.repeat_s
                # What is not acknowledged yet is the next delivery's.
                if idle and not self.stopping.is_set() and self._counting.all_sent:
                    self._push()

    def _interval_s(self) -> float:
        given = self.options["interval_s"]
        if given:
            return _positive("interval_s", given)
        environment = self.context.environment
        text = (os.environ if environment is None else environment).get(INTERVAL_VARIABLE, "")
        try:
            interval_s = float(text.strip() or DEFAULT_INTERVAL_S * 1000) / 1000
        except ValueError:
            interval_s = math.nan
        return _positive(f"interval_s ({INTERVAL_VARIABLE})", interval_s)


def _positive(option: str, seconds: float) -> float:
    if 0 < seconds <= threading.TIMEOUT_MAX:
        return seconds
    raise ConfigError(f"options.otlp_metrics.{option}", f"{seconds} is no time", "Write seconds.")
