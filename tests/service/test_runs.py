"""Runs over HTTP: list, detail, curves, report; across a restart and beyond retention."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from realm_telemetry.event import FIRST_CONTENT_NUMBER
from realm_telemetry.folds.runs import fold
from realm_telemetry.service.api.runs import RunRoute, get_run
from realm_telemetry.values.paths import write_name
from tests.waiting import wait_until

from .conftest import asking, free_ports, serving

ODD = "lab a/b 🐉?#%2F"


def tell(client: httpx.Client, run_id: str, *told: dict[str, Any], producer: str = "1") -> None:
    """Store events of a run; each has its number by its place, unless it brings one."""
    begin = time.time_ns() - 60 * 10**9
    shapes = [
        {
            "producer": producer * 16,
            "number": number,
            "run_id": run_id,
            "time_unix_nano": str(begin + number * 10**9),
        }
        | one
        for number, one in enumerate(told, 1)
    ]
    answer = client.post("/api/v1/events", json={"events": shapes}).json()
    assert answer["accepted"] == len(told), answer
    wait_until(lambda: find(client, run_id).json().get("counts", {}).get("events", 0) >= len(told))


def find(client: httpx.Client, run_id: str, below: str = "", **params: Any) -> httpx.Response:
    return client.get(f"/api/runs/{quote(run_id, safe='')}{below}", params=params)


def trained(*, steps: int = 3, **start: Any) -> list[dict[str, Any]]:
    loop = [
        {"kind": "training_step", "step": step, "loss": 1 / step, "acc": step / 10}
        for step in range(1, steps + 1)
    ]
    return [{"kind": "run_started", "details": start}, *loop]


FAILED = {
    "kind": "run_ended",
    "number": FIRST_CONTENT_NUMBER + 7,
    "details": {"status": "killed", "reason": "SIGKILL", "evidence": {"signal": "SIGKILL"}},
}


def test_a_run_is_listed_and_shown_whatever_its_id_is(client: httpx.Client) -> None:
    for producer, run_id in zip("abc", ("r1", ODD, "a/metrics"), strict=True):
        tell(client, run_id, *trained(command="python train.py"), FAILED, producer=producer)
    listed = client.get("/api/runs").json()["runs"]
    assert {run["run_id"] for run in listed} == {"r1", ODD, "a/metrics"}
    run = find(client, ODD).json()
    assert (run["run_id"], run["status"], run["reason"]) == (ODD, "killed", "SIGKILL")
    assert (run["step"], run["loss"], run["command"]) == (3, 1 / 3, "python train.py")
    assert run["evidence"] == {"signal": "SIGKILL"}
    assert find(client, "a/metrics").json()["run_id"] == "a/metrics"


@pytest.mark.parametrize(
    ("path", "raw", "found"),
    [
        ("/api/runs/a/b", b"/api/runs/a%2Fb", "a/b"),
        ("/realm/api/runs/a/b c", b"/realm/api/runs/a%2Fb%20c", "a/b c"),
        ("/api/runs/a/b", b"/api/runs/a/b", None),
        ("/api/runs/r1", None, "r1"),
    ],
)
def test_the_path_of_a_run_is_matched_as_it_was_sent(
    path: str, raw: bytes | None, found: str | None
) -> None:
    """Also below the path that another application mounts the service at."""
    root = "/realm" if path.startswith("/realm") else ""
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "root_path": root}
    if raw is not None:
        scope["raw_path"] = raw
    _, child = RunRoute("/api/runs/{id}", get_run).matches(scope)
    assert child.get("path_params", {}).get("id") == found


def test_runs_with_warnings_are_found_however_they_ended(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "_AT_ONCE", 2)
    nan = {"kind": "loss_not_finite", "details": {"field": "loss", "step": 3, "value": "NaN"}}
    spiked = {"kind": "loss_spiked", "details": {"field": "loss", "step": 3, "value": 9}}
    told: dict[str, list[dict[str, Any]]] = {"a": [nan], "b": [], "c": [spiked], "d": []}
    for run_id, further in told.items():
        tell(client, run_id, *trained(), *further, producer=run_id)

    def listed(**params: Any) -> list[str]:
        answer = client.get("/api/runs", params=params)
        assert answer.status_code == 200
        return sorted(run["run_id"] for run in answer.json()["runs"])

    assert listed(warnings="any") == ["a", "c"]
    assert listed(warnings="not_finite") == ["a"]
    assert listed(warnings="spikes,stalls") == ["c"]
    assert listed(warnings="any", q="c") == ["c"]
    assert listed(warnings="") == ["a", "b", "c", "d"]
    # Page by page each comes once, also where a part of the list has none.
    monkeypatch.setattr(fold, "LOOKED_AT", 2)
    found, place = [], "/api/runs?warnings=any&limit=1"
    while place:
        answer = client.get(place)
        found += [run["run_id"] for run in answer.json()["runs"]]
        following = answer.links.get("next", {}).get("url", "")
        place = f"/api/runs{following}" if following else ""
    assert sorted(found) == ["a", "c"]
    wrong = client.get("/api/runs", params={"warnings": "nan"}).json()
    assert (wrong["message"], "not_finite" in wrong["hint"]) == (
        "warnings: there is no warning 'nan'.",
        True,
    )


def test_runs_have_tags_and_are_filtered_by_them(client: httpx.Client) -> None:
    configured = {"kind": "run_config", "details": {"tags": ["lr", " ", 3, "x" * 101]}}
    tell(client, "a", *trained(tags=["base, line", "lr"]), configured, producer="a")
    tell(client, "b", *trained(tags="lr, warm up,"), producer="b")
    tell(client, "c", *trained(tags={"not": "a list"}), producer="c")
    listed = {run["run_id"]: run["tags"] for run in client.get("/api/runs").json()["runs"]}
    assert listed == {"a": ["lr", "x" * 100, "base, line"], "b": ["lr", "warm up"], "c": []}

    def tagged(*tags: str) -> list[str]:
        answer = client.get("/api/runs", params={"tag": tags})
        return sorted(run["run_id"] for run in answer.json()["runs"])

    assert tagged("lr") == ["a", "b"]
    assert tagged("lr", "base, line") == ["a"]
    assert tagged("nobody's") == []
    assert find(client, "b").json()["tags"] == ["lr", "warm up"]


def test_a_list_has_the_last_values_that_it_is_asked_for(client: httpx.Client) -> None:
    """Of any name, by the names of the curves; NaN is a word, and what a run has not is absent."""
    odd = {"kind": "training_step", "step": 4, "details": {"a,b/c %&=": 2, "loss": "NaN"}}
    other = {"kind": "training_step", "step": 4, "rank": 1, "details": {"acc": 0.9}}
    evaluated = {"kind": "evaluation_finished", "details": {"step": 3, "acc": 0.25}}
    tell(client, "a", *trained(), odd, other, evaluated, producer="a")
    tell(client, "b", *trained(), producer="b")

    def listed(*names: str) -> dict[str, Any]:
        answer = client.get("/api/runs", params={"metric": names})
        return {run["run_id"]: run.get("metrics") for run in answer.json()["runs"]}

    assert listed() == {"a": None, "b": None}
    assert listed("a,b/c %&=", "acc") == {"a": {"a,b/c %&=": 2, "acc": 0.3}, "b": {"acc": 0.3}}
    every = {"a,b/c %&=": 2, "acc": 0.3, "eval/acc": 0.25, "loss": "NaN"}
    assert listed("*")["a"] == find(client, "a").json()["metrics"] == every
    assert client.get("/api/runs", params={"metric": ["x"] * 16}).status_code == 200
    wrong = client.get("/api/runs", params={"metric": ["x"] * 17})
    assert wrong.json()["message"] == "metric: at most 16 of them."


def test_a_run_with_a_comma_in_its_id_is_a_filter(client: httpx.Client) -> None:
    run_id = 'lr=0.1,wd=0 "x"'
    tell(client, run_id, *trained())
    tell(client, "lr=0.1", *trained(), producer="2")
    found = client.get("/api/battle_log", params={"run": write_name(run_id)}).json()
    assert {event["run_id"] for event in found} == {run_id}
    assert len(found) == 4


def test_an_unknown_run_is_an_error_of_the_catalogue(client: httpx.Client) -> None:
    wait_until(lambda: client.get("/api/runs").status_code == 200)
    for below in ("", "/metrics", "/report"):
        answer = find(client, "nobody/at all", below)
        assert (answer.status_code, answer.json()["error"]) == (404, "run_not_found")
    assert client.get("/api/runs/a/b").json()["error"] == "not_found"


def test_numbers_of_an_evaluation_are_curves_and_the_last_evaluation(client: httpx.Client) -> None:
    evaluations = [
        {"kind": "evaluation_finished", "details": {"step": step, "bleu": step / 100, "n": 64}}
        for step in (10, 20)
    ]
    tell(client, "r1", *trained(), *evaluations)
    found = find(client, "r1", "/metrics", fields="bleu,n").json()
    assert [point[2:] for point in found["points"]] == [[10, 0.1, 64], [20, 0.2, 64]]
    last = find(client, "r1").json()["last_evaluation"]
    assert (last["step"], last["metrics"]) == (20, {"bleu": 0.2, "n": 64})


def test_the_list_is_filtered_and_paged(client: httpx.Client) -> None:
    for number in range(5):
        start = {"kind": "run_started", "details": {"command": f"python train_{number}.py"}}
        start["time_unix_nano"] = str(time.time_ns() - (100 - number) * 10**9)
        end = [FAILED] if number == 3 else []
        tell(client, f"run-{number}", start, *end, producer=f"{number}")
    every = [run["run_id"] for run in client.get("/api/runs").json()["runs"]]
    assert every == [f"run-{number}" for number in (4, 3, 2, 1, 0)]
    for query, expected in (
        ("status=killed", ["run-3"]),
        ("status=killed,failed", ["run-3"]),
        ("q=TRAIN_2", ["run-2"]),
        ("q=UN-1", ["run-1"]),
        ("status=completed", []),
        ("since=70s", ["run-3"]),
    ):
        found = client.get(f"/api/runs?{query}").json()["runs"]
        assert [run["run_id"] for run in found] == expected, query
    pages: list[str] = []
    answer = client.get("/api/runs?limit=2&q=run")
    while True:
        pages += [run["run_id"] for run in answer.json()["runs"]]
        if "next" not in answer.links:
            break
        answer = client.get(f"/api/runs{answer.links['next']['url']}")
    assert pages == every


@pytest.mark.parametrize(
    "query", ["status=unheard", "limit=501", "cursor=x", "q=" + "x" * 2_000, "since=soon", "hm=1"]
)
def test_a_parameter_that_is_not_valid_is_named(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/runs?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")
    assert query.partition("=")[0] in answer.json()["message"]


def test_the_curves_of_a_run(client: httpx.Client) -> None:
    tell(client, "r 1", *trained(steps=20))
    found = find(client, "r 1", "/metrics", fields="loss,acc", points=1000).json()
    assert found["fields"] == ["loss", "acc"]
    assert [point[2:] for point in found["points"]][:2] == [[1, 1.0, 0.1], [2, 0.5, 0.2]]
    assert len(found["points"]) == 20
    assert find(client, "r 1", "/metrics", fields="a,b,c,d,e,f,g,h,i").status_code == 400


def test_a_report_is_markdown_with_the_end_of_the_traceback(client: httpx.Client) -> None:
    error = {"error": "no data", "error_type": "ValueError", "traceback": "Traceback\n  here"}
    tell(
        client,
        "r1",
        *trained(),
        {"kind": "uncaught_exception", "details": error},
        {"kind": "run_ended", "details": {"status": "failed", "reason": "ValueError: no data"}},
    )
    answer = find(client, "r1", "/report")
    assert answer.headers["content-type"].startswith("text/markdown")
    assert "**failed** · ValueError: no data" in answer.text
    assert "Traceback\n  here" in answer.text
    assert "uncaught_exception" in answer.text
    assert "training_step" not in answer.text.partition("## Last events")[2]


def test_runs_are_there_again_after_a_restart_and_go_on(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        tell(client, "r1", *trained(world_size=1))
        before = find(client, "r1").json()
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        wait_until(lambda: find(client, "r1").status_code == 200)
        assert find(client, "r1").json() == before
        more = {"kind": "training_step", "step": 9, "loss": 0.01, "number": 9}
        client.post(
            "/api/v1/events", json={"events": [more | {"producer": "1" * 16, "run_id": "r1"}]}
        )
        wait_until(lambda: find(client, "r1").json()["step"] == 9)
        after = find(client, "r1").json()
    assert after["started_at"] == before["started_at"]
    assert after["counts"]["events"] == before["counts"]["events"] + 1
    assert list(after["ranks"]) == ["1" * 16]


def test_runs_outlive_their_events_which_wait_until_the_runs_are_saved(tmp_path: Path) -> None:
    with (
        serving(free_ports(tmp_path, snapshot_interval_s=3600.0)) as server,
        asking(server) as client,
    ):
        tell(client, "r1", *trained(), FAILED)
        before = find(client, "r1").json()
    settings = free_ports(
        tmp_path, retention_days=0.0, snapshot_interval_s=0.05, upkeep_interval_s=0.05
    )
    with serving(settings) as server, asking(server) as client:
        with closing(sqlite3.connect(tmp_path / "vault" / "jobs.db")) as connection:
            query = "SELECT count(*) FROM battle_log"
            wait_until(lambda: connection.execute(query).fetchone() == (0,))
        assert find(client, "r1").json() == before
        assert client.get("/api/runs").json()["runs"][0]["status"] == "killed"


def test_a_service_begins_again_behind_what_another_process_has_saved(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, snapshot_interval_s=0.05)
    with serving(settings) as server, asking(server) as client:
        tell(client, "r1", *trained())
        # What a shipper's coverage would have: another mark.
        with closing(sqlite3.connect(tmp_path / "vault" / "jobs.db")) as connection, connection:
            connection.execute("DELETE FROM realm_runs")
            connection.execute("UPDATE realm_meta SET value = '[0,[]]' WHERE key = 'runs'")
        tell(client, "r2", *trained(), producer="2")
        wait_until(lambda: find(client, "r1").json().get("counts", {}).get("events") == 4)
        wait_until(lambda: find(client, "r2").json().get("counts", {}).get("events") == 4)


AGREED = ("run_id", "status", "reason", "step", "total_steps", "loss", "best_loss", "progress")


def test_the_state_shows_the_newest_run_that_goes_on_as_the_runs_do(client: httpx.Client) -> None:
    """After a resume, and beside a run that was heard of later: the two answers never differ."""

    def agrees_about(run_id: str) -> dict[str, Any]:
        run, training = find(client, run_id).json(), client.get("/api/state/training").json()
        assert {name: training[name] for name in AGREED} == {name: run[name] for name in AGREED}
        assert client.get("/api/state").json()["state"]["training"] == training
        assert training["runs"][run_id]["status"] == run["status"]
        return dict(training)

    tell(client, "r1", *trained(steps=9), FAILED)
    assert agrees_about("r1")["status"] == "killed"
    later = {"time_unix_nano": str(time.time_ns())}
    again = [{"number": 50 + n, **one} for n, one in enumerate(trained(steps=2), 1)]
    tell(client, "r1", *(one | later for one in again), producer="2")
    wait_until(lambda: find(client, "r1").json()["step"] == 2)
    resumed = agrees_about("r1")
    assert (resumed["status"], resumed["step"], resumed["best_loss"]) == ("running", 2, 1 / 9)
    begun = {"time_unix_nano": str(time.time_ns() - 10**9)}
    tell(client, "r2", *(one | begun for one in trained(steps=1)), producer="3")
    tell(client, "r1", {"kind": "note", "number": 99, **later}, producer="2")
    assert agrees_about("r2")["runs"]["r1"]["step"] == 2
    update = {"kind": "section_updated", "details": {"section": "training", "data": {"loss": 7}}}
    client.post("/api/v1/events", json={"events": [update]})
    wait_until(lambda: client.get("/api/state/training").json()["loss"] == 7)
