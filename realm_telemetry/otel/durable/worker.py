"""The thread of a durable processor: spool to exporter, for this process and for dead ones."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import attach, detach, set_value

from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.delivery.retry import Backoff, bisect
from realm_telemetry.otel.durable.spool import ADOPT_EVERY_S, Drain, RecordWriter, Row, adopt
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


POLL_S: Final = 0.05
REPORT_DROPS_EVERY_S: Final = 10.0
URGE_EVERY_S: Final = 0.25
THREAD_NAME: Final = "realm-telemetry-durable"


class Worker:
    """Exports what the writer keeps: a batch as soon as it is full, or after the delay.

    writer: this process's spool, which the worker only looks at, so that `on_emit` needs no
        system call to wake it.
    delay_s, batch: as `schedule_delay_millis` and `max_export_batch_size` of the SDK.
    """

    def __init__(
        self,
        writer: RecordWriter,
        courier: Courier,
        quarantine: Quarantine,
        report: Reporter,
        *,
        delay_s: float,
        batch: int,
    ) -> None:
        self._writer = writer
        self._courier = courier
        self._quarantine = quarantine
        self._report = report
        self._delay_s = delay_s
        self._batch = batch
        self._own = Drain(writer.directory, quarantine)
        self._adopted: list[Drain] = []
        self._adopt_at_s = 0.0
        self._waiting_since_s: float | None = None
        self._reported_drops = 0
        self._report_drops_at_s = 0.0
        self._stopping = False
        self._flush_to = 0
        self._wake = threading.Event()
        self.thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    @property
    def exported_number(self) -> int:
        """All of this process's records up to this number have been exported or set aside."""
        return self._own.exported_number

    def flush(self, timeout_s: float) -> bool:
        """Export all that has been kept so far; False if that takes longer."""
        if threading.current_thread() is self.thread:  # the exporter itself asks
            return False
        target = self._writer.last_number
        self._flush_to = max(self._flush_to, target)
        deadline, urge_at = time.monotonic() + timeout_s, 0.0
        while self.exported_number < target:
            now = time.monotonic()
            if now >= deadline or not self.thread.is_alive():
                return False
            if now >= urge_at:  # while somebody waits, an exporter that failed is tried more often
                urge_at = now + URGE_EVERY_S
                self._courier.resume_at_s = 0.0
                self._wake.set()
            time.sleep(0.001)
        return True

    def stop(self, timeout_s: float) -> bool:
        """Export what is left and end; whether all is exported.

        The first failure ends it: what is left stays in the spool for the next process.
        """
        self._stopping = True
        self._wake.set()
        self.thread.join(timeout_s)
        ended = not self.thread.is_alive()
        return ended and self.exported_number >= self._writer.last_number

    def close(self, *, exported: bool) -> None:
        """Unmap the spools; this process's is deleted if all of it has been exported."""
        if self.thread.is_alive():  # in an exporter that hangs: everything is still in use
            return
        for drain in self._adopted:
            drain.close()
        # Another thread may have been within `on_emit` when the end began.
        if exported and self.exported_number >= self._writer.last_number:
            self._own.remove()
        else:
            self._own.close()

    def _run(self) -> None:
        while not self._stopping:
            for chore in (self._look_after_spool, self._adopt, self._ship):
                self._guarded(chore)
            self._wake.wait(POLL_S)
            self._wake.clear()
        self._guarded(self._ship_the_rest)

    def _guarded(self, chore: Callable[[], object]) -> None:
        try:
            chore()
        except Exception as error:  # noqa: BLE001 - the program must not notice
            self._report.incident(f"the worker met {error!r} and goes on")

    def _look_after_spool(self) -> None:
        self._writer.prepare_spare()
        self._writer.reconsider()
        dropped, now = self._writer.control.dropped, time.monotonic()
        if dropped > self._reported_drops and now >= self._report_drops_at_s:
            self._report_drops_at_s = now + REPORT_DROPS_EVERY_S
            fresh, self._reported_drops = dropped - self._reported_drops, dropped
            self._report.incident(
                f"{fresh} log records were dropped (in all {dropped}): the spool is full, or they"
                " are larger than 1 MiB"
            )

    def _adopt(self) -> None:
        now = time.monotonic()
        if now >= self._adopt_at_s:
            self._adopt_at_s = now + ADOPT_EVERY_S
            self._adopted += adopt(self._writer.directory.parent, self._quarantine)

    def _ship(self) -> None:
        self._ship_own()
        for drain in list(self._adopted):
            while self._free() and self._ship_batch(drain):
                self._ship_own()  # a day's backlog of a dead process must not hold it up
            if drain.empty:
                self._adopted.remove(drain)
                drain.remove()

    def _ship_own(self) -> None:
        while self._due() and self._ship_batch(self._own):
            pass

    def _free(self) -> bool:
        """Whether the exporter may be tried now."""
        return not self._stopping and time.monotonic() >= self._courier.resume_at_s

    def _due(self) -> bool:
        """Whether a batch is full, or old enough."""
        waiting = self._writer.last_number - self.exported_number
        if waiting <= 0:
            self._waiting_since_s = None
            return False
        now = time.monotonic()
        if self._waiting_since_s is None:
            self._waiting_since_s = now
        flushing = self.exported_number < self._flush_to
        old = now - self._waiting_since_s >= self._delay_s
        return self._free() and (flushing or old or waiting >= self._batch)

    def _ship_batch(self, drain: Drain) -> bool:
        """Export the next batch; False if there is none or it failed."""
        drain.fill(self._batch)
        if not drain.rows:
            return False
        if drain is self._own:
            self._waiting_since_s = None
        return self._courier.deliver(drain)

    def _ship_the_rest(self) -> None:
        while self.exported_number < self._writer.last_number and self._ship_batch(self._own):
            pass
