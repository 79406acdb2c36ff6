"""A run of a day ago, and the log in which it arrived then."""

import time
from typing import Any

import realm_telemetry
from realm_telemetry.event import LATE_AFTER_NS
from realm_telemetry.log import LogWriter

from .conftest import SECOND, Home, make_event


def a_run(count: int, ago_s: int = 86_400) -> list[Any]:
    """Events of a day ago that were live then: a training, checkpoints, workers, a late one."""
    start = time.time_ns() - ago_s * SECOND
    kinds = ("training_step", "checkpoint_saved", "worker_heartbeat", "job_started", "job_failed")
    events = []
    for number in range(1, count + 1):
        kind = kinds[number % len(kinds)] if number % 10 else "section_updated"
        moment = start + number * SECOND // 10
        details = {"step": number, "loss": 1 / number, "worker_id": f"w{number % 3}"}
        details |= {"job_id": f"j{number}", "path": f"ckpt/{number}"}
        details |= {"section": "queue", "data": {"depth": number}, "record_history": True}
        channel, severity = realm_telemetry.KIND_METADATA.get(kind, ("jobs", "info"))
        arrival = moment + (2 * LATE_AFTER_NS if number % 50 == 0 else 5_000_000)
        events.append(
            make_event(
                number,
                kind=kind,
                channel=channel,
                severity=severity,
                details=details,
                time_unix_nano=moment,
                run_id="r7",
                observed_unix_nano=arrival,
            )
        )
    return events


def original(home: Home, events: list[Any]) -> None:
    """A log in which these events have the arrivals that they name."""
    home.register()
    home.store(events)
    with LogWriter(home.log) as writer, writer.transaction() as connection:
        connection.executemany(
            "UPDATE battle_log SET observed_unix_nano = ? WHERE event_id IS NOT NULL AND id = ?",
            [(event.observed_unix_nano, place) for place, event in enumerate(events, 1)],
        )
