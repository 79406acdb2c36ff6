"""Data: generated datasets, the curriculum, and the forge's batches."""

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
)

LIMITS: Final = {"datasets": 128, "curriculum": 256, "batches": 64}

DATASET_FIELDS: Final = ("dataset", "examples", "path", "generated_at")
CURRICULUM_FIELDS: Final = ("skill", "level", "reason", "updated_at")
BATCH_FIELDS: Final = ("batch_id", "examples", "path", "ready_at")


def _generated(section: Section, event: Event, stamp: Stamp) -> None:
    _keep(section, "datasets", DATASET_FIELDS, event, stamp)


def _curriculum(section: Section, event: Event, stamp: Stamp) -> None:
    _keep(section, "curriculum", CURRICULUM_FIELDS, event, stamp)


def _batch(section: Section, event: Event, stamp: Stamp) -> None:
    _keep(section, "batches", BATCH_FIELDS, event, stamp)


def _keep(
    section: Section, records: str, names: tuple[str, ...], event: Event, stamp: Stamp
) -> None:
    key = identity(event.details, names[0], "path") or "unnamed"
    fields = pick(event.details, names[:-1]) | {names[-1]: event.time_unix_nano}
    section.records[records].put(key, stamp, fields)


REDUCERS: Final = {
    "dataset_generated": _generated,
    "curriculum_updated": _curriculum,
    "forge_batch_ready": _batch,
}

_SHOWN: Final = {
    "datasets": DATASET_FIELDS,
    "curriculum": CURRICULUM_FIELDS,
    "batches": BATCH_FIELDS,
}


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return datasets by name, the curriculum by skill, batches by id, and totals."""
    return {
        **section.flat(),
        **{
            records: {
                key: complete(names, shown(fields))
                for key, fields in section.records[records].newest()
            }
            for records, names in _SHOWN.items()
        },
        "totals": reading.totals(REDUCERS),
    }


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
