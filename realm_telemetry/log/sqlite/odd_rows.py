"""Rows that this package did not write: each becomes an event that can be shown.

Whatever stands in a column, the event keeps what can be read of it. What cannot be is named in the
detail `realm.unreadable`, and the row's neighbours are read as if it were not there.
"""

import json
from typing import Any, Final

import msgspec

from realm_telemetry.event import SEVERITIES, Event
from realm_telemetry.kinds.catalog import resolve
from realm_telemetry.log.has import Has
from realm_telemetry.log.rows import UNREADABLE, LogRow
from realm_telemetry.log.sqlite.foreign_text import OddText
from realm_telemetry.log.sqlite.older import OLDER_KIND, older_kind, older_producer, older_time
from realm_telemetry.values.details import (
    MAX_DETAILS,
    MESSAGE_MARK,
    are_plain_values,
    force_clean,
    mark_truncated,
)
from realm_telemetry.values.rank import to_rank, with_rank

MAX_CELL_CHARS: Final = 1_048_576
"""Characters read of one column: as many bytes as a service takes for an event."""

_KEPT_CHARS: Final = 65_536
"""Characters kept of a longer one, and bytes of a BLOB where text is expected."""

HAS_FUNCTION: Final = "realm_has"
"""The SQL function `has_detail` of every connection for reading."""

_INT64: Final = (-(2**63), 2**63 - 1)
_HEX: Final = frozenset("0123456789abcdef")
_STORED_AS: Final = {bytes: "a BLOB", int: "a number", float: "a number"}
_decode: Final = msgspec.json.Decoder().decode


def has_plain_trace(trace: Any, span: Any, flags: Any, origin: Any) -> bool:
    """Whether the trace context and the first arrival of a row are as this package writes them."""
    return (
        (trace is None or _is_hex(trace, 32))
        and (span is None or _is_hex(span, 16))
        and (flags is None or (type(flags) is int and 0 <= flags < 2**32))
        and (origin is None or type(origin) is int)
    )


def read_details(text: str) -> dict[str, Any]:
    """Return the details in a text that may be no JSON object, or beyond the limits of an event."""
    if len(text) > MAX_CELL_CHARS:
        return _shown_as_text(text, f"details_json has {len(text):,} characters")
    try:
        details = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        details = _decode_leniently(text)
    if not isinstance(details, dict):
        details = {"details": details}
    return details if are_plain_values(details.values()) else force_clean(details)[0]


def details_of(value: Any) -> dict[str, Any]:
    """Return the details in a column of any type."""
    if type(value) is str:
        return read_details(value) if value else {}
    return _Reading().details(value)


def has_detail(raw: bytes | None, path: str, value: str) -> bool:
    """Whether a column of details, as a BLOB, has a value at a path."""
    if not raw:
        return False
    return Has(path, value).matches(read_details(raw.decode("utf-8", "replace")))


def odd_row(row: tuple[Any, ...], log_id: str) -> LogRow:
    """Read a row of any values: of an older table, still to be filled in, or of other software."""
    read = _Reading()
    event = _plain_columns(read, row, log_id)
    details, _trace, _span, _flags, origin, rank = row[14:]
    event = with_rank(event, read.rank(rank))
    # Last, because they say what is wrong with the other columns.
    event = msgspec.structs.replace(event, details=read.details(details))
    return LogRow(row[0], event, origin is not None)


def _plain_columns(read: "_Reading", row: tuple[Any, ...], log_id: str) -> Event:
    """Return the event of a row, but for its details and rank."""
    cursor, event_id, time, observed, timestamp, kind, channel, severity, source = row[:9]
    hero, campaign, run, producer, message, _details, trace, span, flags, origin, _rank = row[9:]
    source = read.name("source", source, "")
    kind = read.name("kind", kind, OLDER_KIND) if event_id is not None else older_kind(source)
    producer, number = read.identity(event_id, producer, log_id, cursor)
    is_new = event_id is not None
    happened = read.time("time_unix_nano", time) if is_new else _older_time(timestamp)
    arrived = read.time("observed_unix_nano", observed) if is_new else happened
    first_arrived = None if origin is None else read.time("origin_observed_unix_nano", origin)
    return Event(
        kind,
        read.name("channel", channel, resolve(kind)[0]),
        read.severity(severity, resolve(kind)[1]),
        read.message(message),
        {},
        happened,
        producer,
        number,
        read.text_or_none("hero_id", hero),
        read.text_or_none("campaign_id", campaign),
        read.text_or_none("run_id", run),
        None if source == "event." + kind else source,
        read.hex_or_none("trace_id", trace, 32),
        read.hex_or_none("span_id", span, 16),
        read.flags(flags),
        (),
        arrived if first_arrived is None else first_arrived,
    )


class _Reading:
    """One row: its columns as fields of an event, and what is wrong with them."""

    def __init__(self) -> None:
        self._wrong: list[str] = []
        self._given: dict[str, Any] = {}
        self._is_cut = False

    def name(self, column: str, value: Any, default: str) -> str:
        """Return a column that every row should have as text."""
        text = self.text_or_none(column, value)
        if text:
            return text
        if text is None:
            self._wrong.append(f"{column} is missing")
        elif default:
            self._wrong.append(f"{column} is empty")
        return default

    def text_or_none(self, column: str, value: Any) -> str | None:
        """Return a column as text, as far as it can be read."""
        if value is None:
            return None
        if type(value) is str:
            return self._within(value)
        if isinstance(value, OddText):
            self._wrong.append(f"{column} is not UTF-8")
            return self._within(str.__str__(value))
        self._wrong.append(f"{column} is {_STORED_AS[type(value)]}")
        if isinstance(value, bytes):
            return self._within(value[: MAX_CELL_CHARS + 1].decode("utf-8", "replace"))
        return str(value)

    def severity(self, value: Any, default: str) -> str:
        """Return a severity that there is; another word is kept among the details.

        Unlike those of channels, severities have an order, which other systems want to know.
        """
        word = self.name("severity", value, default)
        if word in SEVERITIES:
            return word
        self._given["given_severity"] = word
        return default

    def message(self, value: Any) -> str:
        """Return the message; one that is empty is nothing wrong."""
        text = self.text_or_none("message", value)
        if text is None:
            self._wrong.append("message is missing")
        return text or ""

    def time(self, column: str, value: Any) -> int:
        """Return a time in ns since 1970, the nearest that 64 bits hold."""
        if type(value) is int:
            return value
        if value is None:
            self._wrong.append(f"{column} is missing")
            return 0
        try:
            moment = int(value)
        except (ValueError, OverflowError):
            self._wrong.append(f"{column} is no time")
            return 0
        self._wrong.append(f"{column} is no whole number")
        return min(max(moment, _INT64[0]), _INT64[1])

    def identity(self, event_id: Any, producer: Any, log_id: str, cursor: int) -> tuple[str, int]:
        """Return producer and number; of a row without a proper id those that lead to it."""
        if event_id is None:
            return older_producer(log_id), cursor
        if not isinstance(event_id, bytes) or len(event_id) != 16:
            self._wrong.append("event_id has not 16 bytes")
            return older_producer(log_id), cursor
        if producer != event_id[:8].hex():
            self._wrong.append("producer is not that of event_id")
        return event_id[:8].hex(), int.from_bytes(event_id[8:], "big")

    def hex_or_none(self, column: str, value: Any, digits: int) -> str | None:
        """Return an id of a trace; None for what is none."""
        if value is None or _is_hex(value, digits):
            return value  # type: ignore[no-any-return]
        self._wrong.append(f"{column} has not {digits} hex digits")
        return None

    def flags(self, value: Any) -> int:
        """Return the flags of a trace."""
        if value is None or (type(value) is int and 0 <= value < 2**32):
            return value or 0
        self._wrong.append("trace_flags is no number of 32 bits")
        return 0

    def rank(self, value: Any) -> int | None:
        """Return the rank; None for what is none."""
        rank = to_rank(value)
        if value is not None and rank is None:
            self._wrong.append("rank is no rank")
        return rank

    def details(self, value: Any) -> dict[str, Any]:
        """Return the details, with what is wrong among them."""
        text = value if type(value) is str else self.text_or_none("details_json", value)
        details = (read_details(text) if text else {}) | self._given
        if self._is_cut:
            details = mark_truncated(details, [MESSAGE_MARK])
        if self._wrong:
            if UNREADABLE not in details and len(details) >= MAX_DETAILS:
                details.popitem()
            earlier = details.get(UNREADABLE)
            details[UNREADABLE] = "; ".join([*([str(earlier)] if earlier else []), *self._wrong])
        return details

    def _within(self, text: str) -> str:
        if len(text) <= MAX_CELL_CHARS:
            return text
        self._is_cut = True
        return text[:_KEPT_CHARS] + "…"


def _older_time(timestamp: Any) -> int:
    return older_time(timestamp) or 0 if isinstance(timestamp, str) else 0


def _is_hex(value: Any, digits: int) -> bool:
    return type(value) is str and len(value) == digits and _HEX.issuperset(value)


def _decode_leniently(text: str) -> Any:
    """Read what Python's own JSON took: NaN, infinities, halves of emoji. Else the text itself.

    Older code could write anything here; what is no JSON is shown as it stands.
    """
    try:
        return force_clean({"details": json.loads(text)})[0]["details"]
    except RecursionError:
        return _shown_as_text(text, "details_json is nested too deep")
    except ValueError:
        return text


def _shown_as_text(text: str, reason: str) -> dict[str, Any]:
    return {"details": text[:_KEPT_CHARS] + "…" * (len(text) > _KEPT_CHARS), UNREADABLE: reason}
