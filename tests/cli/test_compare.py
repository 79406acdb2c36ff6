"""`realm compare`, from the log and from a service."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from realm_telemetry.cli import terminal

from .conftest import Running, make_event, store
from .test_runs import serving_runs

Invoke = Callable[..., Result]
MACHINE = "memory/rss_bytes"
LONG = "a-run-with-a-name-that-no-column-of-a-terminal-has-room-for"


@pytest.fixture
def trained(home: Path) -> Path:
    """A home with three runs of one program, one of which has a setting and a NaN of its own."""
    settings = {
        "r7": {"lr": 0.1, "seed": 1, "model": {"depth": 2, "width": 8}},
        "r8": {"lr": 0.2, "seed": 1, "model": {"depth": 2, "width": 16}, "warmup": 0},
        LONG: {"lr": 0.1, "seed": 1, "model": {"depth": 2, "width": 8}},
    }
    for place, (run_id, config) in enumerate(settings.items()):
        losses = [0.5, "NaN" if run_id == "r8" else 0.25]
        told = [
            ("run_started", {"command": f"python train.py --{run_id}", "git_commit": "abc"}),
            ("run_config", config),
            *(("training_step", {"step": n, "loss": x}) for n, x in enumerate(losses, 1)),
            ("resource_sampled", {"rss_bytes": 12}),
        ]
        events = [
            make_event(n, kind, 90 - n, details=said, run_id=run_id, producer=f"{place:016x}")
            for n, (kind, said) in enumerate(told, 1)
        ]
        store(home, events)
    return home


@pytest.fixture(params=["the log", "a service"])
def source(request: pytest.FixtureRequest, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command reads; the same is expected of both."""
    if request.param == "the log":
        return
    start: Callable[..., Running] = request.getfixturevalue("start")
    monkeypatch.setenv("REALM_SERVICE_URL", serving_runs(start))


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each row by its name; columns are two blanks apart at least."""
    cells = [
        [part.strip() for part in line.split("  ") if part.strip()] for line in text.split("\n")
    ]
    return {found[0]: found[1:] for found in cells if found}


@pytest.mark.usefixtures("source")
def test_what_differs_and_the_last_numbers_stand_beside_each_other(invoke: Invoke) -> None:
    result = invoke("compare", "r7", "r8")
    assert result.exit_code == 0
    found = rows(result.stdout)
    assert found["differs"] == ["r7", "r8"]
    assert found["lr"] == ["0.1", "0.2"]
    assert found["model.width"] == ["8", "16"]
    assert found["warmup"] == ["not set", "0"]
    assert found["command"] == ["python train.py --r7", "python train.py --r8"]
    assert not {"seed", "model.depth", "git_commit", "cwd"} & found.keys()
    assert "2 settings the same in all" in result.stderr
    assert found["number"] == ["r7", "r8"]
    assert found["status"] == ["running", "running"]
    assert found["step"] == ["2", "2"]
    assert found["loss"] == ["0.25", "0.5"]
    assert found["loss, least"] == ["0.25", "0.5"]
    assert found["loss, not finite"] == ["0", "1"]
    assert MACHINE not in found
    whole = rows(invoke("compare", "r7", "r8", "--all").stdout)
    assert whole["git_commit"] == ["abc", "abc"]
    assert whole[MACHINE] == ["12", "12"]


@pytest.mark.usefixtures("source")
def test_json_is_the_answer_of_the_api(invoke: Invoke) -> None:
    found = json.loads(invoke("compare", "r8", "r7", "--json").stdout)
    assert [run["run_id"] for run in found["runs"]] == ["r8", "r7"]
    assert {each["name"] for each in found["config"]["different"]} == {"lr", "model", "warmup"}
    assert found["config"]["same"] == 1
    assert {"loss", MACHINE} <= {each["name"] for each in found["metrics"]}
    assert found["missing"] == []


@pytest.mark.usefixtures("source")
def test_a_run_that_there_is_not_is_named_and_the_others_are_compared(invoke: Invoke) -> None:
    result = invoke("compare", "r7", "r8", "r9")
    assert result.exit_code == 1
    assert rows(result.stdout)["lr"] == ["0.1", "0.2"]
    assert "There is no run 'r9'. Did you mean" in result.stderr
    found = json.loads(invoke("compare", "r7", "r8", "r9", "--json").stdout)
    assert [each["run_id"] for each in found["missing"]] == ["r9"]


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("runs", [("r7", "r9"), ("r9", "r7"), ("r9", "r10")])
def test_one_run_alone_is_no_comparison(runs: tuple[str, str], invoke: Invoke) -> None:
    result = invoke("compare", *runs, "--json")
    assert result.exit_code == 1
    assert not result.stdout
    assert json.loads(result.stderr.splitlines()[-1])["error"] == "run_not_found"


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ((), "Give 2 to 6 runs"),
        (("r7",), "Give 2 to 6 runs"),
        (tuple("abcdefg"), "Give 2 to 6 runs"),
        (("r7", "r8", "r7"), "named twice"),
    ],
)
def test_too_few_too_many_or_one_twice_is_wrong_usage(
    runs: tuple[str, ...], message: str, invoke: Invoke
) -> None:
    result = invoke("compare", *runs)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_nothing_is_cut_on_a_narrow_terminal(
    columns: int, trained: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.setattr(terminal, "width", lambda: columns)
    monkeypatch.setattr("realm_telemetry.cli.compare.width", lambda: columns)
    text = invoke("compare", "r7", LONG).stdout
    assert "…" not in text
    assert f"python train.py --{LONG}" in text
    assert LONG in text
    if columns < 200:
        assert f"(2) {LONG}" in text.splitlines()


def test_equal_runs_differ_in_nothing_but_their_command(trained: Path, invoke: Invoke) -> None:
    text = invoke("compare", "r7", LONG).stdout
    assert set(rows(text)) >= {"command", "loss"}
    assert "lr" not in rows(text)
