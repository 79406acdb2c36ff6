"""What rows in order of arrival carry beside their events: steps of the clock, and addresses."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from realm_telemetry.log.rows import LogRow


def with_jumps(rows: list[LogRow], jumps: Sequence[tuple[int, int]]) -> list[LogRow]:
    """Mark the first row after each step back of the log's clock.

    jumps: the first cursor after each step and that row's arrival, up to the last of the rows.
    """
    for cursor, arrival in jumps:
        # The row itself may have left the log since.
        at = bisect_left(rows, cursor, key=lambda row: row.cursor)
        known = rows[at].set_back_unix_nano
        least = arrival if known is None else min(known, arrival)
        rows[at] = msgspec.structs.replace(rows[at], set_back_unix_nano=least)
    return rows


def with_webhooks(
    rows: list[LogRow],
    asked: Sequence[tuple[int, Any]],
    find: Callable[[Sequence[str]], tuple[str, ...]],
) -> list[LogRow]:
    """Give events the addresses that they name.

    asked: cursor and what the log holds of the addresses. find: the addresses behind that.
    """
    if not asked:
        return rows
    urls = {cursor: find(_kept(text)) for cursor, text in asked}
    return [_with_webhooks(row, urls.get(row.cursor, ())) for row in rows]


def _kept(text: Any) -> list[str]:
    """What a row names of addresses; none if other software wrote it."""
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.DecodeError, TypeError, ValueError):
        return []


def _with_webhooks(row: LogRow, urls: tuple[str, ...]) -> LogRow:
    if not urls:
        return row
    event = msgspec.structs.replace(row.event, webhooks=urls)
    return msgspec.structs.replace(row, event=event)
