"""Workers by id: what they last reported, when they were last heard, and whether they are lost."""

from collections.abc import Mapping
from typing import Any, Final

from realm_telemetry.event import Event, format_time
from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.state.section import Reading, Section, SectionSpec
from realm_telemetry.folds.state.table import (
    SHOWN,
    Table,
    always,
    attribute,
    by_detail,
    computed,
    detail,
    details,
    time_of,
)
from realm_telemetry.folds.state.values import bounded, pick

STALE_AFTER_S: Final = 60.0
"""A worker without a heartbeat for longer is stale."""

_BEAT: Final = "worker_heartbeat"
_JOINED: Final = "worker_joined"
_LEFT: Final = "worker_left"
_STALE: Final = "worker_stale"
_PRESENT: Final = (_BEAT, _JOINED)
_DETAILS: Final = ("role", "device", "status", "current_job", "rank", "host", "pid")

_worker_id: Final = by_detail("worker_id")

WORKER: Final = Table(
    "workers",
    (*_PRESENT, _LEFT, _STALE),
    {
        "worker_id": SHOWN,
        "role": detail("role").on(*_PRESENT),
        "device": detail("device").on(*_PRESENT),
        "status": (
            detail("status", "active").on(*_PRESENT),
            always("left").on(_LEFT),
            always("stale").on(_STALE),
        ),
        "current_job": (
            # A heartbeat says all: one that names no job means that there is none.
            detail("current_job", None).on(_BEAT),
            detail("current_job").on(_JOINED),
            always(None).on(_LEFT),
        ),
        "rank": detail("rank").on(*_PRESENT),
        "host": detail("host").on(*_PRESENT),
        "pid": detail("pid").on(*_PRESENT),
        "last_heartbeat": SHOWN,
        "age_s": SHOWN,
        "stale": SHOWN,
        "lost": SHOWN,
        "joined_at": time_of(_JOINED),
        "left_at": time_of(_LEFT),
        "reason": detail("reason").on(_LEFT),
        "producer": attribute("producer").on(*_PRESENT),
        "removed": (
            always(False).on(*_PRESENT),
            # What the older `DELETE /api/worker/{id}` asks for.
            computed(lambda event: event.details.get("removed") is True).on(_LEFT),
        ),
    },
    limit=512,
    key=_worker_id,
)


def _arrival(event: Event) -> int:
    # By the log's clock: a worker whose own clock jumps back is heard all the same.
    return event.observed_unix_nano or event.time_unix_nano


def _heard_at(fields: Mapping[str, Any], stamp: Stamp) -> Stamp:
    return (fields["arrival"], *stamp[1:])


HEARD: Final = Table(
    "heard",
    _PRESENT,
    {"arrival": computed(_arrival)},
    limit=512,
    key=_worker_id,
    rank=_heard_at,
)

LOST: Final = Table(
    "lost",
    ("process_lost",),
    {
        "lost_at": time_of("process_lost"),
        **details("service", "pid", "last_kind", "last_step"),
    },
    limit=1_024,
    key=lambda event: event.producer,
)


def _keep_further(section: Section, event: Event, stamp: Stamp) -> None:
    worker_id = _worker_id(event)
    if worker_id is not None:
        _put_further(section, worker_id, stamp, event.details)


def _put_further(section: Section, worker_id: str, stamp: Stamp, details: dict[str, Any]) -> None:
    further = section.records["further"]
    for name in details.keys() - WORKER.rows.keys():
        field = [worker_id, name, bounded(details[name])]
        further.put(f"{worker_id}\n{name}", stamp, {"field": field})


def update(section: Section, event: Event, stamp: Stamp, data: dict[str, Any]) -> None:
    """Merge `{worker id: {field: value}}`, which older programs send as a section."""
    for worker_id, fields in data.items():
        if isinstance(fields, dict) and fields:
            known = pick(fields, _DETAILS) | {"removed": False}
            section.records["workers"].put(worker_id, stamp, known)
            heard = {"arrival": _arrival(event)}
            section.records["heard"].put(worker_id, _heard_at(heard, stamp), heard)
            _put_further(section, worker_id, stamp, fields)


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return an object by worker id, as older readers know it."""
    further: dict[str, dict[str, Any]] = {}
    for _, cells in section.records["further"].newest():
        worker_id, name, value = cells["field"]
        further.setdefault(worker_id, {})[name] = value
    return {
        worker_id: further.get(worker_id, {}) | _shown_worker(section, reading, worker_id, worker)
        for worker_id, worker in section.newest(WORKER)
        if not worker.pop("removed")
    }


def _shown_worker(
    section: Section, reading: Reading, worker_id: str, worker: dict[str, Any]
) -> dict[str, Any]:
    worker["worker_id"] = worker_id
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
    if worker["stale"] and worker["status"] not in ("left", "lost"):
        return "stale"
    return worker["status"] or "active"


WORKERS: Final = SectionSpec(
    (*WORKER.kinds, *LOST.kinds),
    (WORKER, HEARD, LOST),
    view,
    # Details of heartbeats that are not rows of the table.
    limits={"further": 2_048},
    also=dict.fromkeys(_PRESENT, _keep_further),
)
