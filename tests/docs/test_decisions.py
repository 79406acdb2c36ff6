"""Every decision is in the index and has the one template."""

import re
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parents[2] / "docs" / "decisions"
INDEX = (DIRECTORY / "README.md").read_text()
FILES = sorted(DIRECTORY.glob("[0-9]*.md"))
SECTIONS = ["What", "Why", "Rejected", "Consequences"]


def test_the_index_lists_every_decision_with_its_title_and_date() -> None:
    """In the order of their numbers."""
    rows = re.findall(r"^\| \[(\d{4})\]\((.+?)\) \| (.+) \| (.+) \|$", INDEX, re.MULTILINE)
    expected = []
    for file in FILES:
        title, _, date, *_ = file.read_text().splitlines()
        expected.append(
            (file.name[:4], file.name, title.removeprefix(f"# {file.name[:4]}. "), date)
        )
    assert rows == expected
    assert len({number for number, *_ in rows}) == len(rows)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_decision_has_the_template(file: Path) -> None:
    """Number and title, date, then what, why, rejected, and perhaps consequences."""
    text = file.read_text()
    assert re.match(rf"# {file.name[:4]}\. [A-Z`!].+[^.]\n\n\d{{4}}-\d\d-\d\d\n\n## What\n", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) in (SECTIONS, SECTIONS[:3])
    assert all(part.strip() for part in re.split(r"^## .+$", text, flags=re.MULTILINE))


def test_the_template_of_the_index_is_the_one_that_is_tested() -> None:
    """So that somebody who copies it passes."""
    assert re.findall(r"^## (.+)$", INDEX.partition("```")[2], re.MULTILINE) == SECTIONS
