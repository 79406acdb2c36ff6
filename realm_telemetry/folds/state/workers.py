"""Workers by id: what they last said, when they were last heard, and whether they are lost."""

from typing import Any, Final

from realm_telemetry.event import Event, format_time
from realm_telemetry.folds.state.lattice import Stamp
from realm_telemetry.folds.state.section import (
    Reading,
    Section,
    SectionSpec,
    bounded,
    complete,
    identity,
    pick,
    shown,
)

LIMITS: Final = {"workers": 512, "heard": 512, "further": 2_048, "lost": 1_024}

STALE_AFTER_S: Final = 60.0
"""A worker without a heartbeat for longer is stale."""

DETAILS: Final = ("role", "device", "status", "current_job", "rank", "host", "pid")
FIELDS: Final = (
    "worker_id",
    *DETAILS,
    "last_heartbeat",
    "age_s",
    "stale",
    "lost",
    "joined_at",
    "left_at",
    "reason",
    "producer",
)
"""What a worker shows, besides further details of its heartbeats."""

_LISTED: Final = frozenset({*FIELDS, "removed"})
_GONE: Final = ("left", "lost")


def _beat(section: Section, event: Event, stamp: Stamp) -> None:
    worker_id = identity(event.details, "worker_id")
    if worker_id is None:
        return
    # A heartbeat says all: one that names no job means that there is none.
    fields = {"current_job": None, "status": "active"} | pick(event.details, DETAILS)
    fields |= {"producer": event.producer, "removed": False}
    section.records["workers"].put(worker_id, stamp, fields)
    _heard(section, worker_id, event)
    _keep_further(section, worker_id, stamp, event.details)


def _joined(section: Section, event: Event, stamp: Stamp) -> None:
    worker_id = identity(event.details, "worker_id")
    if worker_id is None:
        return
    fields = {"status": "active", "joined_at": event.time_unix_nano, "removed": False}
    fields |= {"producer": event.producer} | pick(event.details, DETAILS)
    section.records["workers"].put(worker_id, stamp, fields)
    _heard(section, worker_id, event)
    _keep_further(section, worker_id, stamp, event.details)


def _left(section: Section, event: Event, stamp: Stamp) -> None:
    worker_id = identity(event.details, "worker_id")
    if worker_id is None:
        return
    fields = pick(event.details, ("reason",)) | {"status": "left", "current_job": None}
    fields["left_at"] = event.time_unix_nano
    # What the older `DELETE /api/worker/{id}` asks for.
    fields["removed"] = event.details.get("removed") is True
    section.records["workers"].put(worker_id, stamp, fields)


def _turned_stale(section: Section, event: Event, stamp: Stamp) -> None:
    worker_id = identity(event.details, "worker_id")
    if worker_id is not None:
        section.records["workers"].put(worker_id, stamp, {"status": "stale"})


def _process_lost(section: Section, event: Event, stamp: Stamp) -> None:
    fields = {"lost_at": event.time_unix_nano}
    fields |= pick(event.details, ("service", "pid", "last_kind", "last_step"))
    section.records["lost"].put(event.producer, stamp, fields)


def _heard(section: Section, worker_id: str, event: Event) -> None:
    # Arrival by the log's clock: a worker whose own clock jumps back is heard all the same.
    arrival = event.observed_unix_nano or event.time_unix_nano
    stamp = (arrival, event.producer, event.number)
    section.records["heard"].put(worker_id, stamp, {"arrival": arrival})


def _keep_further(section: Section, worker_id: str, stamp: Stamp, details: dict[str, Any]) -> None:
    further = section.records["further"]
    for name in details.keys() - _LISTED:
        field = [worker_id, name, bounded(details[name])]
        further.put(f"{worker_id}\n{name}", stamp, {"field": field})


def update(section: Section, event: Event, stamp: Stamp, data: dict[str, Any]) -> None:
    """Merge `{worker id: {field: value}}`, which older programs send as a section."""
    for worker_id, fields in data.items():
        if isinstance(fields, dict) and fields:
            known = pick(fields, DETAILS) | {"removed": False}
            section.records["workers"].put(worker_id, stamp, known)
            _heard(section, worker_id, event)
            _keep_further(section, worker_id, stamp, fields)


REDUCERS: Final = {
    "worker_heartbeat": _beat,
    "worker_joined": _joined,
    "worker_left": _left,
    "worker_stale": _turned_stale,
    "process_lost": _process_lost,
}


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return an object by worker id, as older readers know it."""
    further: dict[str, dict[str, Any]] = {}
    for _, cells in section.records["further"].newest():
        worker_id, name, value = cells["field"]
        further.setdefault(worker_id, {})[name] = value
    return {
        worker_id: further.get(worker_id, {}) | _shown_worker(section, reading, worker_id, fields)
        for worker_id, fields in section.records["workers"].newest()
        if not fields.get("removed")
    }


def _shown_worker(
    section: Section, reading: Reading, worker_id: str, fields: dict[str, Any]
) -> dict[str, Any]:
    worker = complete(FIELDS, shown(fields)) | {"worker_id": worker_id}
    worker.pop("removed", None)
    arrival = section.records["heard"].get(worker_id).get("arrival")
    if arrival is not None:
        worker["last_heartbeat"] = format_time(arrival)
        worker["age_s"] = max(reading.now_ns - arrival, 0) / 1e9
    worker["lost"] = worker["producer"] in reading.lost and worker["status"] != "left"
    worker["stale"] = worker["age_s"] is None or worker["age_s"] > STALE_AFTER_S
    worker["status"] = _status(worker)
    return worker


def _status(worker: dict[str, Any]) -> str:
    if worker["lost"]:
        return "lost"
    if worker["stale"] and worker["status"] not in _GONE:
        return "stale"
    return worker["status"] or "active"


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
