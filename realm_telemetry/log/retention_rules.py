"""Keeping the log within its bounds, a few rows at a time: the rules and SQL of both engines."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, Final

from realm_telemetry.kinds.catalog import KindSpec, is_routine
from realm_telemetry.log.exporter_cursors import Connection
from realm_telemetry.log.kind_watch import learn_kinds
from realm_telemetry.log.records import Limits, Trimmed

STEP_ROWS: Final = 500
LIVE_GRACE_NS: Final = 60_000_000_000
"""For how long the newest rows stay in any case: live views follow them."""

STEP_NS: Final = 60_000_000_000
"""What the clock may differ from the time that passed; a larger difference is a step."""

KEPT_JUMPS: Final = 100
"""Steps back of the clock that are kept before the oldest row, for folds that are behind it."""

HELD_FOR_NS: Final = 86_400_000_000_000
"""For how long a step of the clock forward is not believed."""

_THINNED_TO_ONE_PER_NS: Final = 10 * 1_000_000_000
_ROW_OVERHEAD_BYTES: Final = 450
_SAMPLE_ROWS: Final = 500
_MOST_BUCKETS: Final = 100_000
_MEASURE_EVERY_NS: Final = 60 * 1_000_000_000

_SAVE_THINNED: Final = """
INSERT INTO realm_meta VALUES ('thinned', ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value"""

# An exporter saved under the pipeline "" sees the events of all pipelines.
_OUTBOXES: Final = """
SELECT pipeline, floor FROM (
    SELECT DISTINCT p.pipeline, (SELECT min(cursor) FROM realm_cursors AS c
        WHERE c.pipeline IN (p.pipeline, '')) AS floor
    FROM realm_producers AS p WHERE p.history = 0
) AS outboxes WHERE floor IS NOT NULL"""


def since_boot_ns() -> int:
    """Return the time since this machine was started; it goes on while a laptop sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class TrustedClock:
    """The wall clock as far as ages may be told by it: a step of it does not make rows old.

    Forward, it is held against the time that has passed since it was last believed, by a clock that
    nobody sets, and at first against the newest arrival in the log. A step of over 60 s counts only
    once it has lasted for a day. Backward, it is believed at once: then rows only look younger.

    passed_ns: a clock that nobody sets. begin: the newest arrival; None in an empty log.
    """

    def __init__(
        self, clock_ns: Callable[[], int], passed_ns: Callable[[], int], begin: int | None
    ) -> None:
        self._clock_ns = clock_ns
        self._passed_ns = passed_ns
        now = clock_ns()
        far = begin is not None and now - begin > HELD_FOR_NS
        self._believed_ns = begin if far and begin is not None else now
        self._at_ns = self._since_ns = passed_ns()

    def __call__(self) -> int:
        """Return the latest time that it can be, in nanoseconds since 1970."""
        now, passed = self._clock_ns(), self._passed_ns()
        expected = self._believed_ns + passed - self._at_ns
        if now > expected + STEP_NS and passed - self._since_ns < HELD_FOR_NS:
            return expected
        self._believed_ns, self._at_ns = now, passed
        self._since_ns = passed
        return now


class Retention(ABC):
    """Trims one log by steps of at most 500 rows, each its own transaction.

    In order: rows over `max_age_ns`, a prefix of ids; exported rows of pipelines without history;
    and while the log is over `max_bytes`, routine kinds down to one per kind, producer and 10 s,
    then again a prefix of ids, of rows that are at least a day old. A row younger than a day is
    never taken for its size before every exporter has it. Where the limits say so, routine kinds
    are thinned by age as well, from where the last process left off. Counts of what happened,
    receipts and the refusal of duplicates stay as they were. Ages are told by a TrustedClock.
    """

    _producer: ClassVar = "producer"

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Connection]],
        limits: Limits | None = None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        passed_ns: Callable[[], int] | None = None,
    ) -> None:
        self._transaction = transaction
        self._limits = limits or Limits()
        if passed_ns is None and clock_ns is time.time_ns:
            passed_ns = since_boot_ns
        # A clock that is put in alone is believed: it moves as its owner likes.
        self._clock_ns = clock_ns if passed_ns is None else self._trusted(clock_ns, passed_ns)
        self._thinned_through: int | None = None
        self._kept_buckets: dict[tuple[str, str], int] = {}
        self._exported_through: dict[str, int] = {}
        self._excess_bytes = 0.0
        self._row_bytes = 0.0
        self._measured_at: int | None = None

    def _trusted(self, clock_ns: Callable[[], int], passed_ns: Callable[[], int]) -> TrustedClock:
        with self._transaction() as connection:
            return TrustedClock(clock_ns, passed_ns, self._last_arrival(connection))

    def step(self, keep_from: int | None = None) -> Trimmed:
        """Remove up to 500 rows.

        keep_from: a cursor; it and all rows after it stay, for a snapshot that has not seen them.
        """
        keep_from = 2**63 - 1 if keep_from is None else keep_from
        for trim in (self._trim_old, self._trim_outbox, self._thin, self._trim_large):
            with self._transaction() as connection:
                trimmed = trim(connection, keep_from)
            if trimmed.more:
                return trimmed
        return Trimmed(0, False)

    def due(self) -> bool:
        """Whether there is something to trim, were it not held back by a snapshot; reads little."""
        with self._transaction() as connection:
            self._measure(connection)
            return self._excess_bytes > 0 or self._is_old(connection) or self._has_sent(connection)

    def _is_old(self, connection: Connection) -> bool:
        row = connection.execute(
            "SELECT observed_unix_nano FROM battle_log ORDER BY id LIMIT 1"
        ).fetchone()
        arrived_before = self._clock_ns() - self._limits.max_age_ns
        return bool(row and isinstance(row[0], int) and 0 < row[0] < arrived_before)

    def _has_sent(self, connection: Connection) -> bool:
        arrived_before = self._clock_ns() - LIVE_GRACE_NS
        for pipeline, floor in connection.execute(_OUTBOXES).fetchall():
            row = connection.execute(
                "SELECT observed_unix_nano FROM battle_log WHERE id > ? AND id <= ?"
                " ORDER BY id LIMIT 1",
                (self._exported_through.get(pipeline, 0), floor),
            ).fetchone()
            if row and isinstance(row[0], int) and 0 < row[0] < arrived_before:
                return True
        return False

    def _trim_old(self, connection: Connection, keep_from: int) -> Trimmed:
        return self._trim_prefix(connection, keep_from, self._limits.max_age_ns)

    def _trim_prefix(
        self, connection: Connection, keep_from: int, age_ns: int, most: int = STEP_ROWS
    ) -> Trimmed:
        """Remove the first rows, up to the first that is younger than an age."""
        arrived_before = self._clock_ns() - age_ns
        last = None
        rows = connection.execute(
            "SELECT id, observed_unix_nano FROM battle_log WHERE id < ? ORDER BY id LIMIT ?",
            (keep_from, most),
        ).fetchall()
        jumps = connection.execute(
            "SELECT cursor, arrival_unix_nano FROM realm_clock_jumps WHERE cursor > ?",
            (rows[0][0] if rows else 0,),
        ).fetchall()
        for cursor, observed in rows:
            # Older rows that are not filled in yet count as arriving now.
            # What arrived while the clock was ahead did so before it went back.
            later = [arrival for first, arrival in jumps if first > cursor]
            if observed is None or (
                isinstance(observed, int) and min((observed, *later)) >= arrived_before
            ):
                break
            last = cursor
        if last is None:
            return Trimmed(0, False)
        return Trimmed(self._removed(connection, self._delete_through(connection, last)), True)

    def _trim_outbox(self, connection: Connection, keep_from: int) -> Trimmed:
        """Remove rows of pipelines without history that every exporter has."""
        for pipeline, floor in connection.execute(_OUTBOXES).fetchall():
            trimmed = self._trim_exported(connection, pipeline, min(floor, keep_from - 1))
            if trimmed.more:
                return trimmed
        return Trimmed(0, False)

    def _trim_exported(self, connection: Connection, pipeline: str, through: int) -> Trimmed:
        rows = connection.execute(
            f"SELECT id, {self._producer} IN (SELECT producer FROM realm_producers"
            " WHERE pipeline = ? AND history = 0) FROM battle_log"
            " WHERE id > ? AND id <= ? AND observed_unix_nano < ? ORDER BY id LIMIT ?",
            (
                pipeline,
                self._exported_through.get(pipeline, 0),
                through,
                self._clock_ns() - LIVE_GRACE_NS,
                STEP_ROWS,
            ),
        ).fetchall()
        if not rows:
            return Trimmed(0, False)
        self._exported_through[pipeline] = rows[-1][0]
        return Trimmed(self._drop(connection, [row[0] for row in rows if row[1]]), True)

    def _thin(self, connection: Connection, keep_from: int) -> Trimmed:
        """Remove routine rows but the first of each kind and producer in 10 s."""
        self._measure(connection)
        age_ns = self._limits.thin_after_ns
        if self._excess_bytes > 0:
            age_ns = LIVE_GRACE_NS
        if age_ns is None:
            return Trimmed(0, False)
        if self._thinned_through is None:
            self._thinned_through = self._read_thinned(connection)
        # By the key alone: younger rows may be millions, and no index has their arrival.
        rows = connection.execute(
            "SELECT id, observed_unix_nano, kind, producer, time_unix_nano FROM battle_log"
            " WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
            (self._thinned_through, self._floor(connection, keep_from), STEP_ROWS),
        ).fetchall()
        before = self._clock_ns() - age_ns
        rows = [row for row in rows if isinstance(row[1], int) and row[1] < before]
        if not rows:
            return Trimmed(0, False)
        learn_kinds(self._kinds(connection))
        surplus = [row[0] for row in rows if is_routine(row[2]) and not self._is_first(*row[2:])]
        self._thinned_through = rows[-1][0]
        if self._limits.thin_after_ns is not None:
            connection.execute(_SAVE_THINNED, (str(self._thinned_through),))
        return Trimmed(self._drop(connection, surplus), True)

    def _read_thinned(self, connection: Connection) -> int:
        """Return how far routine kinds were thinned by age."""
        row = connection.execute("SELECT value FROM realm_meta WHERE key = 'thinned'").fetchone()
        return int(row[0]) if row and self._limits.thin_after_ns is not None else 0

    def _is_first(self, kind: str, producer: str, time_unix_nano: int) -> bool:
        if not isinstance(time_unix_nano, int):
            return True
        bucket = time_unix_nano // _THINNED_TO_ONE_PER_NS
        key = (kind, producer)
        if len(self._kept_buckets) > _MOST_BUCKETS:
            self._kept_buckets.clear()
        first = self._kept_buckets.get(key) != bucket
        self._kept_buckets[key] = bucket
        return first

    def _trim_large(self, connection: Connection, keep_from: int) -> Trimmed:
        if self._excess_bytes <= 0:
            return Trimmed(0, False)
        most = min(STEP_ROWS, int(self._excess_bytes / self._row_bytes) + 1)
        return self._trim_prefix(connection, keep_from, self._limits.least_age_ns, most)

    def _floor(self, connection: Connection, keep_from: int) -> int:
        """The first row that must stay: wanted by a snapshot or an exporter."""
        row = connection.execute("SELECT min(cursor) FROM realm_cursors").fetchone()
        return keep_from if row[0] is None else min(keep_from, row[0] + 1)

    def _measure(self, connection: Connection) -> None:
        """Estimate the bytes of all rows with their index entries, from a sample of the last."""
        now = self._clock_ns()
        if self._measured_at is not None and now - self._measured_at < _MEASURE_EVERY_NS:
            return
        self._measured_at = now
        rows = connection.execute("SELECT sum(happened - gone) FROM realm_totals").fetchone()[0]
        sample = connection.execute(
            "SELECT avg(length(message) + coalesce(length(details_json), 0)) FROM"
            " (SELECT message, details_json FROM battle_log ORDER BY id DESC LIMIT ?) AS sampled",
            (_SAMPLE_ROWS,),
        ).fetchone()[0]
        self._row_bytes = _ROW_OVERHEAD_BYTES + float(sample or 0)
        self._excess_bytes = int(rows or 0) * self._row_bytes - self._limits.max_bytes

    def _drop(self, connection: Connection, ids: list[int]) -> int:
        return self._removed(connection, self._delete_rows(connection, ids))

    def _removed(self, connection: Connection, count: int) -> int:
        _forget_jumps(connection)
        self._excess_bytes -= count * self._row_bytes
        return count

    @abstractmethod
    def _last_arrival(self, connection: Connection) -> int | None:
        """Return the arrival of the last row."""

    @abstractmethod
    def _kinds(self, connection: Connection) -> list[KindSpec]:
        """Return the kinds that producers registered."""

    @abstractmethod
    def _delete_rows(self, connection: Connection, ids: Sequence[int]) -> int:
        """Remove rows, and count them as gone; how many there were."""

    @abstractmethod
    def _delete_through(self, connection: Connection, last: int) -> int:
        """Remove the rows up to a cursor, and count them as gone; how many there were."""


def _forget_jumps(connection: Connection) -> None:
    """Remove steps back of the clock that lie before the oldest row, but for the newest.

    Every row that is left arrived after all of them: to a fold that is behind, one of those that
    are kept says as well that what it has is older.
    """
    connection.execute(
        "DELETE FROM realm_clock_jumps WHERE cursor <= (SELECT cursor FROM realm_clock_jumps"
        " WHERE cursor <= (SELECT min(id) FROM battle_log) ORDER BY cursor DESC LIMIT 1 OFFSET ?)",
        (KEPT_JUMPS,),
    )
