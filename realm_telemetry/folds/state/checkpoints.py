"""Checkpoints: the latest, the best, the champion, and the last of them by step."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.lattice import Stamp, put, values
from realm_telemetry.folds.state.section import (
    Reading,
    Section,
    SectionSpec,
    complete,
    identity,
    number,
    pick,
    shown,
)

LIMITS: Final = {"checkpoints": 256, "best": 1}

RECENT: Final = 50
"""Checkpoints shown in `recent`."""

DETAILS: Final = ("step", "path", "loss", "accuracy", "size_bytes", "previous_step", "reason")
FIELDS: Final = (
    *DETAILS,
    "status",
    "run_id",
    "hero_id",
    "saved_at",
    "promoted_at",
    "archived_at",
    "deleted_at",
)
"""What a checkpoint shows. It is known by its step, without one by its path."""


def _moved(section: Section, event: Event, stamp: Stamp) -> None:
    _keep(section, event, stamp)


def _keep(section: Section, event: Event, stamp: Stamp) -> dict[str, Any]:
    fields = _fields(event)
    key = identity(event.details, "step", "path")
    if key is not None:
        section.records["checkpoints"].put(key, stamp, fields)
    return fields


def _fields(event: Event) -> dict[str, Any]:
    word = event.kind.partition("_")[2]
    fields = pick(event.details, DETAILS)
    fields |= {"status": word, f"{word}_at": event.time_unix_nano}
    if event.run_id is not None:
        fields["run_id"] = event.run_id
    if event.hero_id is not None:
        fields["hero_id"] = event.hero_id
    return fields


def _saved(section: Section, event: Event, stamp: Stamp) -> None:
    fields = _keep(section, event, stamp)
    put(section.cells, "latest", stamp, fields)
    loss = number(event.details.get("loss"))
    if loss is not None:
        # One cell, so that it is all of one checkpoint.
        section.records["best"].put("best", (-loss, *stamp), {"checkpoint": fields})


def _promoted(section: Section, event: Event, stamp: Stamp) -> None:
    put(section.cells, "champion", stamp, _keep(section, event, stamp))


def _ledger(section: Section, event: Event, stamp: Stamp) -> None:
    put(section.cells, "ledger_entries", stamp, pick(event.details, ("entries",)).get("entries"))
    put(section.cells, "ledger_at", stamp, event.time_unix_nano)


REDUCERS: Final = {
    "checkpoint_saved": _saved,
    "checkpoint_promoted": _promoted,
    "checkpoint_archived": _moved,
    "checkpoint_deleted": _moved,
    "ledger_updated": _ledger,
}


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return latest, best and champion, `recent` (last touched first), and totals."""
    flat = complete(("ledger_entries", "ledger_at"), section.flat())
    found = values(section.cells) | {"best": section.records["best"].get("best").get("checkpoint")}
    for name in ("latest", "best", "champion"):
        flat[name] = _shown_checkpoint(section, found.get(name))
    return {
        **flat,
        "best_loss": flat["best"]["loss"] if flat["best"] else None,
        "recent": [
            complete(FIELDS, shown(fields))
            for _, fields in section.records["checkpoints"].newest(RECENT)
        ],
        "totals": reading.totals(REDUCERS),
    }


def _shown_checkpoint(section: Section, fields: dict[str, Any] | None) -> dict[str, Any] | None:
    if fields is None:
        return None
    key = identity(fields, "step", "path")
    known = section.records["checkpoints"].get(key) if key is not None else {}
    # What else became known of it, in whichever event: its loss, or that it was deleted since.
    return complete(FIELDS, shown(known | fields | pick(known, ("status",))))


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
