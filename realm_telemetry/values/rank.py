"""The rank of an event's process in its run, also where the class of events has none.

A process of version 0.1.0 that goes on while its files are replaced has the older class in memory
and may load newer modules; these use the rank by way of here.
"""

from typing import Any, Final

from msgspec.structs import replace

from realm_telemetry.event import Event

MAX_RANK: Final = 2**32 - 1
_HAS_RANK: Final = "rank" in Event.__struct_fields__


def to_rank(value: Any) -> int | None:
    """Return what a resource or a foreign record says as a rank; None if it can be none."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    return value if type(value) is int and 0 <= value <= MAX_RANK else None


def rank_of(event: Event) -> int | None:
    """Return an event's rank."""
    return event.rank if _HAS_RANK else None


def with_rank(event: Event, rank: int | None) -> Event:
    """Return the event with a rank."""
    return event if rank is None or not _HAS_RANK else replace(event, rank=rank)
