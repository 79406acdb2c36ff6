"""The vault: its last sync, cleanup and retention, and what was archived."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.lattice import Stamp, put
from realm_telemetry.folds.state.section import (
    Reading,
    Section,
    SectionSpec,
    complete,
    pick,
    shown,
)

LIMITS: Final = {"archived": 64}

FIELDS: Final = (
    "files",
    "size_bytes",
    "freed_bytes",
    "deleted",
    "duration_s",
    "path",
    "finished_at",
)
"""What each of the last operations shows."""

_LAST: Final = {
    "vault_sync": "last_sync",
    "vault_archived": "last_archived",
    "vault_cleanup": "last_cleanup",
    "retention_applied": "last_retention",
}


def _operated(section: Section, event: Event, stamp: Stamp) -> None:
    put(section.cells, _LAST[event.kind], stamp, _fields(event))


def _archived(section: Section, event: Event, stamp: Stamp) -> None:
    _operated(section, event, stamp)
    section.records["archived"].put(event.id, stamp, _fields(event))


def _fields(event: Event) -> dict[str, Any]:
    return pick(event.details, FIELDS[:-1]) | {"finished_at": event.time_unix_nano}


REDUCERS: Final = dict.fromkeys(_LAST, _operated) | {"vault_archived": _archived}


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return the last operation of each sort, `archived` (newest first), and totals."""
    return {
        **section.flat(),
        **{name: _last(section, name) for name in _LAST.values()},
        "archived": [
            complete(FIELDS, shown(fields)) for _, fields in section.records["archived"].newest()
        ],
        "totals": reading.totals(REDUCERS),
    }


def _last(section: Section, name: str) -> dict[str, Any] | None:
    cell = section.cells.get(name)
    return complete(FIELDS, shown(cell[1])) if cell else None


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
