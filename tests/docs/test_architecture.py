"""The architecture page shows the tree as it is, and the README shows the same picture."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "realm_telemetry"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def packages() -> list[str]:
    """Directories with modules: those at the root of the package, and one level below."""
    found = [path.parent for path in PACKAGE.glob("*/__init__.py")]
    return sorted(path.relative_to(PACKAGE).as_posix() for path in found)


@pytest.mark.parametrize("package", packages())
def test_every_package_has_its_row(package: str) -> None:
    assert f"| `{package}/` |" in PAGE


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`([\w/]+\.py)`", PAGE))))
def test_every_module_that_the_page_names_exists(named: str) -> None:
    assert (PACKAGE / named).is_file()


def test_the_readme_shows_the_same_picture() -> None:
    picture = re.search(r"```\n producer process.*?```", PAGE, re.DOTALL)
    assert picture is not None
    assert picture[0] in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_root_of_the_package_fits_on_one_screen() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 31
