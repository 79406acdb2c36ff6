"""Follow a source with a cursor: deliver in order, retry, bisect, dead-letter.

A failed batch is sent again after a pause. Only two things make a record a dead letter: the
receiver names it as rejected, or it keeps failing alone while others go through (see
`retry.bisect`). What the receiver rejects without naming it is counted.
"""

import threading
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from realm_telemetry.delivery.outlet import BareFailureError, Outlet
from realm_telemetry.delivery.retry import Condemned, OutageError, Policy, bisect
from realm_telemetry.errors import ExportError, NotYetError


class Row(Protocol):
    """A record where it stands in its source."""

    @property
    def cursor(self) -> int:
        """Its place; later records have higher ones."""
        ...


AnyRow = TypeVar("AnyRow", bound=Row)
Row_co = TypeVar("Row_co", covariant=True)
Row_contra = TypeVar("Row_contra", contravariant=True)


class Source(Protocol[Row_co]):
    """What is followed."""

    def after(self, cursor: int, limit: int) -> tuple[Sequence[Row_co], int]:
        """Return the rows behind a cursor, in order, and the cursor up to which was read."""
        ...

    def settle(self, cursor: int) -> None:
        """Note that everything up to a cursor is delivered or dead-lettered."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...


class Keeper(Protocol[AnyRow]):
    """Who keeps what a receiver rejects, and reports how it is doing."""

    def keep_dead(self, condemned: Sequence[Condemned[AnyRow]]) -> None:
        """Keep records that the receiver will never take; called before the cursor passes them."""
        ...

    def count_refused(self, count: int, reason: str) -> None:
        """Count records that the receiver rejects without naming them."""
        ...

    def failing(self, error: Exception) -> None:
        """Report a failure; the same records are sent again."""
        ...

    def recovered(self) -> None:
        """Note that the receiver has taken something."""
        ...


class Follower(Generic[AnyRow]):
    """Delivers a source's records to an outlet. It has no thread: its owner calls `step`.

    cursor: everything up to it is delivered, or kept as a dead letter.
    stop: once it is set, a bisection ends.
    """

    def __init__(
        self,
        source: Source[AnyRow],
        outlet: Outlet[AnyRow],
        policy: Policy,
        keeper: Keeper[AnyRow],
        *,
        cursor: int,
        stop: threading.Event | None = None,
    ) -> None:
        self.source = source
        self.cursor = cursor
        self._outlet = outlet
        self._policy = policy
        self._keeper = keeper
        self._stop = stop or threading.Event()
        self._done: set[int] = set()

    def step(self) -> float | None:
        """Deliver the next batch.

        Returns the seconds to wait before the next step: 0 for none, None if nothing is left.
        """
        try:
            rows, end = self.source.after(self.cursor, self._policy.batch)
        except Exception as error:  # noqa: BLE001 - the log may be broken in many ways
            return self._wait(error)
        waiting = [row for row in rows if row.cursor not in self._done]
        wait_s = self._deliver(waiting) if waiting else 0.0
        moved = self._advance(rows, end)
        return wait_s if waiting or moved else None

    def go_back(self, cursor: int) -> None:
        """Deliver again what comes after a cursor."""
        self.cursor = min(cursor, self.cursor)
        self._done.clear()

    def _advance(self, rows: Sequence[AnyRow], end: int) -> bool:
        """Move the cursor up to the first row that is not settled."""
        left = next((row.cursor for row in rows if row.cursor not in self._done), None)
        reached = end if left is None else left - 1
        if reached <= self.cursor:
            return False
        self.cursor = reached
        self._done = {cursor for cursor in self._done if cursor > reached}
        self.source.settle(reached)
        return True

    def _deliver(self, rows: Sequence[AnyRow]) -> float:
        """Deliver what can be delivered now; what is settled joins `_done`."""
        try:
            self._outlet.deliver(rows)
        except NotYetError as later:
            return later.after_s
        except ExportError as error:
            if error.rejected_ids or error.rejected_count:
                return self._rejected(rows, error)
            if isinstance(error, BareFailureError):
                return self._failed(rows, error, self._policy.bisect_after)
            return self._wait(error) if error.retryable else self._failed(rows, error, 1)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            return self._failed(rows, error, self._policy.bisect_after)
        return self._settled(rows)

    def _settled(self, rows: Sequence[AnyRow]) -> float:
        self._done.update(row.cursor for row in rows)
        self._policy.succeeded()
        self._keeper.recovered()
        return 0.0

    def _rejected(self, rows: Sequence[AnyRow], error: ExportError) -> float:
        if error.rejected_count:
            self._keeper.count_refused(error.rejected_count, str(error))
        rejected = frozenset(error.rejected_ids)
        named = [row for row in rows if self._outlet.id_of(row) in rejected]
        self._condemn([Condemned(row, str(error)) for row in named])
        return self._settled(rows)

    def _condemn(self, condemned: Sequence[Condemned[AnyRow]]) -> None:
        if condemned:
            self._keeper.keep_dead(condemned)
            self._done.update(each.row.cursor for each in condemned)

    def _failed(self, rows: Sequence[AnyRow], error: Exception, patience: int) -> float:
        """Wait; after `patience` failures in a row, look for the records that are to blame."""
        policy = self._policy
        if policy.backoff.failures + 1 < patience:
            return self._wait(error)
        try:
            verdict = bisect(rows, self._attempt, policy.budget)
        except OutageError as outage:
            return self._wait(outage.error)
        self._condemn(verdict.condemned)
        if not verdict.remaining:
            return 0.0
        policy.found_nothing()
        return self._wait(error)

    def _attempt(self, rows: Sequence[AnyRow]) -> str | None:
        if self._stop.is_set():
            raise OutageError(ExportError("the delivery ends", retryable=True))
        try:
            self._outlet.deliver(rows)
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
        self._stop.wait(self._policy.pace_s)
        return reason

    def _wait(self, error: Exception) -> float:
        self._keeper.failing(error)
        return self._policy.backoff.failed(getattr(error, "retry_after_s", None))
