"""Rows of `events` as events, and events as the columns of an append."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import FIRST_CONTENT_NUMBER, PROCESS_LOST_NUMBER, Event
from realm_telemetry.kinds.catalog import is_routine
from realm_telemetry.log.event_rows import INSERT_COLUMNS, Row
from realm_telemetry.log.postgres.connection import Session
from realm_telemetry.log.postgres.schema import HOUR_NS
from realm_telemetry.log.postgres.texts import from_stored, to_name, to_stored
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.text import cut_words, search_text
from realm_telemetry.values.rank import with_rank

READ: Final = (
    "SELECT e.id, e.event_id, e.time_unix_nano, e.observed_unix_nano, g.kind, g.channel,"
    " g.severity, e.source, e.hero_id, e.campaign_id, e.run_id, e.message, e.details::text,"
    " e.trace_id, e.span_id, e.trace_flags, e.origin_observed_unix_nano, e.rank"
    " FROM events AS e JOIN realm_groups AS g ON g.id = e.group_id"
)

COLUMNS: Final = (
    ("event_id", "uuid"),
    ("time_unix_nano", "bigint"),
    ("group_id", "integer"),
    ("hour", "bigint"),
    ("producer", "text"),
    ("number", "bigint"),
    ("is_content", "boolean"),
    ("is_lost", "boolean"),
    ("step", "bigint"),
    ("source", "text"),
    ("hero_id", "text"),
    ("campaign_id", "text"),
    ("run_id", "text"),
    ("message", "text"),
    ("details", "text"),
    ("trace_id", "text"),
    ("span_id", "text"),
    ("trace_flags", "bigint"),
    ("origin_observed_unix_nano", "bigint"),
    ("rank", "bigint"),
    ("words", "text"),
)
"""What an append gives the server of each event: one array a column.

number: as far as it is counted (`realm_producers.numbers`). words: separated by spaces.
"""

MAX_WORD_CHARS: Final = 255
"""Of a word in the index; what it finds is compared with the whole words."""

_MOST_COUNTED: Final = 2**63 - 2
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_AT: Final = {name: at for at, name in enumerate(INSERT_COLUMNS)}
_TIME, _SOURCE, _ORIGIN = _AT["time_unix_nano"], _AT["source"], _AT["origin_observed_unix_nano"]
_HERO, _CAMPAIGN, _RUN, _MESSAGE = (
    _AT[name] for name in ("hero_id", "campaign_id", "run_id", "message")
)
_DETAILS, _TRACE, _SPAN = (_AT[name] for name in ("details_json", "trace_id", "span_id"))

Group = tuple[str, str, str]
"""Kind, channel and severity, as they are stored."""


def group_of(row: Row) -> Group:
    """Return the group that a row belongs to."""
    return to_name(row[4]), to_name(row[5]), to_name(row[6])


def to_columns(
    events: Sequence[Event], rows: Sequence[Row], groups: dict[Group, int]
) -> list[list[Any] | None]:
    """Return the arrays of COLUMNS; None for one without any value.

    rows: of the events, in the order of INSERT_COLUMNS.
    Raises TypeError for values that are not of their column's type.
    """
    made: list[tuple[Any, ...]] = []
    for event, row in zip(events, rows, strict=True):
        number = event.number
        kind, time = row[4], row[_TIME]
        if type(time) is not int or not -(2**63) <= time < 2**63:
            raise OverflowError("time_unix_nano")
        step = event.details.get("step") if event.details else None
        source = row[_SOURCE]
        made.append(
            (
                row[0].hex(),
                time,
                groups[group_of(row)],
                time // HOUR_NS,
                event.producer,
                number if number <= _MOST_COUNTED else None,
                FIRST_CONTENT_NUMBER <= number < PROCESS_LOST_NUMBER,
                number == PROCESS_LOST_NUMBER,
                step if isinstance(step, int) and abs(step) < 2**63 else None,
                None if source == "event." + kind else to_name(source),
                _name(row[_HERO]),
                _name(row[_CAMPAIGN]),
                _name(row[_RUN]),
                to_stored(row[_MESSAGE]),
                row[_DETAILS],
                _name(row[_TRACE]),
                _name(row[_SPAN]),
                row[16],
                row[_ORIGIN],
                row[18],
                _words(event),
            )
        )
    return [
        None if all(value is None for value in values) else list(values)
        for values in zip(*made, strict=True)
    ]


def _name(text: str | None) -> str | None:
    return None if text is None else to_name(text)


def _words(event: Event) -> str | None:
    """The words that a search finds an event by; None for a routine kind."""
    if is_routine(event.kind):
        return None
    return " ".join({word[:MAX_WORD_CHARS] for word in cut_words(search_text(event))})


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
