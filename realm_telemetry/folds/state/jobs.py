"""Jobs and the queue: each job by its id, how many are in each status, the reported backlog."""

from collections import Counter
from typing import Any, Final

from realm_telemetry.folds.state.section import Reading, Section, SectionSpec
from realm_telemetry.folds.state.table import (
    SHOWN,
    Table,
    attribute,
    by_detail,
    detail,
    details,
    errors,
    statuses,
    time_of,
    times,
)
from realm_telemetry.folds.state.values import complete

_WORDS: Final = ("submitted", "claimed", "started", "completed", "failed", "cancelled", "retried")
_KINDS: Final = tuple(f"job_{word}" for word in _WORDS)

STATUSES: Final = ("waiting", "claimed", "running", "completed", "failed", "cancelled", "lost")

JOB: Final = Table(
    "jobs",
    _KINDS,
    {
        "job_id": SHOWN,
        "status": statuses(_KINDS),
        **details("job_type", "worker_id", "duration_s", "priority", "attempt", "reason"),
        "error": errors(_KINDS),
        **times("job", *_WORDS),
        "hero_id": attribute("hero_id"),
        "campaign_id": attribute("campaign_id"),
        # The producer that a job was last heard from: if it is lost, the job is.
        "producer": attribute("producer"),
    },
    limit=512,
    key=by_detail("job_id"),
)


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return `jobs` by id (last touched first), `counts` of them by status, and totals."""
    jobs = _jobs(section, reading)
    counts = Counter(job["status"] for job in jobs.values())
    return {
        **section.flat(),
        "jobs": jobs,
        "counts": {status: counts.get(status, 0) for status in STATUSES},
        "totals": reading.totals(_KINDS),
    }


def _jobs(section: Section, reading: Reading) -> dict[str, dict[str, Any]]:
    jobs = {}
    for job_id, job in section.newest(JOB):
        if job["status"] in ("claimed", "running") and job["producer"] in reading.lost:
            job["status"] = "lost"
        jobs[job_id] = job | {"job_id": job_id}
    return jobs


JOBS: Final = SectionSpec(_KINDS, (JOB,), view)


BACKLOG: Final = Table(
    "",
    ("queue_backlog",),
    {
        "depth": detail("depth"),
        "oldest_age_s": detail("oldest_age_s", None),
        "backlog_at": time_of("queue_backlog"),
    },
)


def queue_view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return the last reported backlog, and waiting, claimed and running jobs."""
    jobs = _jobs(reading.sections["jobs"], reading)
    counts = Counter(job["status"] for job in jobs.values())
    return {
        **complete(BACKLOG.rows, section.flat()),
        **{status: counts.get(status, 0) for status in ("waiting", "claimed", "running")},
        "totals": reading.totals(BACKLOG.kinds),
    }


QUEUE: Final = SectionSpec(BACKLOG.kinds, (BACKLOG,), queue_view)
