"""Hands records to an exporter: again later when it fails, and aside what it never takes."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import attach, detach, set_value

from realm_telemetry.delivery.backoff import Backoff
from realm_telemetry.delivery.bisection import bisect
from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.otel.durable.drain import Drain, Row
from realm_telemetry.otel.sdk import (
    SUPPRESS_INSTRUMENTATION,
    LogRecordExporter,
    LogRecordExportResult,
)

FIRST_RETRY_S: Final = 0.5
BISECT_AFTER: Final = 5
"""Failures in a row after which the records of a batch are tried apart."""


class Courier:
    """One exporter and how it has been doing.

    resume_at_s: when it may be tried again, monotonic.
    rejected: records it never took; they are in the quarantine.
    """

    def __init__(
        self,
        exporter: LogRecordExporter,
        quarantine: Quarantine,
        report: Reporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exporter = exporter
        self._quarantine = quarantine
        self._report = report
        self._clock = clock
        self._backoff = Backoff(first_s=FIRST_RETRY_S)
        self.resume_at_s = 0.0
        self.rejected = 0

    def deliver(self, drain: Drain) -> bool:
        """Export the rows of a drain; False if some of them have to wait."""
        reason = self._send(drain.rows)
        if reason is not None and self._backoff.failures + 1 >= BISECT_AFTER:
            reason = self._deliver_apart(drain, reason)
        if reason is not None:
            self._report.problem(
                "exporter", f"the exporter fails ({reason}). Records wait in the spool."
            )
            self.resume_at_s = self._clock() + self._backoff.failed()
            return False
        drain.rows.clear()
        drain.settle()
        self._report.solved("exporter", "the exporter takes records again")
        self._backoff.succeeded()
        return True

    def _deliver_apart(self, drain: Drain, reason: str) -> str | None:
        """Find the records that keep the others back; the reason if any are left to deliver."""
        verdict = bisect(drain.rows, self._send)
        for row, why in verdict.condemned:
            self.rejected += 1
            self._quarantine.refused(drain.directory.name, row.number, row.payload, Exception(why))
        drain.rows = sorted(verdict.remaining, key=lambda row: row.number)
        drain.settle()
        return reason if drain.rows else None

    def _send(self, rows: Sequence[Row]) -> str | None:
        """Export once; why not, if it failed."""
        # Instrumentation leaves the exporter's own requests alone.
        token = attach(set_value(SUPPRESS_INSTRUMENTATION, True))
        try:
            result = self._exporter.export([row.record for row in rows])
        except Exception as error:  # noqa: BLE001 - an exporter's own code may raise anything
            return f"{type(error).__name__}: {error}"
        finally:
            detach(token)
        # Exporters in the wild return None where they have nothing to say.
        return "it says FAILURE" if result is LogRecordExportResult.FAILURE else None
