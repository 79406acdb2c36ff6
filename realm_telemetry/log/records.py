"""What the log keeps beside events: every engine takes and returns these."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from realm_telemetry.event import Event

MAX_BATCH: Final = 1000
"""The most events one transaction should hold; more keeps other writers waiting."""


class Moved(msgspec.Struct, frozen=True):
    """Where the events of a log went; it goes on under another id.

    place: a URL without secrets. log_id: of the moved log. cursor: of the last row that it has.
    """

    place: str
    log_id: str
    cursor: int


class Description(msgspec.Struct, frozen=True):
    """What `realm doctor` shows of a log.

    place: a path or a URL without secrets.
    size_bytes: on disk. durability: what a commit survives.
    version, newest_version: of its tables, and of those that this package makes.
    moved: where its events went, if `realm log move` has moved them.
    """

    place: str
    size_bytes: int
    durability: str
    version: int
    newest_version: int
    moved: Moved | None = None

    @property
    def is_current(self) -> bool:
        """Whether a reader can open it; otherwise the next writer brings it up to date."""
        return self.version >= self.newest_version


class Concern(msgspec.Struct, frozen=True):
    """What a person should know of the place of a log, and what to do about it."""

    level: Literal["warning", "problem"]
    message: str
    fix: str


class RefusedEvent(msgspec.Struct, frozen=True):
    """An event that was not stored and is no duplicate of one that is.

    position: in the batch that was appended.
    """

    position: int
    event_id: str
    reason: str


class AppendResult(msgspec.Struct, frozen=True):
    """The outcome of an append.

    first_cursor, last_cursor: of the rows it stored; both 0 if it stored none.
    observed_unix_nano: the arrival that it gave them.
    refused: those that are neither stored nor duplicates.
    events: those that it stored, as they were stored; empty if some of the batch were not, or if
        only their rows tell all: of another log's arrival, or behind a step back of the clock.
    """

    first_cursor: int
    last_cursor: int
    stored: int
    duplicates: int
    observed_unix_nano: int
    refused: tuple[RefusedEvent, ...] = ()
    events: Sequence[Event] = ()


HISTORY_PIPELINES: Final = frozenset({"import", "replay"})
"""Pipelines of producers whose events were imported or replayed: nothing is fired for them."""


class ProducerInfo(msgspec.Struct, frozen=True):
    """One run of one process.

    history: whether its events are kept once every exporter of the pipeline has them.
    clock_offset_ns: what to add to its times to get this host's.
    origin: the log_id of the log that its first events came from, empty for a sender without one;
        None for a producer of this log.
    ended: whether its end was reported. last_*: of the last event stored.
    """

    producer: str
    pipeline: str = ""
    resource: dict[str, Any] = {}
    history: bool = True
    clock_offset_ns: int = 0
    ended: bool = False
    last_kind: str | None = None
    last_step: int | None = None
    last_time_unix_nano: int | None = None
    origin: str | None = None

    @property
    def brings_history(self) -> bool:
        """Whether its events were imported or replayed, here or on the host they came from."""
        return self.pipeline.rpartition("/")[2] in HISTORY_PIPELINES


class Receipt(msgspec.Struct, frozen=True):
    """What became of a producer's events.

    emitted: the number of its last event, None until the producer has reported it.
    stored: how many of its events the log has stored, including those that retention has removed.
    dropped: refused for want of room; they have no numbers.
    complete: every number from 1 to `emitted` is stored (or needed no row), and none was dropped.
    clock_offset_ns: what to add to its times to get this host's.
    """

    producer: str
    pipeline: str
    emitted: int | None
    stored: int
    dropped: int
    ended: bool
    complete: bool
    clock_offset_ns: int = 0


Skipped = Mapping[str, Iterable[tuple[int, int]]]
"""Number ranges by producer that need no row."""


class LiveProducer(msgspec.Struct, frozen=True):
    """A producer that has not ended.

    emitted: None until the producer has reported it; those of this host do so when they end.
    """

    producer: str
    service_name: str
    emitted: int | None
    stored: int
    dropped: int


class ReceiptTotals(msgspec.Struct, frozen=True):
    """Sums over all producers.

    emitted, stored: of producers that have reported how many events they emitted.
    stored_so_far: of the others. incomplete: producers of which reported events are missing.
    newest_live: the 50 live ones with the newest events.
    """

    producers: int
    live: int
    emitted: int
    stored: int
    stored_so_far: int
    dropped: int
    incomplete: int
    newest_live: list[LiveProducer]


class DeadLetter(msgspec.Struct, frozen=True):
    """An event that an exporter rejected for good.

    event_id: 32 hex digits, None if the row was gone already.
    """

    pipeline: str
    exporter: str
    cursor: int
    event_id: str | None
    reason: str
    time_unix_nano: int


class Refusal(msgspec.Struct, frozen=True):
    """Events that a receiver rejected without naming them.

    count: since the log began. reason: the last one given.
    """

    exporter: str
    count: int
    reason: str


class OddRows(msgspec.Struct):
    """Rows of other software with columns that cannot be read, among those looked at.

    named: cursor of the first few, and what is wrong. is_complete: whether all rows were looked at.
    """

    looked_at: int = 0
    count: int = 0
    named: list[tuple[int, str]] = []
    is_complete: bool = False


class SideFile(msgspec.Struct, frozen=True):
    """A file that an engine keeps beside the log.

    problem: empty if nothing is wrong. fix: what a person can do.
    """

    place: str
    problem: str = ""
    fix: str = ""


_DAY_NS: Final = 24 * 3600 * 1_000_000_000
_NO_BOUND: Final = 2**62


class Limits(msgspec.Struct, frozen=True):
    """What the log may keep.

    max_age_ns: since arrival. max_bytes: of the log's own rows, estimated.
    least_age_ns: for how long rows that are not routine stay, however large the log is.
    thin_after_ns: since arrival, when routine kinds are thinned though the log is not too large;
        None for never.
    """

    max_age_ns: int = 30 * _DAY_NS
    max_bytes: int = 2 * 1024**3
    least_age_ns: int = _DAY_NS
    thin_after_ns: int | None = None


class Trimmed(msgspec.Struct, frozen=True):
    """The outcome of one step. more: whether another step would find something to do."""

    removed: int
    more: bool


def limits_of(
    retention_days: float | None, retention_bytes: int | None, thin_hours: float | None = None
) -> Limits:
    """Return the bounds of the log; None is no bound, and as 0 hours no thinning by age."""
    return Limits(
        max_age_ns=_NO_BOUND if retention_days is None else int(retention_days * _DAY_NS),
        max_bytes=_NO_BOUND if retention_bytes is None else retention_bytes,
        thin_after_ns=int(thin_hours * _DAY_NS / 24) if thin_hours else None,
    )
