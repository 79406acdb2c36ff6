"""Events of runs, made in one line each."""

from collections.abc import Mapping
from typing import Any

from realm_telemetry.event import FIRST_CONTENT_NUMBER, Event
from realm_telemetry.folds.clock import stamp_of
from realm_telemetry.folds.runs import RunRecord
from realm_telemetry.kinds.catalog import resolve

BEGIN_NS = 1_764_374_400_000_000_000
"""2025-11-29T00:00:00Z"""
SECOND = 1_000_000_000


def told(
    at_s: float,
    kind: str,
    rank: int | None = None,
    *,
    process: str = "",
    by_shipper: bool = False,
    more: Mapping[str, Any] | None = None,
    **details: Any,
) -> Event:
    """An event of the run r1, at so many seconds; each rank has a process of its own.

    more: details whose names are no names in Python.
    """
    producer = process or ("a" if rank is None else f"{rank:x}")
    number = int(at_s * 1000) + 1 + (FIRST_CONTENT_NUMBER if by_shipper else 0)
    channel, severity = resolve(kind)
    return Event(
        kind,
        channel,
        severity,
        kind,
        details | dict(more or {}),
        BEGIN_NS + int(at_s * SECOND),
        producer * (16 // len(producer)),
        number,
        run_id="r1",
        rank=rank,
    )


def folded(*events: Event) -> RunRecord:
    """The record of a run that these are all events of."""
    record = RunRecord()
    for event in events:
        record.apply(event, stamp_of(event), "r1")
    return record
