"""Homes of the old code, opened by this one, show what they showed: see `make_homes.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.folds.runs.projection import OF_THE_RUN

from .processes import Service
from .trees import Tree
from .views import VARIANTS, expected, unpack, views

Serve = Callable[[Tree, Path], Service]


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The views that are not what they were, each with the first entries that differ."""
    return {
        name: _first_difference(found.get(name), wanted.get(name))
        for name in found.keys() | wanted.keys()
        if found.get(name) != wanted.get(name)
    }


def without_rank(found: Any) -> Any:
    """What was found without what is new: a rank, which no event of the old code has."""
    if isinstance(found, dict):
        return {
            name: without_rank(value)
            for name, value in found.items()
            if (name, value) != ("rank", None)
        }
    return [without_rank(value) for value in found] if isinstance(found, list) else found


def without_runs(found: dict[str, Any]) -> dict[str, Any]:
    """Views without what the state shows of a training as the table of runs has it (0139).

    That goes by more: what a program emits after it has said how its training ended is life.
    """
    return {
        name: _without_run(view) if isinstance(view, dict) and "training" in view else view
        for name, view in found.items()
    }


def _without_run(state: dict[str, Any]) -> dict[str, Any]:
    training = {name: value for name, value in state["training"].items() if name not in OF_THE_RUN}
    runs = {
        run_id: {name: value for name, value in run.items() if name not in OF_THE_RUN}
        for run_id, run in training.pop("runs").items()
    }
    return state | {"training": training | {"runs": runs}}


def _first_difference(found: Any, wanted: Any) -> Any:
    if isinstance(found, dict) and isinstance(wanted, dict):
        names = [name for name in found | wanted if found.get(name) != wanted.get(name)]
        return {name: _first_difference(found.get(name), wanted.get(name)) for name in names}
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = zip(found, wanted, strict=True)
        return next(_first_difference(*pair) for pair in pairs if pair[0] != pair[1])
    return f"{found!r} instead of {wanted!r}"[:2000]


@pytest.mark.parametrize(
    "variant",
    [pytest.param(each, marks=pytest.mark.long if "without" in each else ()) for each in VARIANTS],
)
def test_a_home_of_the_old_code_shows_the_same(
    new_tree: Tree, tmp_path: Path, serve: Serve, variant: str
) -> None:
    home = unpack(variant, tmp_path)
    found = without_runs(without_rank(views(new_tree, home, serve)))
    wanted = without_runs(without_rank(expected(variant)))
    # The built-in alerts, which the old code has not, look at more events of the same log.
    seen, seen_before = (each.pop("seen", []) for each in (found, wanted))
    assert [row for row in seen if row in seen_before] == seen_before
    assert differences(found, wanted) == {}
