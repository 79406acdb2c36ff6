"""Rows of `battle_log` as events."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from realm_telemetry.event import SEVERITIES, Event
from realm_telemetry.log.event_rows import INSERT_COLUMNS, Row
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.odd_rows import (
    MAX_CELL_CHARS,
    has_plain_trace,
    odd_row,
    read_details,
)
from realm_telemetry.values.rank import MAX_RANK, with_rank

READ_COLUMNS: Final = ", ".join(("id", *INSERT_COLUMNS))

_SEVERITIES: Final = frozenset(SEVERITIES)
_encode: Final = msgspec.json.Encoder().encode


def is_plain(row: Row) -> bool:
    """Whether all columns of a row are of the types that this package writes.

    Other software may write any type into any column, or text that is not UTF-8 (OddText).
    """
    event_id, time, observed, _timestamp, kind, channel, severity, source = row[1:9]
    hero, campaign, run, producer, message, details, trace, span, flags, origin, rank = row[9:]
    return (
        type(event_id) is bytes
        and len(event_id) == 16
        and type(time) is type(observed) is int
        and type(kind) is type(channel) is type(source) is type(message) is str
        and severity in _SEVERITIES
        and type(producer) is str
        and len(producer) == 16
        and len(message) <= MAX_CELL_CHARS
        and bool(kind)
        and (type(details) is str or details is None)
        and (type(run) is str or run is None)
        and (type(hero) is str or hero is None)
        and (type(campaign) is str or campaign is None)
        and (rank is None or (type(rank) is int and 0 <= rank <= MAX_RANK))
        and (
            trace is span is flags is origin is None or has_plain_trace(trace, span, flags, origin)
        )
    )


def to_log_row(row: Row, log_id: str) -> LogRow:
    """Read a tuple in the order of READ_COLUMNS, whatever other software has put there."""
    if not is_plain(row):
        return odd_row(row, log_id)
    cursor, event_id, time, observed, _timestamp, kind, channel, severity, source = row[:9]
    hero, campaign, run, producer, message, details, trace, span, flags, origin, rank = row[9:]
    event = Event(
        kind,
        channel,
        severity,
        message,
        read_details(details) if details else {},
        time,
        producer,
        int.from_bytes(event_id[8:], "big"),
        hero,
        campaign,
        run,
        None if source == "event." + kind else source,
        trace,
        span,
        flags or 0,
        (),
        observed if origin is None else origin,
    )
    return LogRow(cursor, event if rank is None else with_rank(event, rank), origin is not None)


def read_rows(connection: sqlite3.Connection, ids: Sequence[int], log_id: str) -> list[LogRow]:
    """The rows with these ids, in the order of `ids`; those that are gone are left out."""
    found = {
        row[0]: to_log_row(row, log_id)
        for row in connection.execute(
            f"SELECT {READ_COLUMNS} FROM battle_log WHERE id IN (SELECT value FROM json_each(?))",
            (_encode(ids).decode(),),
        )
    }
    return [found[cursor] for cursor in ids if cursor in found]
