"""Rows of `events` as events."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.log.postgres.connection import Session
from realm_telemetry.log.postgres.texts import from_stored
from realm_telemetry.log.rows import LogRow
from realm_telemetry.values.rank import with_rank

READ: Final = (
    "SELECT e.id, e.event_id, e.time_unix_nano, e.observed_unix_nano, g.kind, g.channel,"
    " g.severity, e.source, e.hero_id, e.campaign_id, e.run_id, e.message, e.details::text,"
    " e.trace_id, e.span_id, e.trace_flags, e.origin_observed_unix_nano, e.rank"
    " FROM events AS e JOIN realm_groups AS g ON g.id = e.group_id"
)

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def to_log_row(row: Sequence[Any]) -> LogRow:
    """Read a row of READ."""
    cursor, event_id, time, observed, kind, channel, severity, source, hero, campaign, run = row[
        :11
    ]
    message, details, trace, span, flags, origin, rank = row[11:]
    digits = event_id.hex
    event = Event(
        from_stored(kind),
        from_stored(channel),
        from_stored(severity),
        from_stored(message),
        _decode(details) if details else {},
        time,
        digits[:16],
        int(digits[16:], 16),
        _back(hero),
        _back(campaign),
        _back(run),
        _back(source),
        _back(trace),
        _back(span),
        flags or 0,
        (),
        observed if origin is None else origin,
    )
    return LogRow(cursor, event if rank is None else with_rank(event, rank), origin is not None)


def _back(text: str | None) -> str | None:
    return None if text is None else from_stored(text)


def read_rows(session: Session, ids: Sequence[int]) -> list[LogRow]:
    """The rows with these ids, in the order of `ids`; those that are gone are left out."""
    if not ids:
        return []
    found = {
        row[0]: to_log_row(row)
        for row in session.execute(f"{READ} WHERE e.id = ANY(?::bigint[])", (list(ids),))
    }
    return [found[cursor] for cursor in ids if cursor in found]


def rows_where(session: Session, where: str, params: Sequence[Any]) -> list[LogRow]:
    """The rows for which a piece of SQL is true."""
    return [to_log_row(row) for row in session.execute(f"{READ} WHERE {where}", params)]
