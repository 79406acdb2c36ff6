"""Events as rows for the log's table, whatever the engine: within the limits, and storable."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event, InvalidEventError, format_time
from realm_telemetry.values.details import are_plain, force_clean, safe_text, within_limits
from realm_telemetry.values.rank import rank_of, to_rank

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

Row = tuple[Any, ...]

_SURELY_FIT: Final = 8_000
"""Characters of a message, and of details as JSON, that are within the limits of an event's bytes.
"""
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


def to_rows(
    events: list[Event], observed_unix_nano: int, *, keep_arrival: bool = False
) -> list[Row]:
    """One tuple per event, in the order of INSERT_COLUMNS.

    events: those that are brought within the limits of `emit` here are replaced in it.
    keep_arrival: whether the arrivals that the events bring are kept beside the one here.
    The hot path of the writer: about 3 us an event, so other fields are not checked. Values that
    SQLite cannot take raise TypeError, ValueError or OverflowError; see `mended`.
    """
    rows: list[Row] = []
    add = rows.append
    second, text = None, ""
    producer, producer_bytes = None, b""
    for position, event in enumerate(events):
        time = event.time_unix_nano
        if time // 1_000_000_000 != second:
            second = time // 1_000_000_000
            text = format_time(time)[:-7]
        if event.producer != producer:
            producer = event.producer
            producer_bytes = _producer_bytes(producer)
        details, json = event.details, None
        if details:
            if not are_plain(details):
                event = events[position] = within_limits(event)
                details = event.details
            json = _encode(details).decode()
            if len(json) > _SURELY_FIT or len(event.message) > _SURELY_FIT:
                event = events[position] = within_limits(event)
                json = _encode(event.details).decode()
        elif len(event.message) > _SURELY_FIT:
            event = events[position] = within_limits(event)
            json = _encode(event.details).decode() if event.details else None
        kind = event.kind
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
                json,
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
        to_rows(list(events), 0)
    except (TypeError, ValueError, OverflowError):
        to_rows([mended(event) for event in events], 0)


def event_id_bytes(producer: str, number: int) -> bytes:
    """An event id as the log keeps it, 16 bytes."""
    return _producer_bytes(producer) + number.to_bytes(8, "big")


def _producer_bytes(producer: str) -> bytes:
    try:
        value = bytes.fromhex(producer)
    except ValueError:
        value = b""
    if len(value) != 8:
        raise InvalidEventError(f"producer must be 16 hex digits, got {producer!r}")
    return value
