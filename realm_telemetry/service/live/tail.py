"""Follows the log: asks every few milliseconds whether there was a commit; that costs 3 us.

After a while without one it sleeps until the log is written to. Then it stays awake until the
commit can be seen: SQLite writes it, waits for the disk and only then lets others see it. It looks
every second all the same, because a wake-up may be lost.

The tail lives on the event loop, where its batches need no hand-over between threads, and reads
few rows at a time, so that no stream waits long for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from realm_telemetry.delivery.sources import RecentOfLog, without_webhooks
from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import Reader, Watch
from realm_telemetry.log.errors import LogFailedOverError, LogReplacedError
from realm_telemetry.log.rows import LogRow

BATCH_ROWS: Final = 200
AFTER_WRITE_S: Final = 1.0
AFTER_COMMIT_S: Final = 0.1
"""How long to stay awake: after a write, whose commit cannot be seen yet, and after new rows."""

SLOW_POLL_S: Final = 0.05
_PAUSE_AFTER_ERROR_S: Final = 1.0

_logger = logging.getLogger(__name__)


def next_second(now_s: float) -> float:
    """Seconds to a time at which all wake who look every second, so that they wake together."""
    return max(1.0 - now_s % 1.0, 0.001)


class Tail:
    """Hands every new row of the log to its takers, in the order of the log.

    recent: what this process has stored lately: it is not read back from the log.
    noticed: called when the log was written to, once this tail has read it.
    promoted: called when a standby has taken over that has all rows.
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
        self._awake_until_s = self._written_at_s = 0.0
        self._bell: int | None = None
        self._sleeping = False
        self._timer: asyncio.Handle | None = None
        self._asking: asyncio.Task[None] | None = None
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._wake()
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
        self._timer = None
        try:
            delay_s = self._look()
            self.error = None
        except LogReplacedError as error:
            self._report(error)
            self._replaced()
        except LogError as error:
            self._report(error)
            self._wake()
            self._asking = self._loop.create_task(self._until_it_answers())
        finally:
            # Any error: a tail that stops would show nothing for ever.
            if self._asking is None:
                self._again(delay_s)

    async def _until_it_answers(self) -> None:
        """Ask in a thread until the log can be read: a server that hangs holds up no loop."""
        answers = False
        while not answers:
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            with suppress(Exception):
                await asyncio.to_thread(self._reader.now.max_cursor)
                answers = True
        self._asking = None
        self._again(0.0)

    def _look(self) -> float:
        """Take new rows; seconds until the next look."""
        written = self._watch.drain()
        if self._watch.changed():
            before = self.rows
            self._check_epoch()
            more = self._read()
            self._noticed()
            self._anchor = self._last or self._anchor
            if more:
                return 0.0
            brought_rows = self.rows > before
            self._written_at_s = self._loop.time()
            self._awake_until_s = self._written_at_s + AFTER_COMMIT_S * brought_rows
        elif self._has_own():
            # Stored by this service: others need not be heard of it first.
            self._read()
            self._noticed()
            return 0.0
        elif written:
            self._awake_until_s = self._loop.time() + AFTER_WRITE_S
            self._written_at_s = self._loop.time()
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

    def _read(self) -> bool:
        """Take one batch; whether there may be more."""
        rows = self._rows()
        if rows:
            self._last = rows[-1]
            self.cursor = self._recent.seen = self._last.cursor
            self.rows += len(rows)
            self._measure(rows[-1])
            for take in self._takers:
                take(rows)
        elif self._reader.now.max_cursor() < self.cursor:
            raise self._set_back()
        return len(rows) == BATCH_ROWS

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
