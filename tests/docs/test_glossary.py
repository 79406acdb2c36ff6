"""The glossary is true: its code exists, its words are in use, and the words it avoids are not."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
USED = GLOSSARY.partition("## Words that are not used")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in USED.splitlines()
    if line.startswith("| ") and not line.startswith("| word")
]
TERMS = {row[0]: row[2].strip("`") if len(row) > 2 else "" for row in ROWS}
AVOIDED = re.compile(
    r"\b(once more|(put|kept|set|keep) aside|is news|comes? to nothing|courier|examination)\b"
)


def everything_read() -> list[Path]:
    """All that a person reads: docs, sources, tests, pages."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    found += [path for path in (ROOT / "docs").glob("*.md") if path.name != "glossary.md"]
    for place in ("realm_telemetry", "exporters", "compat", "examples", "benchmarks", "tests"):
        found += (ROOT / place).rglob("*.py")
    found += (ROOT / "realm_telemetry/service/web/src").rglob("*.ts")
    return [path for path in found if path.exists() and path != Path(__file__)]


@pytest.mark.parametrize("name", sorted({name for name in TERMS.values() if name}))
def test_code_that_the_glossary_names_exists(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_each_term_is_used_as_written() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in everything_read()).lower()
    unused = [term for row in TERMS for term in row.split(", ") if term.lower() not in text]
    assert not unused


def test_no_term_stands_twice() -> None:
    assert len(ROWS) == len(TERMS)


def test_avoided_words_stand_nowhere() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in everything_read()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if AVOIDED.search(line)
    ]
    assert not found, "\n".join(found)
