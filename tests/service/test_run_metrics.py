"""Curves over HTTP: names, series, ranks, comparisons; across restarts and beyond retention."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.curves import fold as fold_module
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service.api.runs import RunRoute, get_run
from tests.waiting import wait_until

from .conftest import asking, free_ports, serving
from .test_runs import find, tell, trained

BEGIN_NS = 1_764_374_400_000_000_000
SECOND = 1_000_000_000


def names(client: httpx.Client, run_id: str) -> list[str]:
    groups = find(client, run_id, "/metrics").json()["groups"]
    return [metric["name"] for group in groups for metric in group["metrics"]]


def stored(path: Path, run_id: str, steps: int, producer: str = "a") -> None:
    """Put a run straight into the log, as a shipper does."""
    events = [
        Event(
            "training_step",
            "training",
            "info",
            "",
            {"step": step, "loss": 1 / (step + 1)},
            BEGIN_NS + step * SECOND,
            producer * 16,
            step + 1,
            run_id=run_id,
        )
        for step in range(steps)
    ]
    with LogWriter(path) as writer:
        for start in range(0, steps, 500):
            writer.append(events[start : start + 500])


def test_a_run_says_what_it_measures_and_answers_all_graphs_at_once(client: httpx.Client) -> None:
    tell(client, "r1", *trained(steps=5))
    assert names(client, "r1") == ["loss", "acc"]
    found = find(client, "r1", "/metrics", name=["acc", "loss", "nope"]).json()
    assert [each["name"] for each in found["series"]] == ["loss", "acc"]
    loss = found["series"][0]
    assert (loss["steps"], loss["values"]) == ([1, 2, 3, 4, 5], [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert (loss["axis"], loss["attempt"], loss["overwritten_from"]) == ("step", 1, None)
    assert (found["building"], found["cut"], len(loss["times"])) == (None, False, 5)
    thin = find(client, "r1", "/metrics", name="*", points=2).json()["series"]
    assert [len(each["values"]) for each in thin] == [2, 2]
    assert find(client, "r1", "/metrics", name="loss", rank=3).json()["series"] == []


@pytest.mark.parametrize("wrong", [{"name": ["x"] * 1, "rank": "one"}, {"points": 1}, {"x": 1}])
def test_wrong_parameters_are_named(client: httpx.Client, wrong: dict[str, Any]) -> None:
    tell(client, "r1", *trained())
    answer = find(client, "r1", "/metrics", **wrong)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


def test_runs_are_compared_by_configuration_and_curves(client: httpx.Client) -> None:
    for name, rate in (("a", 0.1), ("b", 0.2)):
        config = {"kind": "run_config", "details": {"lr": rate, "seed": 1}}
        extra = [{"kind": "run_config", "details": {"bias": None}}] if name == "b" else []
        tell(client, name, *trained(), config, *extra, producer=name)
    query = {"run": ["a", "b"], "name": "loss"}
    found = client.get("/api/compare", params=query).json()
    assert [run["run_id"] for run in found["runs"]] == ["a", "b"]
    assert found["config"] == {
        "different": [
            {"name": "bias", "values": [None, None], "has": [False, True]},
            {"name": "lr", "values": [0.1, 0.2], "has": [True, True]},
        ],
        "same": 1,
    }
    assert [each["run_id"] for each in found["series"]] == ["a", "b"]
    assert [metric["name"] for metric in found["metrics"]] == ["loss", "acc"]
    assert [run["count"] for run in found["metrics"][0]["runs"]] == [3, 3]
    for wrong in (["a"], ["a", "a"], [str(number) for number in range(7)]):
        answer = client.get("/api/compare", params={"run": wrong})
        assert answer.json()["error"] == "invalid_parameter", wrong
    assert found["missing"] == []


ODD_IDS = ("100%", "%2F", "team/r 1", "تدريب/٧ 🐉", "a&run=b#?", "x" * 256)


def test_an_unknown_run_is_named_and_the_others_are_compared(client: httpx.Client) -> None:
    """Whatever characters the ids have; without any run there is nothing to answer."""
    for place, name in enumerate(ODD_IDS[:4]):
        tell(client, name, *trained(), producer=str(place))
    asked = ["nobody", *ODD_IDS[:4], "nobody/%2F"]
    found = client.get("/api/compare", params={"run": asked, "name": "loss"}).json()
    assert [run["run_id"] for run in found["runs"]] == list(ODD_IDS[:4])
    assert [each["run_id"] for each in found["series"]] == list(ODD_IDS[:4])
    assert [run["run_id"] for run in found["missing"]] == ["nobody", "nobody/%2F"]
    assert found["missing"][0]["message"] == "There is no run 'nobody'."
    alone = client.get("/api/compare", params={"run": ["nobody", ODD_IDS[0]]}).json()
    assert [run["run_id"] for run in alone["runs"]] == [ODD_IDS[0]]
    assert alone["config"] == {"different": [], "same": 0}
    answer = client.get("/api/compare", params={"run": ["nobody", ODD_IDS[5]]})
    assert (answer.status_code, answer.json()["error"]) == (404, "run_not_found")
    assert "nobody" in answer.json()["message"]


def test_dots_are_runs_too(client: httpx.Client) -> None:
    for producer, run_id in (("a", "."), ("b", "..")):
        shape = {"kind": "training_step", "step": 1, "loss": 1.0, "run_id": run_id}
        shapes = [{"producer": producer * 16, "number": 1, **shape}]
        assert client.post("/api/v1/events", json={"events": shapes}).status_code == 200
    for path, run_id in (
        ("/api/runs/%252E/metrics", "."),
        ("/api/runs/%252e%252E/metrics", ".."),
    ):
        wait_until(partial(is_found, client, path))
        assert client.get(path).json()["run_id"] == run_id
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/api/runs/."}
    scope |= {"root_path": "", "raw_path": b"/api/runs/%2E"}
    assert RunRoute("/api/runs/{id}", get_run).matches(scope)[1]["path_params"] == {"id": "."}


def is_found(client: httpx.Client, path: str) -> bool:
    return client.get(path).status_code == 200


def test_curves_outlive_their_events_and_the_service(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, snapshot_interval_s=0.1)
    with serving(settings) as server, asking(server) as client:
        tell(client, "r1", *trained(steps=9))
        before = find(client, "r1", "/metrics", name="*").json()
    with closing(sqlite3.connect(settings.log_path)) as connection, connection:
        connection.execute("DELETE FROM battle_log")
    with serving(settings) as server, asking(server) as client:
        wait_until(lambda: find(client, "r1", "/metrics", name="*").json() == before)
        tell_again = {"kind": "training_step", "step": 10, "loss": 0.1}
        shape = {"producer": "1" * 16, "number": 99, "run_id": "r1", **tell_again}
        assert client.post("/api/v1/events", json={"events": [shape]}).status_code == 200
        wait_until(
            lambda: (
                find(client, "r1", "/metrics", name="loss").json()["series"][0]["steps"]
                == [*range(1, 11)]
            )
        )


def test_an_older_run_is_read_at_its_first_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the curves begin on a long log; all of it is read in the end."""
    monkeypatch.setattr(fold_module, "SMALL_LOG", 10)
    settings = free_ports(tmp_path, snapshot_interval_s=0.1)
    stored(settings.log_path, "old", 3_000)
    stored(settings.log_path, "other", 300, "b")
    with serving(settings) as server, asking(server) as client:
        wait_until(lambda: find(client, "old", "/metrics").status_code == 200)
        wait_until(lambda: find(client, "old", "/metrics").json()["building"] is None)
        shown = find(client, "old", "/metrics").json()["groups"][0]["metrics"][0]
        assert (shown["count"], shown["last_step"]) == (3_000, 2_999)
        store = server.app.state.service.log.curves(server.app.state.service.log_id)
        wait_until(lambda: store.mark().is_complete)
        again = find(client, "old", "/metrics").json()["groups"][0]["metrics"][0]
        assert again == shown
        other = find(client, "other", "/metrics").json()["groups"][0]["metrics"][0]
        assert other["count"] == 300


def test_retention_waits_for_older_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_module, "SMALL_LOG", 10)
    settings = free_ports(tmp_path)
    stored(settings.log_path, "old", 600)
    with serving(settings) as server:
        service = server.app.state.service
        wait_until(lambda: (service.log.curves(service.log_id).mark() or (0,))[0] == 600)
        wait_until(lambda: service.upkeep._covered["Curves"] == 600)


def test_a_report_is_markdown_or_html_with_curves(client: httpx.Client) -> None:
    tell(client, "r1", *trained(steps=5))
    plain = find(client, "r1", "/report")
    assert plain.headers["content-type"].startswith("text/markdown")
    assert "## Curves" in plain.text
    page = find(client, "r1", "/report", format="html")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.text.count("<svg") == 2
    assert find(client, "r1", "/report", format="pdf").json()["error"] == "invalid_parameter"
