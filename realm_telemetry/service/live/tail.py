"""Follows the log: asks every few milliseconds whether there was a commit; that costs 3 us.

The tail lives on the event loop, where its batches need no hand-over between threads, and reads
few rows at a time, so that no stream waits long for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import Reader, Watch
from realm_telemetry.log.errors import LogReplacedError
from realm_telemetry.log.rows import LogRow

BATCH_ROWS: Final = 200
_PAUSE_AFTER_ERROR_S: Final = 1.0

_logger = logging.getLogger(__name__)


class Tail:
    """Hands every new row of the log to its takers, in the order of the log.

    replaced: called when the log is not the one that was opened; nothing more comes then.
    error: what went wrong at the last poll, None while all is well.
    """

    def __init__(
        self,
        reader: Reader,
        watch: Watch,
        cursor: int,
        takers: Sequence[Callable[[Sequence[LogRow]], None]],
        poll_s: float,
        replaced: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._watch = watch
        self._takers = takers
        self._poll_s = poll_s
        self._replaced = replaced
        self._timer: asyncio.Handle | None = None
        self.cursor = cursor
        self.rows = 0
        self.lag_s = 0.0
        self.error: str | None = None

    def start(self) -> None:
        """Begin to poll."""
        self._again(0.0)

    def stop(self) -> None:
        """Stop polling."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watch.close()

    def poke(self) -> None:
        """Look now instead of at the next poll."""
        if self._timer is not None:
            self._timer.cancel()
            self._poll()

    def _again(self, delay_s: float) -> None:
        self._timer = self._loop.call_later(delay_s, self._poll)

    def _poll(self) -> None:
        delay_s = _PAUSE_AFTER_ERROR_S
        try:
            delay_s = self._look()
            self.error = None
        except LogError as error:
            self._report(error)
            if isinstance(error, LogReplacedError):
                self._replaced()
        finally:
            # Any error: a tail that stops would show nothing for ever.
            self._again(delay_s)

    def _look(self) -> float:
        """Take new rows; seconds until the next look."""
        if self._watch.changed() and self._read():
            return 0.0
        self._watch.caught_up()
        return self._poll_s

    def _read(self) -> bool:
        """Take one batch; whether there may be more."""
        rows = self._reader.now.after(self.cursor, BATCH_ROWS)
        if rows:
            self.cursor = rows[-1].cursor
            self.rows += len(rows)
            self._measure(rows[-1])
            for take in self._takers:
                take(rows)
        elif self._reader.now.max_cursor() < self.cursor:
            raise LogReplacedError("the content of the log was replaced by an older one")
        return len(rows) == BATCH_ROWS

    def _measure(self, newest: LogRow) -> None:
        arrival = newest.event.observed_unix_nano
        if arrival is not None:
            self.lag_s = max(0.0, (time.time_ns() - arrival) / 1e9)

    def _report(self, error: Exception) -> None:
        if self.error is None:
            _logger.warning("The log cannot be followed: %s", error)
        self.error = str(error)
