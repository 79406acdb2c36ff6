"""The thread of a durable processor: spool to exporter, for this process and for dead ones."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import attach, detach, set_value

from realm_telemetry.delivery.follower import Follower
from realm_telemetry.delivery.outlet import BareFailureError
from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.delivery.retry import FIRST_BUDGET, Backoff, Condemned, Policy
from realm_telemetry.otel.durable.spool import (
    ADOPT_EVERY_S,
    Drain,
    RecordWriter,
    Row,
    adopt,
)
from realm_telemetry.otel.sdk import (
    SUPPRESS_INSTRUMENTATION,
    LogRecordExporter,
    LogRecordExportResult,
)
from realm_telemetry.values.clock import monotonic

FIRST_RETRY_S: Final = 0.5
POLL_S: Final = 0.05
REPORT_DROPS_EVERY_S: Final = 10.0
URGE_EVERY_S: Final = 0.25
THREAD_NAME: Final = "realm-telemetry-durable"


class SdkOutlet:
    """An exporter of the SDK, which only says whether it failed."""

    def __init__(self, exporter: LogRecordExporter) -> None:
        self._exporter = exporter

    def deliver(self, rows: Sequence[Row]) -> None:
        """Export once. Raises BareFailureError."""
        # Instrumentation leaves the exporter's own requests alone.
        token = attach(set_value(SUPPRESS_INSTRUMENTATION, True))
        try:
            result = self._exporter.export([row.record for row in rows])
        except Exception as error:  # an exporter's own code may raise anything
            raise BareFailureError(f"{type(error).__name__}: {error}") from error
        finally:
            detach(token)
        # Exporters in the wild return None where they have nothing to say.
        if result is LogRecordExportResult.FAILURE:
            raise BareFailureError("it returned FAILURE")

    def id_of(self, row: Row) -> str:
        """Return no id: the exporter never names a record."""
        return ""

    def close(self) -> None:
        """Do nothing: the processor shuts the exporter down."""


class SpoolKeeper:
    """Keeps what the exporter rejects of one spool, and reports how it is doing."""

    def __init__(self, drain: Drain, report: Reporter) -> None:
        self._drain = drain
        self._report = report

    def keep_dead(self, condemned: Sequence[Condemned[Row]]) -> None:
        """Put records into the quarantine, which reports them."""
        for row, reason in condemned:
            self._drain.reject(row, reason)

    def count_refused(self, count: int, reason: str) -> None:
        """Report a count of rejected records; an SDK exporter never gives one."""
        self._report.incident(f"the exporter rejected {count} records: {reason}")

    def failing(self, error: Exception) -> None:
        """Report a failure, once as long as it stays the same."""
        self._report.problem(
            "exporter", f"the exporter fails ({error}). Records wait in the spool."
        )

    def recovered(self) -> None:
        """Report that the failure is over, if there was one."""
        self._report.solved("exporter", "the exporter takes records again")


class Worker:
    """Exports what the writer keeps: a batch as soon as it is full, or after the delay.

    writer: this process's spool, which the worker only looks at, so that `on_emit` needs no
        system call to wake it.
    delay_s, batch: as `schedule_delay_millis` and `max_export_batch_size` of the SDK.
    """

    def __init__(
        self,
        writer: RecordWriter,
        exporter: LogRecordExporter,
        quarantine: Quarantine,
        report: Reporter,
        *,
        delay_s: float,
        batch: int,
    ) -> None:
        self._writer = writer
        self._outlet = SdkOutlet(exporter)
        self._quarantine = quarantine
        self._report = report
        self._delay_s = delay_s
        self._batch = batch
        # An SDK's exporter may wait for its whole timeout: a bisection stays short, without pauses.
        self._policy = Policy(
            backoff=Backoff(first_s=FIRST_RETRY_S),
            batch=batch,
            max_budget=FIRST_BUDGET,
            pace_s=0.0,
        )
        self._resume_at_s = 0.0
        self._own = Drain(writer.directory, quarantine)
        self._followers = {self._own: self._follow(self._own)}
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
        """All of this process's records up to this number have been exported or rejected."""
        return self._own.exported_number

    def flush(self, timeout_s: float) -> bool:
        """Export all that has been kept so far; False if that takes longer."""
        if threading.current_thread() is self.thread:  # the exporter itself asks
            return False
        target = self._writer.last_number
        self._flush_to = max(self._flush_to, target)
        deadline, urge_at = monotonic() + timeout_s, 0.0
        while self.exported_number < target:
            now = monotonic()
            if now >= deadline or not self.thread.is_alive():
                return False
            if now >= urge_at:  # while a caller waits, an exporter that failed is tried more often
                urge_at = now + URGE_EVERY_S
                self._resume_at_s = 0.0
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
        for drain in self._adopted():
            drain.close()
        # Another thread may have been within `on_emit` when the end began.
        if exported and self.exported_number >= self._writer.last_number:
            self._own.remove()
        else:
            self._own.close()

    def _follow(self, drain: Drain) -> Follower[Row]:
        keeper = SpoolKeeper(drain, self._report)
        number = drain.exported_number
        return Follower(drain, self._outlet, self._policy, keeper, cursor=number)

    def _adopted(self) -> list[Drain]:
        return [drain for drain in self._followers if drain is not self._own]

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
        dropped, now = self._writer.control.dropped, monotonic()
        if dropped > self._reported_drops and now >= self._report_drops_at_s:
            self._report_drops_at_s = now + REPORT_DROPS_EVERY_S
            fresh, self._reported_drops = dropped - self._reported_drops, dropped
            self._report.incident(
                f"{fresh} log records were dropped (in all {dropped}): the spool is full, or they"
                " are larger than 1 MiB"
            )

    def _adopt(self) -> None:
        now = monotonic()
        if now >= self._adopt_at_s:
            self._adopt_at_s = now + ADOPT_EVERY_S
            for drain in adopt(self._writer.directory.parent, self._quarantine):
                self._followers[drain] = self._follow(drain)

    def _ship(self) -> None:
        self._ship_own()
        for drain in self._adopted():
            while self._free() and self._ship_batch(drain):
                self._ship_own()  # a dead process's backlog must not delay it
            if drain.empty:
                del self._followers[drain]
                drain.remove()

    def _ship_own(self) -> None:
        while self._due() and self._ship_batch(self._own):
            pass

    def _free(self) -> bool:
        """Whether the exporter may be tried now."""
        return not self._stopping and monotonic() >= self._resume_at_s

    def _due(self) -> bool:
        """Whether a batch is full, or old enough."""
        waiting = self._writer.last_number - self.exported_number
        if waiting <= 0:
            self._waiting_since_s = None
            return False
        now = monotonic()
        if self._waiting_since_s is None:
            self._waiting_since_s = now
        flushing = self.exported_number < self._flush_to
        old = now - self._waiting_since_s >= self._delay_s
        return self._free() and (flushing or old or waiting >= self._batch)

    def _ship_batch(self, drain: Drain) -> bool:
        """Export the next batch; False if there is none or it failed."""
        wait_s = self._followers[drain].step()
        if drain is self._own and wait_s is not None:
            self._waiting_since_s = None
        if wait_s:
            self._resume_at_s = monotonic() + wait_s
        return wait_s == 0.0

    def _ship_the_rest(self) -> None:
        while self.exported_number < self._writer.last_number and self._ship_batch(self._own):
            pass
