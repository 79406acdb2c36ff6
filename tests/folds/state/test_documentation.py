"""docs/state.md names every section, field and bound of the state, and no other section."""

import re
from pathlib import Path

import pytest

from realm_telemetry.folds.state import SECTIONS, SPECS, RealmState, section, values
from realm_telemetry.folds.state.section import EXTRA

TEXT = (Path(__file__).parents[3] / "docs" / "state.md").read_text("utf-8")
CHAPTERS = dict(re.findall(r"^## (.+)\n([^#]*)", TEXT, re.MULTILINE))

NOT_SHOWN = {
    # How records are kept, not what readers see of them.
    ("training", "best"): {"loss"},
    ("workers", "workers"): {"removed"},
    ("workers", "heard"): {"arrival"},
    ("eval", "results"): {"name"},
    ("checkpoints", "best"): {"checkpoint"},
}
CHAPTER_OF = {("workers", "lost"): "system"}
"""Records that another section shows."""


def test_every_section_has_its_chapter_in_order() -> None:
    assert tuple(title for title in CHAPTERS if title.islower()) == SECTIONS


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_of_a_section_is_named(name: str) -> None:
    shown = {(name, field) for field in RealmState().section(name, 0)}
    for table in SPECS[name].tables:
        place = (name, table.records)
        fields = table.rows.keys() - NOT_SHOWN.get(place, set())
        shown |= {(CHAPTER_OF.get(place, name), field) for field in fields}
    assert {each for each in shown if f"`{each[1]}`" not in CHAPTERS[each[0]]} == set()


def test_every_bound_is_named() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+).* \| (\d+) \|$", CHAPTERS["Bounds"], re.MULTILINE)
    documented = {(name, records): int(limit) for name, records, limit in rows}
    assert documented == {
        (name, records): limit
        for name, spec in SPECS.items()
        for records, limit in spec.all_limits().items()
        if records != EXTRA
    }
    assert f"{values.MAX_TEXT:,} characters" in CHAPTERS["Bounds"]
    assert f"{values.MAX_NESTED_BYTES:,} bytes" in CHAPTERS["Bounds"]
    assert f"{section.MAX_EXTRA_FIELDS} such fields" in TEXT
