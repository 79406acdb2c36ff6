"""The log as a shipper writes it: opened at the first write, reopened after a pause on failure."""

from collections.abc import Callable
from typing import Final, TypeVar

from realm_telemetry.delivery.report import Reporter
from realm_telemetry.delivery.retry import Backoff
from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import Log, Writer
from realm_telemetry.log.errors import (
    LogRefusedError,
    LogReplacedError,
    LogUnavailableError,
)
from realm_telemetry.values.clock import monotonic

Result = TypeVar("Result")

LOG_KEY: Final = "log"
LOOK_S: Final = 1.0


class GuardedLog:
    """Writes to the log through one connection; used by one thread only.

    `write` raises LogUnavailableError while the log cannot be used. That is reported once, and a
    later write tries again after a pause.
    """

    def __init__(
        self,
        log: Log,
        report: Reporter,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.log = log
        self._report = report
        self._clock = clock
        self._writer: Writer | None = None
        self._backoff = Backoff()
        self._retry_at_s = 0.0
        self._identity: tuple[str, object] | None = None
        self._replaced = False
        self._look_at_s = 0.0

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._backoff.failures > 0

    def ready(self) -> bool:
        """Whether it is worth trying: False while waiting after a failure."""
        return self._clock() >= self._retry_at_s

    def write(self, action: Callable[[Writer], Result]) -> Result:
        """Call an action with the writer; returns its result.

        Raises LogUnavailableError, LogRefusedError.
        """
        if not self.ready():
            raise LogUnavailableError(
                f"the log {self.log.place} is not tried before its pause is over"
            )
        try:
            if self._writer is None:
                self._writer = self._opened()
            result = action(self._writer)
        except LogRefusedError:
            raise
        except (LogError, OSError) as error:
            self._replaced |= isinstance(error, LogReplacedError)
            self._failed(error)
            raise LogUnavailableError(str(error)) from error
        if self._backoff.failures:
            self._backoff.succeeded()
            self._report.solved(LOG_KEY, f"the log {self.log.place} is written again")
        return result

    def _opened(self) -> Writer:
        """Open the log; another one than before is not written, because its cursors differ.

        Raises LogUnavailableError for that one.
        """
        writer = self.log.writer()
        # A new file often gets the inode of the one that was deleted, a restored one has its id.
        identity = writer.log_id, self.log.identity()
        if self._identity not in (None, identity):
            self._replaced = True
            writer.close()
            raise LogUnavailableError(
                f"the log {self.log.place} is not the one that was opened first"
            )
        self._identity = identity
        return writer

    def replaced(self) -> bool:
        """Whether the log is not the one that was first opened; then nothing more is written.

        Looked at once a second: SQLite would go on writing to a file without a name.
        """
        now_s = self._clock()
        if self._replaced or self._identity is None or now_s < self._look_at_s:
            return self._replaced
        self._look_at_s = now_s + LOOK_S
        self._replaced = self.log.identity() != self._identity[1]
        return self._replaced

    def close(self) -> None:
        """Close the connection; the next `write` opens another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except LogError:  # the file is broken, which has been reported
                return

    def _failed(self, error: Exception) -> None:
        # Closed: the file may be repaired by putting another in its place.
        self.close()
        self._retry_at_s = self._clock() + self._backoff.failed()
        self._report.problem(LOG_KEY, explain(self.log, error))


def explain(log: Log, error: Exception) -> str:
    """Return why the log cannot be used and what to do."""
    if isinstance(error, LogError):
        return str(error)
    return (
        f"the log {log.place} cannot be used ({error}). Run `realm doctor`; events wait in spools."
    )
