"""Events as rows of `battle_log`, and back."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event, InvalidEventError, format_time
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.older import older_kind, older_producer, older_time
from realm_telemetry.values.details import force_clean, safe_text
from realm_telemetry.values.rank import rank_of, to_rank, with_rank

INSERT_COLUMNS: Final = (
    "event_id",
    "time_unix_nano",
    "observed_unix_nano",
    "timestamp",
    "kind",
    "channel",
    "severity",
    "source",
    "hero_id",
    "campaign_id",
    "run_id",
    "producer",
    "message",
    "details_json",
    "trace_id",
    "span_id",
    "trace_flags",
    "origin_observed_unix_nano",
    "rank",
)
READ_COLUMNS: Final = ", ".join(("id", *INSERT_COLUMNS))

Row = tuple[Any, ...]

_TIMES: Final = (-(2**63), 2**63 - 1)
_NEEDED_FIELDS: Final = ("kind", "channel", "severity", "message")
_TEXT_FIELDS: Final = (
    *_NEEDED_FIELDS,
    "hero_id",
    "campaign_id",
    "run_id",
    "source",
    "trace_id",
    "span_id",
)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


def to_rows(
    events: Sequence[Event], observed_unix_nano: int, *, keep_arrival: bool = False
) -> list[Row]:
    """One tuple per event, in the order of INSERT_COLUMNS.

    keep_arrival: whether the arrivals that the events bring are kept beside the one here.
    The hot path of the writer: about 2 us an event, so nothing is checked here. Values that SQLite
    or JSON cannot take raise TypeError, ValueError or OverflowError; see `mended`.
    """
    rows: list[Row] = []
    add = rows.append
    second, text = None, ""
    producer, producer_bytes = None, b""
    for event in events:
        time = event.time_unix_nano
        if time // 1_000_000_000 != second:
            second = time // 1_000_000_000
            text = format_time(time)[:-7]
        if event.producer != producer:
            producer = event.producer
            producer_bytes = _producer_bytes(producer)
        kind = event.kind
        details = event.details
        add(
            (
                producer_bytes + event.number.to_bytes(8, "big"),
                time,
                observed_unix_nano,
                f"{text}{time % 1_000_000_000 // 1000:06d}Z",
                kind,
                event.channel,
                event.severity,
                # The column cannot be NULL, and this is what the older bus wrote.
                event.source or "event." + kind,
                event.hero_id,
                event.campaign_id,
                event.run_id,
                producer,
                event.message,
                _encode(details).decode() if details else None,
                event.trace_id,
                event.span_id,
                event.trace_flags or None,
                event.observed_unix_nano or observed_unix_nano if keep_arrival else None,
                rank_of(event),
            )
        )
    return rows


def mended(event: Event) -> Event:
    """The event with values that SQLite and JSON take; raises InvalidEventError without an id."""
    _producer_bytes(event.producer)
    if not 0 <= event.number < 2**64:
        raise InvalidEventError(f"number must fit 64 bits, got {event.number}")
    changes: dict[str, Any] = {
        name: safe_text(str(value))
        for name in _TEXT_FIELDS
        if (value := getattr(event, name)) is not None or name in _NEEDED_FIELDS
    }
    changes["details"] = force_clean(event.details)[0]
    changes["time_unix_nano"] = min(max(event.time_unix_nano, _TIMES[0]), _TIMES[1])
    changes["trace_flags"] = event.trace_flags & 0xFFFFFFFF
    changes = changes if to_rank(rank_of(event)) == rank_of(event) else changes | {"rank": None}
    return msgspec.structs.replace(event, **changes)


def check_rows(events: Sequence[Event]) -> None:
    """Make the rows of events as an append does, and store none; raises what it would raise."""
    try:
        to_rows(events, 0)
    except (TypeError, ValueError, OverflowError):
        to_rows([mended(event) for event in events], 0)


def to_log_row(row: Row, log_id: str) -> LogRow:
    """Read a tuple in the order of READ_COLUMNS, filled in or still as older code left it."""
    cursor, event_id, time, observed, timestamp, kind, channel, severity, source = row[:9]
    hero, campaign, run, producer, message, details, trace, span, flags, origin, rank = row[9:]
    if event_id is None:
        kind, producer, number = older_kind(source), older_producer(log_id), cursor
        time = observed = older_time(timestamp) or 0
    else:
        number = int.from_bytes(event_id[8:], "big")
    event = Event(
        kind,
        channel,
        severity,
        message,
        _details(details),
        time,
        producer,
        number,
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


def event_id_bytes(producer: str, number: int) -> bytes:
    """An event id as the log keeps it, 16 bytes."""
    return _producer_bytes(producer) + number.to_bytes(8, "big")


def read_rows(connection: sqlite3.Connection, ids: Sequence[int], log_id: str) -> list[LogRow]:
    """The rows with these ids, in the order of `ids`; those that are gone are left out."""
    found = {
        row[0]: row
        for row in connection.execute(
            f"SELECT {READ_COLUMNS} FROM battle_log WHERE id IN (SELECT value FROM json_each(?))",
            (_encode(ids).decode(),),
        )
    }
    return [to_log_row(found[cursor], log_id) for cursor in ids if cursor in found]


def _details(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    try:
        details = _decode(text)
    except msgspec.DecodeError:
        # Older code could write anything here; it is shown as it stands.
        return {"details": text}
    return details if isinstance(details, dict) else {"details": details}


def _producer_bytes(producer: str) -> bytes:
    try:
        value = bytes.fromhex(producer)
    except ValueError:
        value = b""
    if len(value) != 8:
        raise InvalidEventError(f"producer must be 16 hex digits, got {producer!r}")
    return value
