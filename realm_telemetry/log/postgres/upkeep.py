"""Maintenance of a log, and the leases by which one process at a time does something.

All by the clock of the database: services on several machines need not agree on the time.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from realm_telemetry.log.engine import Writer
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.maintenance import Retention as RetentionProtocol
from realm_telemetry.log.postgres.connection import Session, Sessions
from realm_telemetry.log.postgres.holders import holder_name
from realm_telemetry.log.postgres.retention import Retention
from realm_telemetry.log.postgres.schema import migrate
from realm_telemetry.log.postgres.writer import own_writer
from realm_telemetry.log.records import Limits

LEASE_S: Final = 15
"""For how long a lease counts after it was last renewed, and the third of it between renewals."""

CLAIM_S: Final = 60
BETWEEN_STEPS_S: Final = 0.02
_RENEW_CLAIM_S: Final = 20.0
_ADDRESSES_EVERY_NS: Final = 3600 * 1_000_000_000

_TAKE: Final = """
INSERT INTO realm_leases AS l VALUES (?, ?, clock_timestamp() + make_interval(secs => ?))
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE l.holder = excluded.holder OR l.until < clock_timestamp()"""
_FROM_OTHERS: Final = " OR split_part(l.holder, ' ', 1) <> split_part(excluded.holder, ' ', 1)"
_IS_HELD: Final = "SELECT holder = ? FROM realm_leases WHERE name = ? AND until > clock_timestamp()"


def _take(session: Session, query: str, name: str, holder: str, seconds: int) -> bool:
    session.execute(query, (name, holder, seconds))
    row = session.execute(_IS_HELD, (holder, name)).fetchone()
    return bool(row and row[0])


class RowLease:
    """A lease that is renewed while it is held, and that ends by itself 15 s after its holder."""

    def __init__(self, sessions: Sessions, place: str, name: str) -> None:
        self.place = f"{place} (lease {name})"
        self._sessions = sessions
        self._name = name
        self._holder = holder_name("lease")
        self._stop: threading.Event | None = None

    def take(self) -> bool:
        """Take it; False while another process has it."""
        with self._sessions.one() as session:
            migrate(session)
            if not _take(session, _TAKE, self._name, self._holder, LEASE_S):
                return False
        if self._stop is None:
            self._stop = threading.Event()
            threading.Thread(
                target=self._renew, args=(self._stop,), name="realm-telemetry-lease", daemon=True
            ).start()
        return True

    def _renew(self, stop: threading.Event) -> None:
        while not stop.wait(LEASE_S / 3):
            # The next try renews it, if it comes in time.
            with suppress(LogUnavailableError), self._sessions.one() as session:
                _take(session, _TAKE, self._name, self._holder, LEASE_S)

    def release(self) -> None:
        """Let others have it."""
        stop, self._stop = self._stop, None
        if stop is None:
            return
        stop.set()
        # Without its server it ends by itself.
        with suppress(LogUnavailableError), self._sessions.one() as session:
            session.execute(
                "DELETE FROM realm_leases WHERE name = ? AND holder = ?", (self._name, self._holder)
            )


class UpkeepClaim:
    """One process's claim to do the upkeep of a log, which ends a minute after its last use.

    first: take it from one that does it under another name, but never from another service.
    """

    def __init__(self, by: str, *, first: bool = False) -> None:
        self._holder = holder_name(by.replace(" ", "_"))
        self._query = _TAKE + (_FROM_OTHERS if first else "")
        self._held_at_s = float("-inf")

    def hold(self, writer: Writer) -> bool:
        """Make or renew the claim; False while another process has it."""
        if time.monotonic() - self._held_at_s < _RENEW_CLAIM_S:
            return True
        with own_writer(writer).quick() as session:
            held = _take(session, self._query, "upkeep", self._holder, CLAIM_S)
        self._held_at_s = time.monotonic() if held else float("-inf")
        return held


class Upkeep:
    """The jobs in turn; belongs to the writer's thread.

    retain: one step of retention, no further than a saved RealmState covers the log; whether
        there is more to do.
    interval_s: between steps once there is nothing to do.
    """

    def __init__(
        self,
        limits: Limits,
        retain: Callable[[RetentionProtocol], bool],
        *,
        interval_s: float,
        clock_ns: Callable[[], int],
    ) -> None:
        self._limits = limits
        self._do_retain = retain
        self._interval_s = interval_s
        self._clock_ns = clock_ns
        self._retention: Retention | None = None
        self._addresses_at_ns = 0

    def step(self, writer: Writer) -> float:
        """Do one step; returns seconds until the next."""
        own = own_writer(writer)
        if self._retention is None:
            self._retention = Retention(own, self._limits, clock_ns=self._clock_ns)
        more = self._do_retain(self._retention)
        if self._clock_ns() >= self._addresses_at_ns:
            self._addresses_at_ns = self._clock_ns() + _ADDRESSES_EVERY_NS
            own.forget_addresses()
        return BETWEEN_STEPS_S if more else self._interval_s
