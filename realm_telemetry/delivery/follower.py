"""Log to exporter: one thread that follows the log with its own cursor.

A failure is waited out; the same events are tried again. Only two things end in the dead
letters: what the other side names as rejected, and a record that keeps failing alone while
others go through (see `bisection`). What it rejects without naming it is counted. A hanging
exporter keeps its own thread, and nothing else.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from realm_telemetry.delivery.outlet import BareFailureError, Outlet
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.delivery.retry import FIRST_BUDGET, Backoff, OutageError, bisect
from realm_telemetry.errors import ConfigError, ExportError, NotYetError
from realm_telemetry.log.records import Refusal
from realm_telemetry.log.rows import LogRow

BATCH: Final = 512
FAILURES_BEFORE_BISECTION: Final = 5
LOOK_AGAIN_S: Final = 1.0
RELOAD_S: Final = 60.0
MAX_BUDGET: Final = 2 * BATCH
PACE_S: Final = 0.05
"""Between failures while looking for the record to blame: the other side may be in trouble."""


class DeadLetter(NamedTuple):
    """An event that an exporter will never take."""

    row: LogRow
    reason: str


class Source(Protocol):
    """What a delivery reads: the events of its pipeline."""

    def after(self, cursor: int, limit: int) -> tuple[Sequence[LogRow], int]:
        """Rows behind a cursor, in order, and the cursor up to which was looked."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...


class Delivery:
    """One exporter's way through the log.

    open: makes the outlet and its source, in the thread.
    cursor: everything up to it is acknowledged or in `dead`; read by the shipper's thread.
    dead, refused: appended before the cursor passes; emptied by the shipper's thread.
    failing_since_s: when the trouble began, on `clock`; None while all is well.
    broken: the exporter cannot even be made.
    """

    def __init__(
        self,
        name: str,
        open: Callable[[], tuple[Outlet, Source]],
        cursor: int,
        report: Reporter,
        *,
        clock: Callable[[], float],
        backoff: Backoff | None = None,
    ) -> None:
        self.name = name
        self.cursor = cursor
        self.dead: deque[DeadLetter] = deque()
        self.refused: deque[Refusal] = deque()
        self.failing_since_s: float | None = None
        self.broken = False
        self._open = open
        self._report = report
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._done: set[int] = set()
        self._told_refusal = False
        self._back_to: int | None = None
        self._budget = FIRST_BUDGET
        self._stop = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"realm-telemetry-{name}", daemon=True
        )

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def notify(self) -> None:
        """Say that the log has grown."""
        self._news.set()

    def go_back(self, cursor: int) -> None:
        """Deliver again what comes after a cursor, once the batch in hand is done."""
        self._back_to = cursor
        self._news.set()

    @property
    def going_back(self) -> bool:
        """Whether the cursor is still the one from before."""
        return self._back_to is not None

    def request_stop(self) -> None:
        """Ask for the end after the batch in hand."""
        self._stop.set()
        self._news.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if the exporter still holds its thread."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        opened = self._opened()
        if opened is None:
            return
        outlet, source = opened
        try:
            while not self._stop.is_set():
                self._follow(outlet, source)
        finally:
            try:
                outlet.close()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                self._report.info(f"exporter {self.name} did not end well: {error!r}")
            source.close()

    def _opened(self) -> tuple[Outlet, Source] | None:
        while not self._stop.is_set():
            try:
                opened = self._open()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                self.broken = isinstance(error, ConfigError)
                wait_s = RELOAD_S if self.broken else self._backoff.failed()
                self._trouble(error)
                self._stop.wait(wait_s)
                continue
            self.broken = False
            return opened
        return None

    def _follow(self, outlet: Outlet, source: Source) -> None:
        """Deliver the next batch, or wait for news."""
        back = self._back_to
        if back is not None:
            # The cursor first: while it is going back nobody saves it.
            self.cursor = min(back, self.cursor)
            self._done.clear()
            self._back_to = None
        try:
            rows, end = self._next(source)
        except Exception as error:  # noqa: BLE001 - the log may be broken in many ways
            self._trouble(error)
            self._stop.wait(self._backoff.failed())
            return
        if rows:
            self._deliver(outlet, rows)
            if not all(row.cursor in self._done for row in rows):
                return
        if end > self.cursor:
            self.cursor = end
            self._done.clear()
        else:
            self._news.wait(LOOK_AGAIN_S)
            self._news.clear()

    def _next(self, source: Source) -> tuple[list[LogRow], int]:
        """Rows still to be delivered, and the cursor up to which was looked."""
        rows, end = source.after(self.cursor, BATCH)
        return [row for row in rows if row.cursor not in self._done], end

    def _deliver(self, outlet: Outlet, rows: Sequence[LogRow]) -> None:
        """Deliver what can be delivered now; what is settled joins `_done`."""
        try:
            outlet.deliver([row.event for row in rows])
        except NotYetError as later:
            self._stop.wait(later.after_s)
        except ExportError as error:
            if error.rejected_ids or error.rejected_count:
                self._rejected(rows, error)
            elif isinstance(error, BareFailureError):
                self._failed(outlet, rows, error, FAILURES_BEFORE_BISECTION)
            elif error.retryable:
                self._wait(error)
            else:
                self._failed(outlet, rows, error, 1)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self._failed(outlet, rows, error, FAILURES_BEFORE_BISECTION)
        else:
            self._settled(rows)

    def _settled(self, rows: Sequence[LogRow]) -> None:
        self._done.update(row.cursor for row in rows)
        self._budget = FIRST_BUDGET
        self._backoff.succeeded()
        if self.failing_since_s is not None:
            self.failing_since_s = None
            self._report.solved(self.name, f"exporter {self.name} delivers again")

    def _rejected(self, rows: Sequence[LogRow], error: ExportError) -> None:
        if error.rejected_count:
            self._refuse(Refusal(self.name, error.rejected_count, str(error)))
        rejected = frozenset(error.rejected_ids)
        self._condemn([(row, str(error)) for row in rows if row.event.id in rejected])
        self._settled(rows)

    def _refuse(self, refusal: Refusal) -> None:
        self.refused.append(refusal)
        if not self._told_refusal:
            self._told_refusal = True
            self._report.incident(
                f"exporter {self.name} will never take {refusal.count} events, and was not told"
                f" which: {refusal.reason.rstrip('.')}. The log has them; `realm ship --status`"
                " counts on."
            )

    def _condemn(self, condemned: Sequence[tuple[LogRow, str]]) -> None:
        for row, reason in condemned:
            self.dead.append(DeadLetter(row, reason))
            self._done.add(row.cursor)
        if condemned:
            row, reason = condemned[0]
            self._report.incident(
                f"exporter {self.name} will never take {len(condemned)} events, the first is"
                f" {row.event.id} ({row.event.kind}): {reason}. They are kept in the log and"
                " listed among its dead letters."
            )

    def _failed(
        self, outlet: Outlet, rows: Sequence[LogRow], error: Exception, patience: int
    ) -> None:
        """Wait; after some failures in a row, look for the records that are to blame."""
        if self._backoff.failures + 1 < patience:
            self._wait(error)
            return
        try:
            verdict = bisect(rows, lambda part: self._attempt(outlet, part), self._budget)
        except OutageError as outage:
            self._wait(outage.error)
            return
        self._condemn(verdict.condemned)
        if verdict.remaining:
            self._budget = min(self._budget * 2, MAX_BUDGET)
            self._wait(error)

    def _attempt(self, outlet: Outlet, rows: Sequence[LogRow]) -> str | None:
        if self._stop.is_set():
            raise OutageError(ExportError("the shipper leaves", retryable=True))
        try:
            outlet.deliver([row.event for row in rows])
        except ExportError as error:
            if error.rejected_ids or error.rejected_count:
                self._rejected(rows, error)
                return None
            if error.retryable and not isinstance(error, BareFailureError):
                raise OutageError(error) from error
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            reason = repr(error)
        else:
            self._settled(rows)
            return None
        self._stop.wait(PACE_S)
        return reason

    def _wait(self, error: Exception) -> None:
        self._trouble(error)
        self._stop.wait(self._backoff.failed(getattr(error, "retry_after_s", None)))

    def _trouble(self, error: Exception) -> None:
        if self.failing_since_s is None:
            self.failing_since_s = self._clock()
        text = str(error) if isinstance(error, ConfigError | ExportError) else repr(error)
        self._report.problem(
            self.name,
            f"exporter {self.name}: {text.rstrip('.')}. Its events wait in the log.",
        )
