"""The queue: its reported depth, and how many of the kept jobs wait and run."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state import jobs
from realm_telemetry.folds.state.lattice import Stamp, put_all
from realm_telemetry.folds.state.section import Reading, Section, SectionSpec, complete, pick

LIMITS: Final[dict[str, int]] = {}

FIELDS: Final = ("depth", "oldest_age_s", "backlog_at")


def _backlog(section: Section, event: Event, stamp: Stamp) -> None:
    fields = {"oldest_age_s": None} | pick(event.details, ("depth", "oldest_age_s"))
    put_all(section.cells, stamp, fields | {"backlog_at": event.time_unix_nano})


REDUCERS: Final = {"queue_backlog": _backlog}


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return the last reported backlog, and waiting, claimed and running jobs."""
    counts = jobs.statuses(reading.sections["jobs"], reading)
    return {
        **complete(FIELDS, section.flat()),
        **{status: counts.get(status, 0) for status in ("waiting", "claimed", "running")},
        "totals": reading.totals(REDUCERS),
    }


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
