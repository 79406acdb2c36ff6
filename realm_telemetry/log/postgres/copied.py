"""Rows of a log in SQLite as the text that COPY takes, the same as an append would have stored."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from realm_telemetry.kinds.catalog import is_routine
from realm_telemetry.log.event_rows import Row
from realm_telemetry.log.postgres.columns import Group
from realm_telemetry.log.postgres.texts import MAX_WORD_CHARS, to_name, to_stored
from realm_telemetry.log.text import cut_words

COPY_EVENTS: Final = """
COPY events (id, event_id, time_unix_nano, observed_unix_nano, origin_observed_unix_nano, group_id,
    trace_flags, rank, hero_id, campaign_id, run_id, source, trace_id, span_id, message, details,
    words) FROM STDIN"""

_SPECIAL: Final = re.compile(r"[\\\t\n\r\b\f\v]")
_ESCAPED: Final = str.maketrans(
    {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\b": r"\b", "\f": r"\f", "\v": r"\v"}
)
_NULL: Final = r"\N"


def copied_rows(rows: Iterable[Row], group_id: Callable[[Group], int]) -> str:
    """Return rows for COPY_EVENTS. rows: in the order of log.sqlite.rows.READ_COLUMNS."""
    return "".join([_line(row, group_id) for row in rows])


def _line(row: Row, group_id: Callable[[Group], int]) -> str:
    cursor, event_id, time, observed, _timestamp, kind, channel, severity, source = row[:9]
    hero, campaign, run, _producer, message, details, trace, span, flags, origin, rank = row[9:]
    group = group_id((_name(kind), _name(channel), _name(severity)))
    if source == "event." + kind:
        source = None
    words = _NULL
    if not is_routine(kind):
        words = _words((message, kind, source, hero, campaign, run), details)
    fields = (
        str(cursor),
        event_id.hex(),
        str(time),
        str(observed),
        _NULL if origin is None else str(origin),
        str(group),
        str(flags) if flags else _NULL,
        _NULL if rank is None else str(rank),
        _NULL if hero is None else _escaped_name(hero),
        _NULL if campaign is None else _escaped_name(campaign),
        _NULL if run is None else _escaped_name(run),
        _NULL if source is None else _escaped_name(source),
        trace or _NULL,
        span or _NULL,
        escaped(to_stored(message)),
        escaped(details) if details else _NULL,
        words,
    )
    return "\t".join(fields) + "\n"


def _words(texts: Sequence[str | None], details: str | None) -> str:
    """Return the words that a search finds an event by, as a tsvector; see log.text.search_text."""
    if details and "\\" in details:
        # Other software escapes what is no ASCII; we do not.
        details = msgspec.json.encode(msgspec.json.decode(details)).decode()
    text = "\n".join(filter(None, (*texts, details)))
    words = {word[:MAX_WORD_CHARS] for word in cut_words(text)}
    return "'" + "' '".join(words) + "'" if words else ""


def escaped(text: str) -> str:
    """Return a text as it stands in a column of COPY."""
    return text.translate(_ESCAPED) if _SPECIAL.search(text) else text


@lru_cache(maxsize=10_000)
def _escaped_name(text: str) -> str:
    return escaped(to_name(text))


@lru_cache(maxsize=10_000)
def _name(text: str) -> str:
    return to_name(text)


def range_text(pairs: Iterable[tuple[int, int]], most: int) -> str:
    """Return ranges of numbers, ends included, as a multirange; those above `most` are left out."""
    return (
        "{" + ",".join(f"[{first},{min(end, most)}]" for first, end in pairs if first <= most) + "}"
    )


def stored(value: Any) -> Any:
    """Return a value as a column takes it."""
    return to_stored(value) if type(value) is str else value
