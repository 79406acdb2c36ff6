"""How the log is written stays as it is: one transaction for each call, synced where it has to be.

What is expected was made by the old code: see `make_homes.py`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from .internals import NEW_LOG_WRITER, OLD_LOG_WRITER
from .trees import Tree
from .views import HOMES
from .writes import log_writes, shipper_transactions


def expected(name: str) -> Any:
    return json.loads((HOMES / f"{name}.json").read_text())


@pytest.fixture(params=["old", "new"])
def age(request: pytest.FixtureRequest) -> str:
    """Each test runs over both trees: an expectation that the old one fails is a mistake in it."""
    return str(request.param)


def test_a_fixed_series_of_writes_begins_commits_and_syncs_as_before(
    old_tree: Tree, new_tree: Tree, tmp_path: Path, age: str
) -> None:
    tree, writer = {"old": (old_tree, OLD_LOG_WRITER), "new": (new_tree, NEW_LOG_WRITER)}[age]
    wanted = expected("log-writes")
    if age == "new":
        # One more step of the schema, when the log is made.
        wanted[2:2] = ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE", "COMMIT"]
    assert log_writes(tree, writer, tmp_path) == wanted


def test_a_shipper_stores_by_the_same_sorts_of_transactions(
    old_tree: Tree, new_tree: Tree, tmp_path: Path, age: str
) -> None:
    found = shipper_transactions({"old": old_tree, "new": new_tree}[age], tmp_path)
    assert json.loads(json.dumps(found)) == expected("shipper-transactions")
