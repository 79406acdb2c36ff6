"""Notices appends of others: by LISTEN where the server can, and by a look every 250 ms."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from os import EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfd_read, eventfd_write
from os import close as close_descriptor
from typing import Final

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.errors import LogRefusedError, LogUnavailableError
from realm_telemetry.log.postgres.connection import ANSWER_S, Place, Session, driver, explained
from realm_telemetry.log.postgres.deadline import shut_down
from realm_telemetry.log.postgres.failovers import TIMELINE, note_failover
from realm_telemetry.log.postgres.schema import check_readable
from realm_telemetry.log.postgres.writer import channel_of

POLL_S: Final = 0.25
"""A notice is only a wake-up: one that is lost costs so long."""

_END_S: Final = 1.0
_STATE: Final = f"SELECT appends, cursor, epoch, {TIMELINE} FROM realm_head"


class Watch:
    """A thread that waits for notices and sets a flag; `changed` answers from that.

    A server that is away is looked for again until it is closed; `changed` raises meanwhile.
    """

    waits = True

    def __init__(self, place: Place) -> None:
        self._place = place
        self._session = Session(place)
        self._state: Sequence[object] | None = None
        self._looked: object = None
        self._caught_up: object = self
        self._problem: Exception | None = None
        self._closed = threading.Event()
        self._descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        try:
            self._begin(self._session)
        except BaseException:
            self._session.close()
            close_descriptor(self._descriptor)
            raise
        self._thread = threading.Thread(
            target=self._follow, name="realm-telemetry-watch", daemon=True
        )
        self._thread.start()

    def changed(self) -> bool:
        """Whether there may be rows that came after the last `caught_up`."""
        if self._problem is not None:
            raise self._problem
        self._looked = self._state
        return self._looked != self._caught_up

    def epoch(self) -> object:
        """Return the server's timeline, which is another after each failover."""
        state = self._state
        return None if state is None else state[3]

    def caught_up(self) -> None:
        """All rows up to the last call of `changed` were read."""
        self._caught_up = self._looked

    def descriptor(self) -> int | None:
        """What becomes readable after others have appended."""
        return self._descriptor

    def drain(self) -> bool:
        """Let the descriptor be quiet until the next append; whether it was not."""
        try:
            eventfd_read(self._descriptor)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let the thread end, which closes what it has; a server that hangs is not waited for."""
        self._closed.set()
        with suppress(Exception):  # it is closed just now
            shut_down(self._session.raw.fileno())
        self._thread.join(_END_S)

    def _begin(self, session: Session) -> None:
        """Listen before the look: what is appended between the two is seen."""
        psycopg = driver()
        with explained(self._place):
            log_id = check_readable(session)
            # A standby cannot LISTEN: there the look every 250 ms has to do.
            with (
                suppress(psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.FeatureNotSupported),
                session.within(ANSWER_S),
            ):
                session.raw.execute(f'LISTEN "{channel_of(log_id)}"')
            self._look(session)

    def _look(self, session: Session) -> None:
        with session.within(ANSWER_S):
            state = session.raw.execute(_STATE).fetchone()
        if state is not None and state[3] != self.epoch():
            # One who may only read leaves it to the writers.
            with suppress(driver().errors.InsufficientPrivilege), session.within(ANSWER_S):
                note_failover(session)
        if state != self._state:
            self._state = state
            eventfd_write(self._descriptor, 1)

    def _follow(self) -> None:
        try:
            while not self._closed.is_set():
                self._wait()
        finally:
            self._session.close()
            close_descriptor(self._descriptor)

    def _wait(self) -> None:
        """Wait for a notice, or for so long that a look is due."""
        try:
            with explained(self._place):
                for _ in self._session.raw.notifies(timeout=POLL_S, stop_after=1):
                    pass
                self._look(self._session)
            self._problem = None
        except (LogUnavailableError, LogRefusedError) as error:
            if not self._closed.is_set():
                self._problem = error
                self._again()

    def _again(self) -> None:
        """Open another connection, until there is one."""
        eventfd_write(self._descriptor, 1)
        self._session.close()
        while not self._closed.wait(POLL_S):
            try:
                session = Session(self._place)
                self._begin(session)
            except (LogUnavailableError, LogRefusedError, ConfigError) as error:
                self._problem = error
            else:
                self._session, self._problem = session, None
                return
