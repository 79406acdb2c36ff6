"""What travels besides events: their producers, and what became of a batch."""

from typing import Any

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import KindSpec


class BatchProducer(msgspec.Struct, frozen=True):
    """A producer whose events are in a batch, as its receiver's log registers it.

    resource: OpenTelemetry resource attributes, JSON values.
    history: whether it asked for its events to be kept.
    emitted, dropped: its receipt, None where the sender does not know.
    """

    producer: str
    pipeline: str = ""
    resource: dict[str, Any] = {}
    history: bool = False
    clock_offset_ns: int = 0
    emitted: int | None = None
    dropped: int | None = None
    ended: bool = False


class Rejected(msgspec.Struct, frozen=True):
    """An event that will never be accepted, and why."""

    event_id: str
    reason: str


class Batch(msgspec.Struct, frozen=True):
    """A decoded batch.

    kinds: of the events, where producers registered them.
    rejected: those whose values no event can have, each whole; they are not among `events`.
    log_id: of the log that the sender reads; empty for a sender without one.
    """

    events: list[Event]
    producers: list[BatchProducer] = []
    rejected: list[Rejected] = []
    kinds: list[KindSpec] = []
    log_id: str = ""


class BatchAnswer(msgspec.Struct, frozen=True):
    """What became of a batch; duplicates are as good as accepted."""

    accepted: int
    duplicates: int = 0
    rejected: list[Rejected] = []
    log_id: str = ""
