"""What the live view starts with: the last events of the log."""

from realm_telemetry.event import CHANNELS
from realm_telemetry.kinds.catalog import kinds
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.reader import Snapshot
from realm_telemetry.service.live.latest import KEPT_PER_CHANNEL_AND_SEVERITY


def last_rows(log: Snapshot, as_of: int) -> list[LogRow]:
    """The rows up to a cursor that the live view would hold, oldest first."""
    rows = {row.cursor: row for row in log.latest(KEPT_PER_CHANNEL_AND_SEVERITY)}
    for filters in _by_kind():
        page = log.page(filters, as_of=as_of, count=False)
        rows.update((row.cursor, row) for row in page.rows)
    return [rows[cursor] for cursor in sorted(rows) if cursor <= as_of]


def _by_kind() -> list[Filters]:
    """Routine kinds may be all there is among the last of a channel, so others are asked for by
    name; and each routine kind for the latest of several producers."""
    named = (
        tuple(one.kind for one in kinds() if one.channel == channel and not one.routine)
        for channel in CHANNELS
    )
    routine = ((one.kind,) for one in kinds() if one.routine)
    limit = KEPT_PER_CHANNEL_AND_SEVERITY
    return [Filters(kinds=names, limit=limit) for names in (*named, *routine) if names]
