"""Maintenance of a log: fill in older rows, index words, trim, remove unused webhook addresses.

One small step at a time, between the transactions of a service, or of a shipper where no service
runs. A row of the log names the process that does it, so that only one does.
"""

import time
from collections.abc import Callable
from typing import Final

from realm_telemetry.log.engine import Writer
from realm_telemetry.log.records import Limits
from realm_telemetry.log.sqlite.connection import explained
from realm_telemetry.log.sqlite.retention import Retention
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.sqlite.writer import LogWriter, own_writer

INDEX_ROWS: Final = 200
BACKFILL_ROWS: Final = 200
BETWEEN_STEPS_S: Final = 0.02
CLAIM_NS: Final = 60_000_000_000
"""For how long a claim counts after it was last renewed."""

_RENEW_NS: Final = 30_000_000_000
_ADDRESSES_EVERY_NS: Final = 3600 * 1_000_000_000


class Upkeep:
    """The jobs in turn; belongs to the writer's thread.

    retain: one step of retention, no further than a saved RealmState covers the log; whether
        there is more to do.
    interval_s: between steps once there is nothing to do.
    """

    def __init__(
        self,
        search: SearchIndex,
        limits: Limits,
        retain: Callable[[Retention], bool],
        *,
        interval_s: float,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._search = search
        self._limits = limits
        self._do_retain = retain
        self._interval_s = interval_s
        self._clock_ns = clock_ns
        self._retention: Retention | None = None
        self._addresses_at_ns = 0
        self._turn = 0
        self._idle = 0

    def step(self, writer: Writer) -> float:
        """Do one step of the next job; returns seconds until the next."""
        jobs = (self._backfill, self._index, self._retain, self._forget_addresses)
        more = jobs[self._turn % len(jobs)](own_writer(writer))
        self._turn += 1
        self._idle = 0 if more else self._idle + 1
        return BETWEEN_STEPS_S if self._idle < len(jobs) else self._interval_s

    def _backfill(self, writer: LogWriter) -> bool:
        return writer.backfill_step(BACKFILL_ROWS) > 0

    def _index(self, _writer: LogWriter) -> bool:
        with explained(self._search.search_path, files=True):
            return self._search.index_step(INDEX_ROWS) == INDEX_ROWS

    def _retain(self, writer: LogWriter) -> bool:
        if self._retention is None:
            self._retention = Retention(writer, self._limits, clock_ns=self._clock_ns)
        # It may save a snapshot, whose file is another.
        with explained(writer.path, files=True):
            return self._do_retain(self._retention)

    def _forget_addresses(self, writer: LogWriter) -> bool:
        if self._clock_ns() >= self._addresses_at_ns:
            self._addresses_at_ns = self._clock_ns() + _ADDRESSES_EVERY_NS
            writer.forget_addresses()
        return False


class UpkeepClaim:
    """One process's claim to do the upkeep of a log.

    by: "service", or a shipper's name.
    first: take it from the process that has it, as a service does.
    """

    def __init__(
        self, by: str, *, first: bool = False, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._by = by
        self._first = first
        self._clock_ns = clock_ns

    def hold(self, writer: Writer) -> bool:
        """Make or renew the claim; False while another process has it."""
        now = self._clock_ns()
        with own_writer(writer).transaction(durable=False) as connection:
            row = connection.execute("SELECT value FROM realm_meta WHERE key = 'upkeep'").fetchone()
            since, _, by = str(row[0]).partition(" ") if row else ("0", "", "")
            # Either way: the clock may have been set back since.
            age_ns = abs(now - int(since))
            if by == self._by and age_ns < _RENEW_NS:
                return True
            if by != self._by and age_ns < CLAIM_NS and not self._first:
                return False
            connection.execute(
                "INSERT OR REPLACE INTO realm_meta VALUES ('upkeep', ?)", (f"{now} {self._by}",)
            )
        return True
