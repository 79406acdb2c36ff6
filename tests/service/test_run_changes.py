"""What was changed since the run before of the same kind, over HTTP."""

from typing import Any

import httpx

from realm_telemetry.folds.runs import before as before_module

from .test_runs import find, tell, trained

WELL = {"kind": "run_ended", "details": {"status": "completed"}}
BAD = {"kind": "run_ended", "details": {"status": "failed", "reason": "exit code 1"}}
NAN = {"kind": "loss_not_finite", "details": {"field": "loss", "step": 3, "value": "NaN"}}
COMMAND = "python train.py --lr "


def told(
    client: httpx.Client, run_id: str, place: int, *further: dict[str, Any], **given: Any
) -> None:
    """A run that starts so many seconds after the first of them, with its settings."""
    config = given.pop("config", {})
    given.setdefault("command", "python train.py --lr 1")
    begin = 1_764_374_400_000_000_000 + place * 10**9
    events = [*trained(**given), {"kind": "run_config", "details": config}, *further]
    timed = [{"time_unix_nano": str(begin + at), **event} for at, event in enumerate(events)]
    producer = f"{place:016x}"
    tell(client, run_id, *({**event, "producer": producer} for event in timed))


def since(client: httpx.Client, run_id: str) -> Any:
    return find(client, run_id, "/changes").json()["before"]


def test_the_last_run_that_was_well_counts(client: httpx.Client) -> None:
    """Not one that failed, nor one with NaN, nor of another program, nor a later one."""
    told(client, "alpha", 1, WELL, config={"lr": 1, "seed": 1}, git_commit="aaa")
    told(client, "beta", 2, NAN, WELL)
    told(client, "gamma", 3, BAD)
    told(client, "other", 4, WELL, command="python serve.py")
    told(client, "delta", 5, BAD, config={"lr": 2, "bias": None, "seed": 1}, git_commit="bbb")
    told(client, "later", 6, WELL)
    found = find(client, "delta", "/changes").json()
    before = found["before"]
    assert (before["run_id"], before["rule"], before["is_well"]) == ("alpha", "command", True)
    assert (before["status"], found["run_id"]) == ("completed", "delta")
    assert found["config"] == {
        "different": [
            {"name": "bias", "values": [None, None], "has": [False, True]},
            {"name": "lr", "values": [1, 2], "has": [True, True]},
        ],
        "same": 1,
    }
    assert found["facts"] == [{"name": "git_commit", "values": ["aaa", "bbb"]}]
    assert since(client, "alpha") is None
    assert find(client, "alpha", "/changes").json()["config"] == {"different": [], "same": 0}
    assert find(client, "nobody", "/changes").json()["error"] == "run_not_found"
    assert find(client, "alpha", "/changes", x=1).json()["error"] == "invalid_parameter"


def test_where_none_was_well_it_is_the_last_one(client: httpx.Client) -> None:
    told(client, "alpha", 1, BAD)
    told(client, "beta", 2, BAD)
    told(client, "gamma", 3)
    assert since(client, "gamma")["run_id"] == "beta"
    assert since(client, "gamma")["is_well"] is False


def test_a_campaign_is_surer_than_a_command_and_that_than_a_name(client: httpx.Client) -> None:
    """Each rule counts only where no surer one finds a run."""
    told(client, "a", 1, WELL, {"kind": "note", "campaign_id": "c1"}, command="python x.py")
    told(client, "train-1", 2, WELL, command="python y.py")
    told(client, "b", 3, WELL, cwd="/elsewhere")
    told(client, "c", 4, WELL)
    told(client, "train-2", 5, BAD, {"kind": "note", "campaign_id": "c1"})
    assert (since(client, "train-2")["run_id"], since(client, "train-2")["rule"]) == (
        "a",
        "campaign",
    )
    told(client, "train-3", 6, BAD, {"kind": "note", "campaign_id": "c2"})
    assert (since(client, "train-3")["run_id"], since(client, "train-3")["rule"]) == (
        "c",
        "command",
    )
    told(client, "train-4", 7, BAD, command="python z.py")
    assert (since(client, "train-4")["run_id"], since(client, "train-4")["rule"]) == (
        "train-1",
        "name",
    )
    told(client, "nothing alike", 8, BAD, command="python z2.py")
    assert since(client, "nothing alike") is None


def test_only_so_many_runs_are_looked_at(client: httpx.Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(before_module, "LOOKED_AT", 2)
    told(client, "alpha", 1, WELL)
    for place in (2, 3):
        told(client, f"serving {place}", place, WELL, command="python serve.py")
        told(client, f"train{place}", 10 * place, BAD)
        found = since(client, f"train{place}")
        assert (found and found["run_id"]) == ("alpha" if place == 2 else "train2")
