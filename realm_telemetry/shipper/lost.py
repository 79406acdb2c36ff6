"""The end of a producer: its receipt, and `process_lost` if it went without goodbye."""

from typing import Final

from realm_telemetry.event import PROCESS_LOST_NUMBER, Event
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.shipper.notes import Notes
from realm_telemetry.shipper.spool import Spool

KIND: Final = "process_lost"


def was_lost(notes: Notes) -> bool:
    """Whether the end of a producer is worth an event.

    A forked child often ends by `os._exit`; it is missed only in the middle of something.
    """
    if notes.goodbye or not (notes.hello or notes.through):
        return False
    return bool(notes.open_lifecycles) if notes.forked else True


def process_lost(spool: Spool, time_unix_nano: int) -> Event:
    """The event that says so: always with the same id, so that it can never come twice.

    time_unix_nano: now; the last sign of life is among the details.
    """
    notes = spool.notes
    resource = notes.resource
    details = {
        "service": resource.get("service.name", "a process"),
        "pid": resource.get("process.pid"),
        "host": resource.get("host.name"),
        "last_kind": notes.last_kind,
        "last_step": notes.last_step,
        "last_message": notes.last_message,
        "last_time_unix_nano": notes.last_time_unix_nano or None,
        "open_lifecycles": list(notes.open_lifecycles),
        "dropped": spool.control.dropped,
    }
    details = {key: value for key, value in details.items() if value not in (None, [], 0)}
    channel, severity = resolve(KIND)
    return Event(
        KIND,
        channel,
        severity,
        render(KIND, details),
        details,
        time_unix_nano,
        spool.producer,
        PROCESS_LOST_NUMBER,
        hero_id=notes.hero_id,
        campaign_id=notes.campaign_id,
        run_id=notes.run_id,
    )
