"""Every path that tells contributors where to work exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    ".github/PULL_REQUEST_TEMPLATE.md",
    "docs/architecture.md",
)
TOOLS = {".venv/bin/python", ".venv/bin/ruff"}
PLACES = (ROOT, ROOT / "realm_telemetry")
"""What paths on these pages are relative to."""

OF_A_HOME = {"realm.toml"}
"""Files that users have."""


def named(text: str) -> set[str]:
    """Paths in code and in arguments of commands; not names with placeholders."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^\.?/?\S*make .*$", text, re.MULTILINE)
    words = {word.strip(",;()").split("::")[0] for part in code for word in part.split()}
    paths = {word for word in words if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word)}
    return {path for path in paths - TOOLS if re.search(r"/|\.(py|md|toml|ts)$", path)}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    found = named((ROOT / page).read_text(encoding="utf-8"))
    missing = {path for path in found - OF_A_HOME if not any((at / path).exists() for at in PLACES)}
    assert missing == set()


@pytest.mark.parametrize("variable", ["UNIT", "OTEL"])
def test_every_directory_of_tests_that_the_makefile_names_exists(variable: str) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.search(rf"^{variable} *:= \$\(addprefix tests/,(.*)\)$", text, re.MULTILINE)
    assert found is not None
    names = found[1].split()
    assert names
    assert [name for name in names if not (ROOT / "tests" / name).is_dir()] == []


def test_a_path_that_is_gone_would_be_found() -> None:
    assert named("see `log/gone.py`, `emit` and `pytest -q tests/gone`") == {
        "log/gone.py",
        "tests/gone",
    }
