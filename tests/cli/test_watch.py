"""`realm watch`: the rules in force, and what they would have found in the past."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing

from .conftest import make_event, store

Invoke = Callable[..., click.testing.Result]


def training(count: int, *, every_s: float, loss: Any = 0.5, **fields: Any) -> list[Any]:
    """Steps of a run, the last of them some minutes ago."""
    return [
        make_event(
            number,
            "training_step",
            (count - number) * every_s + 600,
            details={"step": number, "loss": loss},
            run_id="r7",
            **fields,
        )
        for number in range(1, count + 1)
    ]


def after(count: int, age_s: float, **details: Any) -> Any:
    return make_event(count + 1, "training_step", age_s, details=details, run_id="r7", rank=2)


def test_the_rules_are_listed_with_the_settings_of_the_home(invoke: Invoke, home: Path) -> None:
    (home / "realm.toml").write_text("[watch]\nstall_min_s = 5\nspikes = false\n")
    shown = invoke("watch").stdout
    assert "stall_min_s      5.0" in shown
    assert "spikes           false" in shown


def test_the_past_is_looked_at_with_the_settings_of_now(invoke: Invoke, home: Path) -> None:
    """A silence of 300 s and a NaN; with another limit the silence is none."""
    store(home, [*training(30, every_s=1), after(30, 300.0, step=31, loss="NaN")])
    result = invoke("watch", "backtest", "--json")
    stalled, broken = json.loads(result.stdout)
    assert (stalled["kind"], stalled["run_id"]) == ("run_stalled", "r7")
    assert stalled["details"]["silent_s"] == 300.0
    assert stalled["details"]["threshold_s"] == 120.0
    assert broken["details"] == {"field": "loss", "value": "NaN", "step": 31}
    assert broken["rank"] == 2
    assert "1 run_stalled, 1 loss_not_finite" in result.stderr
    assert "No step for 300 s" in invoke("watch", "backtest").stdout
    (home / "realm.toml").write_text("[watch]\nstall_min_s = 400\nloss = false\n")
    assert json.loads(invoke("watch", "backtest", "--json").stdout) == []
    assert "Nothing was found." in invoke("watch", "backtest").stderr


def test_it_can_be_limited_to_a_time_and_to_runs(invoke: Invoke, home: Path) -> None:
    store(home, [*training(30, every_s=1), after(30, 300.0, step=31, loss="NaN")])
    assert json.loads(invoke("watch", "backtest", "--run", "r8", "--json").stdout) == []
    found = json.loads(invoke("watch", "backtest", "--since", "400s", "--json").stdout)
    assert [each["kind"] for each in found] == ["loss_not_finite"]


def test_a_wrong_time_and_wrong_settings_are_named(invoke: Invoke, home: Path) -> None:
    store(home, training(1, every_s=1))
    assert "'soon' is not a time" in invoke("watch", "backtest", "--since", "soon").stderr
    (home / "realm.toml").write_text("[watch]\nstal_min_s = 5\n")
    result = invoke("watch")
    assert result.exit_code != 0
    assert "stal_min_s" in result.stderr
