"""Keeps the history: events in the table `battle_log` of REALM_HOME/vault/jobs.db."""

from collections.abc import Sequence

from realm_telemetry.errors import ExportError, LogError
from realm_telemetry.event import Event
from realm_telemetry.log.engine import Writer, open_log
from realm_telemetry.otel import EventExporter

__all__ = ["BattleLogExporter"]


class BattleLogExporter(EventExporter):
    """In a shipper only a mark that history is kept; in a plain OpenTelemetry SDK the writer.

    A shipper has written the log before any exporter sees an event, so there is nothing to do.
    """

    name = "battle_log"
    _writer: Writer | None = None

    def open(self) -> None:
        """Open the log, unless a shipper has written it."""
        if not self.context.inside_shipper:
            try:
                log = open_log(self.context.log_path, redact=self.context.redact)
                self._writer = log.writer()
            except LogError as error:
                raise ExportError(str(error), retryable=True) from error

    def deliver(self, events: Sequence[Event]) -> None:
        """Append the events; those that the log has already are left out."""
        if self._writer is None:
            return
        try:
            self._writer.append(events)
        except LogError as error:
            raise ExportError(str(error), retryable=True) from error

    def close(self) -> None:
        """Close the log."""
        if self._writer is not None:
            self._writer.close()
