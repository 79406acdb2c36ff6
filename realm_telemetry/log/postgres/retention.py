"""Retention of the log in PostgreSQL; see log.retention_rules."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log import retention_rules
from realm_telemetry.log.postgres.schema import HOUR_NS
from realm_telemetry.log.postgres.tables import read_kinds
from realm_telemetry.log.postgres.writer import LogWriter
from realm_telemetry.log.records import Limits

# Rows, and what counts them, in one statement: there are no triggers.
_DELETE: Final = f"""
WITH removed AS (
    DELETE FROM events WHERE %s RETURNING id, group_id, time_unix_nano
), totals AS (
    UPDATE realm_groups AS g SET gone = g.gone + c.count
    FROM (SELECT group_id, count(*) FROM removed GROUP BY 1) AS c WHERE g.id = c.group_id
), hours AS (
    UPDATE realm_hourly_counts AS h SET gone = h.gone + c.count FROM (
        SELECT floor(time_unix_nano::numeric / {HOUR_NS})::bigint AS hour, group_id, count(*)
        FROM removed GROUP BY 1, 2
    ) AS c WHERE h.hour = c.hour AND h.group_id = c.group_id
), requests AS (
    DELETE FROM webhook_requests AS w USING removed WHERE w.cursor = removed.id
)
SELECT count(*) FROM removed"""


class Retention(retention_rules.Retention):
    """Trims the log of a writer."""

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
        row = connection.execute("SELECT arrival_unix_nano FROM realm_head").fetchone()
        return None if row is None else row[0]

    def _kinds(self, connection: Any) -> list[KindSpec]:
        return read_kinds(connection)

    def _delete_rows(self, connection: Any, ids: Sequence[int]) -> int:
        query = _DELETE % "id = ANY(?::bigint[])"
        return int(connection.execute(query, (list(ids),)).fetchone()[0])

    def _delete_through(self, connection: Any, last: int) -> int:
        return int(connection.execute(_DELETE % "id <= ?", (last,)).fetchone()[0])
