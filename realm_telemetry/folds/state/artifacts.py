"""Files that the lab makes and keeps: the data section and the vault."""

from typing import Any, Final

from realm_telemetry.folds.state.section import Reading, Section, SectionSpec
from realm_telemetry.folds.state.table import Table, details, time_of, whole
from realm_telemetry.folds.state.values import identity


def _named(name: str) -> Any:
    return lambda event: identity(event.details, name, "path") or "unnamed"


DATASET: Final = Table(
    "datasets",
    ("dataset_generated",),
    {**details("dataset", "examples", "path"), "generated_at": time_of("dataset_generated")},
    limit=128,
    key=_named("dataset"),
)

CURRICULUM: Final = Table(
    "curriculum",
    ("curriculum_updated",),
    {**details("skill", "level", "reason"), "updated_at": time_of("curriculum_updated")},
    limit=256,
    key=_named("skill"),
)

BATCH: Final = Table(
    "batches",
    ("forge_batch_ready",),
    {**details("batch_id", "examples", "path"), "ready_at": time_of("forge_batch_ready")},
    limit=64,
    key=_named("batch_id"),
)

_DATA_TABLES: Final = (DATASET, CURRICULUM, BATCH)
_DATA_KINDS: Final = tuple(kind for table in _DATA_TABLES for kind in table.kinds)


def data_view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return datasets by name, the curriculum by skill, batches by id, and totals."""
    return {
        **section.flat(),
        **{table.records: dict(section.newest(table)) for table in _DATA_TABLES},
        "totals": reading.totals(_DATA_KINDS),
    }


DATA: Final = SectionSpec(_DATA_KINDS, _DATA_TABLES, data_view)


_LAST: Final = {
    "vault_sync": "last_sync",
    "vault_archived": "last_archived",
    "vault_cleanup": "last_cleanup",
    "retention_applied": "last_retention",
}

OPERATION: Final = Table(
    "archived",
    tuple(_LAST),
    {
        **details("files", "size_bytes", "freed_bytes", "deleted", "duration_s", "path"),
        "finished_at": time_of(*_LAST),
    },
    limit=64,
    key=lambda event: event.id if event.kind == "vault_archived" else None,
)
"""An operation of the vault; those that archived something are kept as records."""

LAST_OPERATIONS: Final = Table(
    "", tuple(_LAST), {name: whole(OPERATION).on(kind) for kind, name in _LAST.items()}
)


def vault_view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return the last operation of each sort, `archived` (newest first), and totals."""
    return {
        **section.flat(),
        **{name: _last(section, name) for name in _LAST.values()},
        "archived": [operation for _, operation in section.newest(OPERATION)],
        "totals": reading.totals(_LAST),
    }


def _last(section: Section, name: str) -> dict[str, Any] | None:
    cell = section.cells.get(name)
    return OPERATION.show(cell[1]) if cell else None


VAULT: Final = SectionSpec(tuple(_LAST), (OPERATION, LAST_OPERATIONS), vault_view)
