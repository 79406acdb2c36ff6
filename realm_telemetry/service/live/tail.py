"""Follows the log: asks every few milliseconds whether there was a commit; that costs 3 us.

After a while without one it sleeps until the log is written to. Then it stays awake until the
commit can be seen: SQLite writes it, waits for the disk and only then lets others see it. It looks
every second all the same, because a wake-up may be lost.

The tail lives on the event loop, where its batches need no hand-over between threads, and reads
few rows at a time, so that no stream waits long for it. A log whose engine may let a reader wait,
because it is on a server, is read in a thread.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from realm_telemetry.delivery.sources import RecentOfLog, without_webhooks
from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import Reader, Watch
from realm_telemetry.log.errors import LogFailedOverError, LogReplacedError
from realm_telemetry.log.kind_watch import KindWatch
from realm_telemetry.log.rows import LogRow

BATCH_ROWS: Final = 200
AFTER_WRITE_S: Final = 1.0
AFTER_COMMIT_S: Final = 0.1
"""How long to stay awake: after a write, whose commit cannot be seen yet, and after new rows."""

SLOW_POLL_S: Final = 0.05
_PAUSE_AFTER_ERROR_S: Final = 1.0

_logger = logging.getLogger(__name__)

_Read = Callable[[], Sequence[LogRow]]
_Take = Callable[[Sequence[LogRow]], float]


def next_second(now_s: float) -> float:
    """Seconds to a time at which all wake who look every second, so that they wake together."""
    return max(1.0 - now_s % 1.0, 0.001)


class Tail:
    """Hands every new row of the log to its takers, in the order of the log.

    recent: what this process has stored lately: it is not read back from the log.
    noticed: called when the log was written to, once this tail has read it.
    promoted: called, perhaps in a thread, when a standby has taken over that has all rows.
    kinds: learns kinds of the rows before they are handed on.
    replaced: called when the log is not the one that was opened; nothing more comes then.
    error: what went wrong at the last poll, None while all is well.
    """

    def __init__(
        self,
        reader: Reader,
        recent: RecentOfLog,
        watch: Watch,
        cursor: int,
        takers: Sequence[Callable[[Sequence[LogRow]], None]],
        poll_s: float,
        replaced: Callable[[], None] = lambda: None,
        noticed: Callable[[], None] = lambda: None,
        promoted: Callable[[], None] = lambda: None,
        kinds: KindWatch | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._recent = recent
        self._watch = watch
        self._takers = takers
        self._poll_s = poll_s
        self._replaced = replaced
        self._noticed = noticed
        self._promoted = promoted
        self._kinds = kinds
        self._awake_until_s = self._written_at_s = 0.0
        self._bell: int | None = None
        self._sleeping = False
        self._timer: asyncio.Handle | None = None
        self._stopped = False
        self._reading: asyncio.Task[None] | None = None
        # Of its own: others may all wait for the server.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="realm-telemetry-tail")
        self._epoch: object = None
        self._last: LogRow | None = None
        self._anchor: LogRow | None = None
        self.cursor = recent.seen = cursor
        self.rows = 0
        self.lag_s = 0.0
        self.error: str | None = None

    def start(self) -> None:
        """Begin to poll."""
        self._bell = self._watch.descriptor()
        self._again(0.0)

    def stop(self) -> None:
        """Stop polling."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reading is not None:
            self._reading.cancel()
        self._wake()

    def close(self) -> None:
        """Close the watch; it may wait a second for its server."""
        self._watch.close()
        self._thread.shutdown(wait=False)

    def poke(self) -> None:
        """Look now instead of at the next poll."""
        if self._timer is not None:
            self._timer.cancel()
            self._poll()

    def _again(self, delay_s: float) -> None:
        if not self._stopped:
            self._timer = self._loop.call_later(delay_s, self._poll)

    def _poll(self) -> None:
        self._timer = None
        delay_s: float | None = _PAUSE_AFTER_ERROR_S
        try:
            delay_s = self._look()
        except LogError as error:
            self._failed(error)
        finally:
            # Any error: a tail that stops would show nothing for ever.
            if delay_s is not None:
                self._again(delay_s)

    def _look(self) -> float | None:
        """Take new rows; seconds until the next look, None while a thread reads."""
        written = self._watch.drain()
        if self._watch.changed():
            return self._follow(self._read, self._take)
        if self._has_own():
            # Stored by this service: others need not be heard of it first.
            rows = self._rows()
            if self._kinds is not None and self._kinds.asks(rows):
                return self._follow(partial(self._with_kinds, rows), self._take_own)
            return self._take_own(rows)
        if written:
            self._awake_until_s = self._loop.time() + AFTER_WRITE_S
            self._written_at_s = self._loop.time()
        return self._caught_up()

    def _follow(self, read: _Read, take: _Take) -> float | None:
        """Read and take, here or partly in a thread: a server that hangs holds up no loop."""
        if not self._watch.waits:
            return take(read())
        self._wake()
        self._reading = self._loop.create_task(self._read_beside(read, take))
        return None

    async def _read_beside(self, read: _Read, take: _Take) -> None:
        delay_s = _PAUSE_AFTER_ERROR_S
        try:
            delay_s = take(await self._loop.run_in_executor(self._thread, read))
            if self._has_own():
                delay_s = 0.0
        except LogError as error:
            self._failed(error)
        finally:
            self._reading = None
            self._again(delay_s)

    def _failed(self, error: LogError) -> None:
        self._report(error)
        if isinstance(error, LogReplacedError):
            self._replaced()

    def _read(self) -> Sequence[LogRow]:
        """Read one batch, and all else that may have to wait for a server."""
        self._check_epoch()
        rows = self._rows()
        if not rows and self._reader.now.max_cursor() < self.cursor:
            raise self._set_back()
        if self._kinds is not None:
            # Before any taker has a row: an error is met here, and the rows are read again.
            self._kinds.meet(rows)
        return rows

    def _with_kinds(self, rows: Sequence[LogRow]) -> Sequence[LogRow]:
        if self._kinds is not None:
            self._kinds.look()
        return rows

    def _take(self, rows: Sequence[LogRow]) -> float:
        """Take what was read because of a commit; seconds until the next look."""
        self.error = None
        self._take_rows(rows)
        self._noticed()
        self._anchor = self._last or self._anchor
        if len(rows) == BATCH_ROWS:
            return 0.0
        self._written_at_s = self._loop.time()
        self._awake_until_s = self._written_at_s + AFTER_COMMIT_S * bool(rows)
        return self._caught_up()

    def _take_own(self, rows: Sequence[LogRow]) -> float:
        self._take_rows(rows)
        self._noticed()
        return 0.0

    def _caught_up(self) -> float:
        self.error = None
        self._watch.caught_up()
        now_s = self._loop.time()
        if self._bell is None or now_s < self._awake_until_s:
            self._wake()
            # Nearly all commits can be seen at once; for a slow disk a slower look will do.
            is_slow = self._bell is not None and now_s - self._written_at_s > AFTER_COMMIT_S
            return max(self._poll_s, SLOW_POLL_S) if is_slow else self._poll_s
        if not self._sleeping:
            self._sleeping = True
            self._loop.add_reader(self._bell, self.poke)
        return next_second(now_s)

    def _wake(self) -> None:
        if self._sleeping and self._bell is not None:
            self._sleeping = False
            self._loop.remove_reader(self._bell)

    def _take_rows(self, rows: Sequence[LogRow]) -> None:
        if not rows:
            return
        self._last = rows[-1]
        self.cursor = self._recent.seen = self._last.cursor
        self.rows += len(rows)
        self._measure(rows[-1])
        for take in self._takers:
            take(rows)

    def _has_own(self) -> bool:
        """Whether what comes next is in memory, where an engine tells late of an append."""
        return self._epoch is not None and bool(self._recent.after(self.cursor, 1))

    def _check_epoch(self) -> None:
        """After a failover: whether the last row that was read is still there."""
        epoch = self._watch.epoch()
        if epoch in (None, self._epoch):
            return
        log = self._reader.now
        last = self._anchor
        if self._epoch is not None and last is not None:
            row = log.get(last.cursor)
            # One that retention has taken was there.
            is_there = row is not None or log.min_cursor() > last.cursor
            if not is_there or (row is not None and row.event.id != last.event.id):
                raise self._set_back()
        if self._epoch is not None:
            self._promoted()
        self._epoch = epoch

    def _set_back(self) -> LogReplacedError:
        if self._watch.epoch() is None:
            return LogReplacedError("the content of the log was replaced by an older one")
        return LogFailedOverError("a standby took over that lacks the newest events: they are lost")

    def _rows(self) -> Sequence[LogRow]:
        remembered = self._recent.after(self.cursor, BATCH_ROWS)
        if remembered is None:
            return self._reader.now.after(self.cursor, BATCH_ROWS)
        return [without_webhooks(row) for row in remembered[0]]

    def _measure(self, newest: LogRow) -> None:
        arrival = newest.event.observed_unix_nano
        if arrival is not None:
            self.lag_s = max(0.0, (time.time_ns() - arrival) / 1e9)

    def _report(self, error: Exception) -> None:
        if self.error is None:
            _logger.warning("The log cannot be followed: %s", error)
        self.error = str(error)
