"""One exporter's delivery: a follower of the log, in a thread of its own.

An exporter that hangs holds its own thread, and nothing else.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from realm_telemetry.delivery.follower import Follower, Source
from realm_telemetry.delivery.outlet import Outlet
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.delivery.retry import Condemned, Policy
from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.log.records import Refusal
from realm_telemetry.log.rows import LogRow

LOOK_AGAIN_S: Final = 30.0
"""When to look though nobody has notified: other pipelines' rows are to be passed some time."""

RELOAD_S: Final = 60.0

Opened = tuple[Outlet[LogRow], Source[LogRow]]


class Delivery:
    """Runs a follower, and keeps what it leaves for the thread that writes the log.

    moved: called in the thread when the cursor has moved, or a dead letter waits to be kept.
    open: makes the outlet and its source, in the thread.
    dead, refused: appended before the cursor passes; emptied by the owner's thread.
    failing_since_s: when the trouble began, on `clock`; None while all is well.
    broken: the exporter cannot even be made.
    """

    def __init__(
        self,
        name: str,
        open: Callable[[], Opened],
        cursor: int,
        report: Reporter,
        *,
        clock: Callable[[], float],
        moved: Callable[[], None] = lambda: None,
        policy: Policy | None = None,
    ) -> None:
        self.name = name
        self.dead: deque[Condemned[LogRow]] = deque()
        self.refused: deque[Refusal] = deque()
        self.failing_since_s: float | None = None
        self.broken = False
        self._open = open
        self._first_cursor = cursor
        self._report = report
        self._clock = clock
        self._moved = moved
        self._policy = policy or Policy()
        self._follower: Follower[LogRow] | None = None
        self._reported_refusal = False
        self._back_to: int | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"realm-telemetry-{name}", daemon=True
        )

    @property
    def cursor(self) -> int:
        """Everything up to it is acknowledged or in `dead`."""
        follower = self._follower
        return self._first_cursor if follower is None else follower.cursor

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def notify(self) -> None:
        """Wake the thread: the log has grown."""
        self._wake.set()

    def go_back(self, cursor: int) -> None:
        """Deliver again what comes after a cursor, once the batch in hand is done."""
        self._back_to = cursor
        self._wake.set()

    @property
    def going_back(self) -> bool:
        """Whether the cursor is still the one from before."""
        return self._back_to is not None

    def request_stop(self) -> None:
        """Ask for the end after the batch in hand."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if the exporter still holds its thread."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def keep_dead(self, condemned: Sequence[Condemned[LogRow]]) -> None:
        """Queue dead letters for the log."""
        self.dead.extend(condemned)
        row, reason = condemned[0]
        self._report.incident(
            f"exporter {self.name} will never take {len(condemned)} events, the first is"
            f" {row.event.id} ({row.event.kind}): {reason}. They are kept in the log and"
            " listed among its dead letters."
        )

    def count_refused(self, count: int, reason: str) -> None:
        """Queue a count of events that the receiver rejected without naming them."""
        self.refused.append(Refusal(self.name, count, reason))
        if not self._reported_refusal:
            self._reported_refusal = True
            self._report.incident(
                f"exporter {self.name} will never take {count} events; the receiver does not name"
                f" them: {reason.rstrip('.')}. The log has them; `realm ship --status` shows the"
                " count."
            )

    def failing(self, error: Exception) -> None:
        """Report a failure, once as long as it stays the same."""
        if self.failing_since_s is None:
            self.failing_since_s = self._clock()
        text = str(error) if isinstance(error, ConfigError | ExportError) else repr(error)
        self._report.problem(
            self.name,
            f"exporter {self.name}: {text.rstrip('.')}. Its events wait in the log.",
        )

    def recovered(self) -> None:
        """Report that the failure is over, if there was one."""
        if self.failing_since_s is not None:
            self.failing_since_s = None
            self._report.solved(self.name, f"exporter {self.name} delivers again")

    def _run(self) -> None:
        opened = self._opened()
        if opened is None:
            return
        outlet, source = opened
        follower = self._follower = Follower(
            source, outlet, self._policy, self, cursor=self._first_cursor, stop=self._stop
        )
        try:
            while not self._stop.is_set():
                self._turn(follower)
        finally:
            try:
                outlet.close()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                self._report.info(f"exporter {self.name} did not end well: {error!r}")
            source.close()

    def _opened(self) -> Opened | None:
        while not self._stop.is_set():
            try:
                opened = self._open()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                self.broken = isinstance(error, ConfigError)
                wait_s = RELOAD_S if self.broken else self._policy.backoff.failed()
                self.failing(error)
                self._stop.wait(wait_s)
                continue
            self.broken = False
            return opened
        return None

    def _turn(self, follower: Follower[LogRow]) -> None:
        """Deliver the next batch, or wait until there is one."""
        back = self._back_to
        if back is not None:
            # The cursor first: while it is going back it is not saved.
            follower.go_back(back)
            self._back_to = None
        before = follower.cursor
        wait_s = follower.step()
        if back is not None or follower.cursor != before or self.dead or self.refused:
            self._moved()
        if wait_s is None:
            self._wake.wait(LOOK_AGAIN_S)
            self._wake.clear()
        elif wait_s > 0:
            self._stop.wait(wait_s)
