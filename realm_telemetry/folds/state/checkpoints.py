"""Checkpoints: the latest, the best, the champion, and the last of them by step."""

from collections.abc import Mapping
from typing import Any, Final

from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.state.lattice import values
from realm_telemetry.folds.state.section import Reading, Section, SectionSpec
from realm_telemetry.folds.state.table import (
    Table,
    attribute,
    by_detail,
    detail,
    details,
    least_first,
    statuses,
    time_of,
    times,
    whole,
)
from realm_telemetry.folds.state.values import identity, pick

RECENT: Final = 50
"""Checkpoints shown in `recent`."""

_WORDS: Final = ("saved", "promoted", "archived", "deleted")
_LIFECYCLE: Final = tuple(f"checkpoint_{word}" for word in _WORDS)
_SAVED: Final = "checkpoint_saved"
_PROMOTED: Final = "checkpoint_promoted"
_LEDGER: Final = "ledger_updated"

CHECKPOINT: Final = Table(
    "checkpoints",
    _LIFECYCLE,
    {
        **details("step", "path", "loss", "accuracy", "size_bytes", "previous_step", "reason"),
        "status": statuses(_LIFECYCLE),
        "run_id": attribute("run_id"),
        "hero_id": attribute("hero_id"),
        **times("checkpoint", *_WORDS),
    },
    limit=256,
    key=by_detail("step", "path"),
)
"""What a checkpoint shows. It is known by its step, without one by its path."""


def _least_first(fields: Mapping[str, Any], stamp: Stamp) -> Stamp | None:
    return least_first(fields["checkpoint"], stamp)


BEST: Final = Table(
    "best",
    (_SAVED,),
    {"checkpoint": whole(CHECKPOINT)},
    limit=1,
    key=lambda event: "best",
    rank=_least_first,
)

OUTSTANDING: Final = Table(
    "",
    (_SAVED, _PROMOTED, _LEDGER),
    {
        "latest": whole(CHECKPOINT).on(_SAVED),
        "champion": whole(CHECKPOINT).on(_PROMOTED),
        "ledger_entries": detail("entries", None).on(_LEDGER),
        "ledger_at": time_of(_LEDGER),
    },
)

_KINDS: Final = (*_LIFECYCLE, _LEDGER)


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return latest, best and champion, `recent` (last touched first), and totals."""
    flat = {"ledger_entries": None, "ledger_at": None} | section.flat()
    found = values(section.cells) | {"best": section.records["best"].get("best").get("checkpoint")}
    for name in ("latest", "best", "champion"):
        flat[name] = _shown_checkpoint(section, found.get(name))
    return {
        **flat,
        "best_loss": flat["best"]["loss"] if flat["best"] else None,
        "recent": [checkpoint for _, checkpoint in section.newest(CHECKPOINT, RECENT)],
        "totals": reading.totals(_KINDS),
    }


def _shown_checkpoint(section: Section, fields: dict[str, Any] | None) -> dict[str, Any] | None:
    if fields is None:
        return None
    key = identity(fields, "step", "path")
    known = section.records["checkpoints"].get(key) if key is not None else {}
    # What else became known of it, in whichever event: its loss, or that it was deleted since.
    return CHECKPOINT.show(known | fields | pick(known, ("status",)))


CHECKPOINTS: Final = SectionSpec(_KINDS, (CHECKPOINT, BEST, OUTSTANDING), view)
