"""The newest events in memory, by channel and severity and for each routine kind.

At start they are read from the log.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest
from itertools import chain
from typing import Final

from realm_telemetry.event import CHANNELS, Event
from realm_telemetry.kinds.catalog import is_routine, kinds
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import LogRow

KEPT_PER_CHANNEL_AND_SEVERITY: Final = 50
MAX_ROUTINE_SERIES: Final = 1_000
"""Routine kinds times producers that are remembered; the longest silent goes first."""

SNAPSHOT_EVENTS: Final = 50


class LiveView:
    """What happened last, bounded, late events left out.

    Routine events are kept beside the others, so that a thousand training steps do not push
    out the one `training_started`.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, bool], deque[LogRow]] = {}
        self._routine: OrderedDict[tuple[str, str], LogRow] = OrderedDict()

    def take(self, rows: Sequence[LogRow]) -> None:
        """Take the next rows of the log."""
        for row in rows:
            self.add(row)

    def add(self, row: LogRow) -> None:
        """Take one row."""
        event = row.event
        if event.late:
            return
        routine = is_routine(event.kind)
        key = (event.channel, event.severity, routine)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = deque(maxlen=KEPT_PER_CHANNEL_AND_SEVERITY)
        kept.append(row)
        if routine:
            self._remember_routine(row)

    def show_again(self, rows: Sequence[LogRow]) -> None:
        """Take rows that the log has had for a while, late ones too: somebody replays them."""
        for row in rows:
            self._insert(row)

    def _insert(self, row: LogRow) -> None:
        """Put a row at its place among those of its channel and severity."""
        event, routine = row.event, is_routine(row.event.kind)
        key = (event.channel, event.severity, routine)
        kept = {each.cursor: each for each in self._kept.get(key, ())} | {row.cursor: row}
        newest = [kept[cursor] for cursor in sorted(kept)][-KEPT_PER_CHANNEL_AND_SEVERITY:]
        self._kept[key] = deque(newest, maxlen=KEPT_PER_CHANNEL_AND_SEVERITY)
        latest = self._routine.get((event.kind, event.producer))
        if routine and (latest is None or latest.cursor < row.cursor):
            self._remember_routine(row)

    def _remember_routine(self, row: LogRow) -> None:
        series = (row.event.kind, row.event.producer)
        self._routine[series] = row
        self._routine.move_to_end(series)
        if len(self._routine) > MAX_ROUTINE_SERIES:
            self._routine.popitem(last=False)

    def last(self, limit: int, matches: Callable[[Event], bool] | None = None) -> list[LogRow]:
        """The last events of every channel and severity merged, newest first."""
        channels = {key[:2] for key in self._kept}
        kept = chain.from_iterable(self._of_channel(*key) for key in channels)
        return _newest(kept, limit, matches)

    def _of_channel(self, channel: str, severity: str) -> list[LogRow]:
        both = (self._kept.get((channel, severity, routine), ()) for routine in (False, True))
        return _newest(chain.from_iterable(both), KEPT_PER_CHANNEL_AND_SEVERITY, None)

    def last_not_routine(
        self, limit: int = SNAPSHOT_EVENTS, matches: Callable[[Event], bool] | None = None
    ) -> list[LogRow]:
        """The last events that are not routine, newest first."""
        kept = (rows for (_, _, routine), rows in self._kept.items() if not routine)
        return _newest(chain.from_iterable(kept), limit, matches)

    def latest_routine(self, matches: Callable[[Event], bool] | None = None) -> list[LogRow]:
        """The latest event of each routine kind and producer, newest first."""
        return _newest(self._routine.values(), MAX_ROUTINE_SERIES, matches)


def _newest(
    rows: Iterable[LogRow], limit: int, matches: Callable[[Event], bool] | None
) -> list[LogRow]:
    wanted = rows if matches is None else (row for row in rows if matches(row.event))
    return nlargest(limit, wanted, key=_cursor)


def _cursor(row: LogRow) -> int:
    return row.cursor


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
