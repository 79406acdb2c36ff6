"""Sends lifecycles as spans to any OTLP receiver: Jaeger, Tempo, a collector."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from realm_exporter_otlp.traces.fold import SpanFold
from realm_exporter_otlp.traces.history import History
from realm_exporter_otlp.traces.requests import Refused, Sender, encode_spans
from realm_exporter_otlp.traces.spans import Span
from realm_exporter_otlp.traces.state import Limits, State
from realm_exporter_otlp.transport import (
    TRANSPORT_DEFAULTS,
    CheckResult,
    check_channel,
    open_channel,
)
from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.event import Event
from realm_telemetry.otel import EventExporter
from realm_telemetry.plugins import Batch, ExporterContext

__all__ = ["OtlpTracesExporter"]

_DAY_S = 86_400.0
_NOWHERE = 2**63
"""Cursor of a fold that no event of the log follows on."""

_logger = logging.getLogger(__name__)


class OtlpTracesExporter(EventExporter):
    """Sends a span when its lifecycle ends; docs/traces.md has the rules.

    What is open is kept in memory, and folded again out of the log after a restart. In a plain
    OpenTelemetry SDK there is no log: what is open when it is shut down is sent as it is.
    """

    name = "otlp_traces"
    defaults: ClassVar[Mapping[str, Any]] = {**TRANSPORT_DEFAULTS, "silent_after_s": _DAY_S}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connects to nothing yet. Raises ConfigError."""
        super().__init__(*args, **kwargs)
        self._channel = open_channel("traces", self.options, self.context)
        self._resource = Batch[Event](()).resource
        self._sender = Sender(self._channel, self._encode, self.options["max_request_bytes"])
        self._limits = Limits(silent_after_ns=_silent_after_ns(self.options["silent_after_s"]))
        self._history: History | None = None
        self._fold = SpanFold(State(self._limits), cursor=_NOWHERE)
        self._warned = False

    @classmethod
    def check(cls, context: ExporterContext) -> Iterator[CheckResult]:
        """The checks of `realm doctor` on settings and receiver: level, message, fix."""
        return check_channel(cls(context=context)._channel, ExportTraceServiceRequest())

    def open(self) -> None:
        """Open the log, if there is one."""
        if self.context.inside_shipper:
            self._history = History(self.context)
            before = self._fold
            self._fold = SpanFold(before.state, self._history.run_at, before.cursor)

    def deliver(self, events: Batch[Event]) -> None:
        """Send the spans that end with these events."""
        self._resource = events.resource
        self._find_place(events[0])
        # On a copy: if it cannot be sent, the same events come again, to the state as it was.
        fold = self._fold.copy()
        refused = self._sender.send(fold.spans_of(events))
        cursor = self._history.cursor(events[-1]) if self._history else None
        fold.cursor = _NOWHERE if cursor is None else cursor
        self._fold = fold
        self._tell(refused)

    def close(self) -> None:
        """Close log and connection; where no log remembers what is open, send it first."""
        if self._history is not None:
            self._history.close()
        elif self._fold.state.open:
            self._send_open()
        self._channel.close()

    def _find_place(self, event: Event) -> None:
        """Fold what is before an event again, unless it follows on what came last.

        At the start, and after `realm replay` has set the exporter back.
        """
        if self._history is None:
            return
        cursor = self._history.cursor(event)
        if cursor is not None and cursor <= self._fold.cursor:
            self._fold = self._history.fold_before(cursor, self._limits)

    def _encode(self, spans: Sequence[Span]) -> ExportTraceServiceRequest:
        return encode_spans(spans, self._resource)

    def _send_open(self) -> None:
        spans = self._fold.copy().close_all()
        try:
            self._sender.send(spans)
        except ExportError as error:
            _logger.warning("%s lost %d open spans: %s", self.name, len(spans), error)

    def _tell(self, refused: Refused) -> None:
        """Raise ExportError for spans that will never be taken; all others are delivered."""
        shown = self._channel.target.shown
        if refused.spans:
            reason = f"{shown} refused {refused.spans} spans: {refused.words}"
            raise ExportError(reason, retryable=False, rejected_count=refused.spans)
        if refused.words and not self._warned:
            self._warned = True
            _logger.warning("%s warns: %s", shown, refused.words)


def _silent_after_ns(seconds: float) -> int:
    if not 1.0 <= seconds <= 366 * _DAY_S:
        raise ConfigError(
            "options.otlp_traces.silent_after_s",
            f"{seconds!r} is not between 1 second and a year",
            "The default is 86400, a day.",
        )
    return int(seconds * 1_000_000_000)
