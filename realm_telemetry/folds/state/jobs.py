"""Jobs: each one by its id, and how many are in each status."""

from collections import Counter
from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.lattice import Stamp
from realm_telemetry.folds.state.section import (
    Reading,
    Section,
    SectionSpec,
    complete,
    identity,
    pick,
    shown,
    transition,
)

LIMITS: Final = {"jobs": 512}

JOB_DETAILS: Final = ("job_type", "worker_id", "duration_s", "priority", "attempt", "reason")
FIELDS: Final = (
    "job_id",
    "status",
    *JOB_DETAILS,
    "error",
    "submitted_at",
    "claimed_at",
    "started_at",
    "completed_at",
    "failed_at",
    "cancelled_at",
    "retried_at",
    "hero_id",
    "campaign_id",
    "producer",
)
"""What a job shows."""

STATUSES: Final = ("waiting", "claimed", "running", "completed", "failed", "cancelled", "lost")


def _moved(section: Section, event: Event, stamp: Stamp) -> None:
    job_id = identity(event.details, "job_id")
    if job_id is None:
        return
    fields = pick(event.details, JOB_DETAILS) | transition(event)
    if event.hero_id is not None:
        fields["hero_id"] = event.hero_id
    if event.campaign_id is not None:
        fields["campaign_id"] = event.campaign_id
    # The producer that a job was last heard from: if it is lost, the job is.
    fields["producer"] = event.producer
    section.records["jobs"].put(job_id, stamp, fields)


REDUCERS: Final = dict.fromkeys(
    (
        "job_submitted",
        "job_claimed",
        "job_started",
        "job_completed",
        "job_failed",
        "job_cancelled",
        "job_retried",
    ),
    _moved,
)


def statuses(section: Section, reading: Reading) -> Counter[str]:
    """Count the kept jobs by status."""
    return Counter(job["status"] for job in _jobs(section, reading).values())


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return `jobs` by id (last touched first), `counts` of them by status, and totals."""
    jobs = _jobs(section, reading)
    counts = Counter(job["status"] for job in jobs.values())
    return {
        **section.flat(),
        "jobs": jobs,
        "counts": {status: counts.get(status, 0) for status in STATUSES},
        "totals": reading.totals(REDUCERS),
    }


def _jobs(section: Section, reading: Reading) -> dict[str, dict[str, Any]]:
    return {
        job_id: _shown_job(job_id, fields, reading.lost)
        for job_id, fields in section.records["jobs"].newest()
    }


def _shown_job(job_id: str, fields: dict[str, Any], lost: frozenset[str]) -> dict[str, Any]:
    job = complete(FIELDS, shown(fields)) | {"job_id": job_id}
    if job["status"] in ("claimed", "running") and job["producer"] in lost:
        job["status"] = "lost"
    return job


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
