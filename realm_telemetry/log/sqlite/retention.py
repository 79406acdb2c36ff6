"""Retention of the log in a file; see log.retention_rules."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec

from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log import retention_rules
from realm_telemetry.log.records import Limits
from realm_telemetry.log.retention_rules import (
    HELD_FOR_NS,
    KEPT_JUMPS,
    LIVE_GRACE_NS,
    STEP_NS,
    STEP_ROWS,
    TrustedClock,
    since_boot_ns,
)
from realm_telemetry.log.sqlite.inserts import last_arrival
from realm_telemetry.log.sqlite.kinds import read_kinds
from realm_telemetry.log.sqlite.writer import LogWriter

__all__ = [
    "HELD_FOR_NS",
    "KEPT_JUMPS",
    "LIVE_GRACE_NS",
    "STEP_NS",
    "STEP_ROWS",
    "Retention",
    "TrustedClock",
    "since_boot_ns",
]


class Retention(retention_rules.Retention):
    """Trims the log in a file."""

    # The plus keeps the planner from choosing an index.
    _producer: ClassVar = "+producer"

    def __init__(
        self,
        writer: LogWriter,
        limits: Limits | None = None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        passed_ns: Callable[[], int] | None = None,
    ) -> None:
        transaction = partial(writer.transaction, durable=False)
        super().__init__(transaction, limits, clock_ns=clock_ns, passed_ns=passed_ns)

    def _last_arrival(self, connection: Any) -> int | None:
        return last_arrival(connection)

    def _kinds(self, connection: Any) -> list[KindSpec]:
        return read_kinds(connection)

    def _delete_rows(self, connection: Any, ids: Sequence[int]) -> int:
        text = msgspec.json.encode(ids).decode()
        return _delete(connection, "id IN (SELECT value FROM json_each(?))", text)

    def _delete_through(self, connection: Any, last: int) -> int:
        return _delete(connection, "id <= ?", last)


def _delete(connection: sqlite3.Connection, which: str, param: object) -> int:
    query = f"DELETE FROM battle_log WHERE {which}"
    try:
        return connection.execute(query, (param,)).rowcount
    except sqlite3.IntegrityError:
        # A row of other software without a kind or a time, which the counts cannot be without.
        connection.execute(
            "UPDATE battle_log SET kind = coalesce(kind, ''), channel = coalesce(channel, ''),"
            " severity = coalesce(severity, ''), time_unix_nano = coalesce(time_unix_nano, 0)"
            f" WHERE {which}",
            (param,),
        )
        return connection.execute(query, (param,)).rowcount
