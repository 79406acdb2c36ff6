"""docs/state.md names every section, field and bound of the state, and no other section."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from realm_telemetry.folds.state import (
    SECTIONS,
    RealmState,
    checkpoints,
    data,
    evals,
    guild,
    jobs,
    queue,
    section,
    system,
    training,
    vault,
    workers,
)

TEXT = (Path(__file__).parents[3] / "docs" / "state.md").read_text("utf-8")
CHAPTERS = dict(re.findall(r"^## (.+)\n([^#]*)", TEXT, re.MULTILINE))
MODULES: dict[str, ModuleType] = {
    "training": training,
    "jobs": jobs,
    "workers": workers,
    "eval": evals,
    "checkpoints": checkpoints,
    "data": data,
    "guild": guild,
    "vault": vault,
    "system": system,
    "queue": queue,
}


def test_every_section_has_its_chapter_in_order() -> None:
    assert tuple(title for title in CHAPTERS if title.islower()) == SECTIONS
    assert tuple(MODULES) == SECTIONS


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_of_a_section_is_named(name: str) -> None:
    shown = set(RealmState().section(name, 0))
    for constant, fields in vars(MODULES[name]).items():
        if constant.endswith("FIELDS"):
            shown |= set(fields)
    assert {field for field in shown if f"`{field}`" not in CHAPTERS[name]} == set()


def test_every_bound_is_named() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+).* \| (\d+) \|$", CHAPTERS["Bounds"], re.MULTILINE)
    documented = {(name, records): int(limit) for name, records, limit in rows}
    assert documented == {
        (name, records): limit
        for name, module in MODULES.items()
        for records, limit in module.LIMITS.items()
    }
    assert f"{section.MAX_TEXT:,} characters" in CHAPTERS["Bounds"]
    assert f"{section.MAX_NESTED_BYTES:,} bytes" in CHAPTERS["Bounds"]
    assert f"{section.MAX_EXTRA_FIELDS} such fields" in TEXT
