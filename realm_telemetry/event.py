"""Events as plain data: what happened, and nothing about how it travels."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import msgspec

Channel = Literal[
    "system", "jobs", "training", "eval", "vault", "guild", "debug", "data", "checkpoint"
]
Severity = Literal["info", "success", "warning", "error"]

CHANNELS: Final[tuple[str, ...]] = get_args(Channel)
SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)

_HEX: Final = frozenset("0123456789abcdefABCDEF")

_YEAR_1: Final = -62_135_596_800
_YEAR_9999: Final = 253_402_300_799

LATE_AFTER_NS: Final = 60 * 1_000_000_000
"""An event that arrives this long after its time is late."""

PROCESS_LOST_NUMBER: Final = 2**64 - 1
"""The number of a producer's `process_lost` event, so that it can never come twice."""

FINAL_DROPS_NUMBER: Final = 2**64 - 2
"""The number of the `events_dropped` event that a shipper makes at a producer's end."""

FIRST_CONTENT_NUMBER: Final = 2**63
"""Numbers from here on, but for `process_lost`, are made of a record's uid or content.

They count nothing, so a receipt has no use for them.
"""


class InvalidEventError(ValueError):
    """The caller handed over something that is not an event; the message names the field."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened.

    time_unix_nano: when, wall clock, as the producer read it.
    producer, number: together the event id; producer is 16 hex digits, its events are
        numbered 1, 2, 3 ... (unsigned 64 bit).
    details: JSON values only; string keys.
    observed_unix_nano: when it arrived in the log; None before.
    rank: of the producer among the processes of its run, from 0; None for one without.
    trace_id, span_id: 32 and 16 hex digits, or None.
    webhooks: addresses asked for at `emit`; secrets, never shown.
    """

    kind: str
    channel: str
    severity: str
    message: str
    details: dict[str, Any]
    time_unix_nano: int
    producer: str
    number: int
    hero_id: str | None = None
    campaign_id: str | None = None
    run_id: str | None = None
    source: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    trace_flags: int = 0
    webhooks: tuple[str, ...] = ()
    observed_unix_nano: int | None = None
    rank: int | None = None

    @property
    def id(self) -> str:
        """The event id, 32 hex digits: the idempotency key everywhere."""
        return f"{self.producer}{self.number:016x}"

    @property
    def timestamp(self) -> str:
        """The time as UTC text, microseconds: `2025-11-29T00:00:00.000000Z`."""
        return format_time(self.time_unix_nano)

    @property
    def late(self) -> bool:
        """Whether it arrived over 60 s after its time."""
        arrival = self.observed_unix_nano
        return arrival is not None and arrival - self.time_unix_nano > LATE_AFTER_NS


def format_time(time_unix_nano: int) -> str:
    """Write a time as the battle log does: UTC, six fractional digits, `Z`.

    Times outside the years 1 to 9999 are written as the nearest of them.
    """
    seconds, nanos = divmod(time_unix_nano, 1_000_000_000)
    return f"{_format_second(seconds)}.{nanos // 1000:06d}Z"


@lru_cache(maxsize=256)
def _format_second(seconds: int) -> str:
    """Events come in bursts: of all the work on a time, this is done once a second."""
    moment = datetime.fromtimestamp(min(max(seconds, _YEAR_1), _YEAR_9999), UTC)
    return moment.isoformat()[: len("2025-11-29T00:00:00")]


def split_event_id(event_id: str) -> tuple[str, int]:
    """Take an event id apart into producer and number.

    Raises InvalidEventError unless it is 32 hex digits.
    """
    if len(event_id) != 32 or not _HEX.issuperset(event_id):
        raise InvalidEventError(f"event id must be 32 hex digits, got {event_id!r}")
    return event_id[:16].lower(), int(event_id[16:], 16)
