"""Events as what one append gives the server: a parameter a column, not a value a row.

Texts of a column go as one string, which the server cuts at a separator: that costs a tenth of an
array of texts here. Numbers and ids go as arrays in the server's binary form.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any, Final, NamedTuple

from realm_telemetry.event import FIRST_CONTENT_NUMBER, Event
from realm_telemetry.kinds.catalog import is_routine
from realm_telemetry.log.event_rows import INSERT_COLUMNS, Row
from realm_telemetry.log.postgres.texts import (
    MAX_NAME_BYTES,
    MAX_WORD_CHARS,
    is_storable,
    to_name,
    to_stored,
)
from realm_telemetry.log.text import cut_words

_AT: Final = {name: at for at, name in enumerate(INSERT_COLUMNS)}
_KIND: Final = _AT["kind"]
_SURELY_SHORT: Final = MAX_NAME_BYTES // 4
_INT8, _INT4, _UUID = 20, 23, 2950
"""Types of the server (pg_type.dat)."""

Group = tuple[str, str, str]
"""Kind, channel and severity."""


class _Array(bytes):
    """An array in binary form."""


class Int8Array(_Array):
    """A bigint[]."""


class Int4Array(_Array):
    """An integer[]."""


class UuidArray(_Array):
    """A uuid[]."""


ARRAYS: Final = ((Int8Array, 1016), (Int4Array, 1007), (UuidArray, 2951))
"""The arrays, and their types of the server (pg_type.dat)."""


class Columns(NamedTuple):
    """The parameters of one append.

    whole: whether what a reader gets is what was given; no name was too long.
    """

    values: dict[str, Any]
    whole: bool


class _Ambiguous(Exception):
    """A text has the separator, or is what stands for none."""


class _Texts:
    """Makes one string of a column's texts."""

    def __init__(self, separator: str, none: str) -> None:
        self.separator = separator
        self.none = none
        self.whole = True

    def join(self, given: Sequence[str | None], *, is_stored: bool = False) -> str | None:
        """Return the texts as one; None if none is there."""
        values, nones = given, given.count(None)
        if nones == len(given):
            return None
        if nones:
            values = [self.none if value is None else value for value in given]
        if len(values) == 1:
            values = [*values, self.none]  # the server takes an empty string for no text at all
            nones += 1
        joined = self.separator.join(values)  # type: ignore[arg-type]
        if not (is_stored or is_storable(joined)):
            stored = [None if text is None else to_stored(text) for text in given]
            return self.join(stored, is_stored=True)
        if joined.count(self.separator) != len(values) - 1 or joined.count(self.none) != nones:
            raise _Ambiguous
        return joined

    def names(self, given: Sequence[str | None]) -> str | None:
        """Return names as one text; those that no index takes are cut."""
        longest = max((len(name) for name in given if name is not None), default=0)
        if longest > _SURELY_SHORT:
            self.whole = False
            short = [None if name is None else to_name(name) for name in given]
            return self.join(short, is_stored=True)
        return self.join(given)


def to_columns(
    events: Sequence[Event], rows: Sequence[Row], groups: Mapping[Group, int]
) -> Columns:
    """Return the columns of events.

    rows: of the events, in the order of INSERT_COLUMNS. groups: the number of each of theirs.
    Raises TypeError, ValueError or OverflowError for values that are not of their column's type.
    """
    try:
        return _columns(events, rows, groups, _Texts("\x1e", "\x1d"))
    except _Ambiguous:
        mark = token_hex(16)
        return _columns(events, rows, groups, _Texts(f"\x1e{mark}", f"\x1d{mark}"))


def _columns(
    events: Sequence[Event], rows: Sequence[Row], groups: Mapping[Group, int], texts: _Texts
) -> Columns:
    given = dict(zip(INSERT_COLUMNS, zip(*rows, strict=True), strict=True))
    producers = given["producer"]
    is_one = producers.count(producers[0]) == len(producers)
    details = given["details_json"]
    values = {
        "separator": texts.separator,
        "none": texts.none,
        "event_id": UuidArray(_uuids(given["event_id"])),
        "time_unix_nano": Int8Array(_integers(given["time_unix_nano"], "q", _INT8)),
        "group_id": Int4Array(_integers(_groups(rows, groups), "i", _INT4)),
        "number": Int8Array(_integers([_signed(event.number) for event in events], "q", _INT8)),
        "producer": None if is_one else texts.join(producers),
        "producers": list(dict.fromkeys(producers)),
        "only": producers[0],
        "step": _few([_step(event) for event in events]),
        "source": texts.names(_sources(events)),
        "hero_id": texts.names(given["hero_id"]),
        "campaign_id": texts.names(given["campaign_id"]),
        "run_id": texts.names(given["run_id"]),
        "message": texts.join(given["message"]),
        "details": texts.join(details),
        "trace_id": texts.names(given["trace_id"]),
        "span_id": texts.names(given["span_id"]),
        "trace_flags": _few(given["trace_flags"]),
        "origin_observed_unix_nano": _few(given["origin_observed_unix_nano"]),
        "rank": _few(given["rank"]),
        "words": texts.join([*map(_words, events, details)]),
    }
    return Columns(values, texts.whole)


def _uuids(ids: Sequence[bytes]) -> bytes:
    length = b"\0\0\0\x10"
    return _head(_UUID, len(ids)) + length + length.join(ids)


def _integers(numbers: Sequence[int], code: str, oid: int) -> bytes:
    count = len(numbers)
    pairs = [struct.calcsize(f">{code}")] * (2 * count)
    pairs[1::2] = numbers
    try:
        return _head(oid, count) + struct.pack(f">{f'i{code}' * count}", *pairs)
    except struct.error as error:
        raise TypeError(str(error)) from error


def _head(oid: int, count: int) -> bytes:
    """One dimension, no NULL, from 1 on (array_recv in arrayfuncs.c)."""
    return struct.pack(">iiIii", 1, 0, oid, count, 1)


def _groups(rows: Iterable[Row], groups: Mapping[Group, int]) -> list[int]:
    return [groups[row[_KIND : _KIND + 3]] for row in rows]


def group_of(row: Row) -> Group:
    """Return the group that a row belongs to."""
    kind, channel, severity = row[_KIND : _KIND + 3]
    return kind, channel, severity


def _signed(number: int) -> int:
    """A number as the server has it: those that count nothing are negative."""
    return number if number < FIRST_CONTENT_NUMBER else number - 2**64


def _step(event: Event) -> int | None:
    step = event.details.get("step") if event.details else None
    return step if isinstance(step, int) and abs(step) < 2**63 else None


def _sources(events: Sequence[Event]) -> list[str | None]:
    """Sources; None for the default, as for one that is not given."""
    found: list[str | None] = [event.source for event in events]
    if found.count(None) == len(found):
        return found
    return [
        None if not source or source == f"event.{event.kind}" else source
        for source, event in zip(found, events, strict=True)
    ]


def _few(values: Sequence[int | None]) -> str | None:
    """Numbers that are seldom there, as an array's text; None if none is there."""
    if values.count(None) == len(values):
        return None
    shown = ",".join("NULL" if value is None else f"{value:d}" for value in values)
    return f"{{{shown}}}"


def _words(event: Event, details: str | None) -> str | None:
    """The words that a search finds an event by; None for a routine kind."""
    if is_routine(event.kind):
        return None
    names = (event.kind, event.source, event.hero_id, event.campaign_id, event.run_id)
    text = "\n".join((event.message, *filter(None, names), details or ""))
    return " ".join({word[:MAX_WORD_CHARS] for word in cut_words(text)})
