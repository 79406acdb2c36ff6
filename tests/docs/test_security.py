"""Each line of docs/security.md names a test that there is."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| what is tried")
]


def test_the_tables_are_read() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS)
def test_a_line_of_the_threat_model_has_its_test(row: str) -> None:
    found = re.search(r"\| `(tests/[\w/]+\.py)::(test_\w+)` \|$", row)
    assert found, row
    tree = ast.parse((ROOT / found[1]).read_text(encoding="utf-8"))
    names = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert found[2] in names
