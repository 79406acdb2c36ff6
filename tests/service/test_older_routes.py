"""The routes of the older service answer as they did."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import asking, free_ports, serving

OLDER_EVENT = {
    "kind": "job_started",
    "message": "Job j1 started",
    "channel": "jobs",
    "severity": "info",
    "details": {"job_id": "j1"},
}


def post(client: httpx.Client, path: str, body: dict[str, Any] | None = None) -> Any:
    response = client.post(path, json={} if body is None else body)
    assert response.status_code == 200, response.text
    return response.json()


def test_an_event_is_answered_and_in_both_views(client: httpx.Client) -> None:
    answer = post(client, "/api/event", OLDER_EVENT)
    assert (answer["success"], answer["was_duplicate"]) == (True, False)
    event = answer["event"]
    assert {name: event[name] for name in OLDER_EVENT} == OLDER_EVENT
    assert event["icon"] == "⚔️"
    assert client.get("/api/events").json()["events"][0]["id"] == event["id"]
    assert client.get("/api/battle_log?channels=jobs").json()[0]["id"] == event["id"]
    assert client.get("/api/battle_log").json()[0]["message"] == "Job j1 started"


def test_what_a_body_lacks_comes_from_the_kind(client: httpx.Client) -> None:
    event = post(client, "/api/event", {"kind": "checkpoint_saved", "details": {"step": 1000}})
    assert event["event"]["message"] == "Checkpoint 1,000 saved"
    assert event["event"]["channel"] == "checkpoint"


def test_the_same_id_again_is_a_duplicate(client: httpx.Client) -> None:
    body = OLDER_EVENT | {"id": "20251129100000123456_job_started"}
    first, second = (post(client, "/api/event", body) for _ in range(2))
    assert (first["was_duplicate"], second["was_duplicate"]) == (False, True)
    assert first["event"]["id"] == body["id"]
    stored = client.get("/api/battle_log").json()
    assert [event["id"] for event in stored] == [first["event"]["event_id"]]
    again = post(client, "/api/event", body | {"id": first["event"]["event_id"]})
    assert again["was_duplicate"]


def test_a_time_without_a_zone_is_local(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        body = OLDER_EVENT | {"timestamp": "2025-11-29T10:00:00.123456"}
        event = post(client, "/api/event", body)["event"]
        assert event["timestamp"] == "2025-11-29T01:00:00.123456Z"
        zoned = OLDER_EVENT | {"timestamp": "2025-11-29T10:00:00Z"}
        event = post(client, "/api/event", zoned)["event"]
        assert event["timestamp"] == "2025-11-29T10:00:00.000000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_unknown_channel_or_severity_loses_no_event(client: httpx.Client) -> None:
    event = post(client, "/api/event", OLDER_EVENT | {"channel": "combat", "severity": 7})["event"]
    assert (event["channel"], event["severity"]) == ("jobs", "info")
    assert event["details"] == {"job_id": "j1", "given_channel": "combat", "given_severity": 7}


@pytest.mark.parametrize(
    "body",
    [{}, {"kind": ""}, {"kind": 7}, {"kind": "x", "details": [1]}, {"kind": "x", "timestamp": "?"},
     {"kind": "x", "timestamp": 5}],
)  # fmt: skip
def test_what_is_no_event_is_refused_with_a_reason(client: httpx.Client, body: Any) -> None:
    response = client.post("/api/event", json=body)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_event")
    assert client.get("/api/battle_log").json() == []


@pytest.mark.parametrize("path", ["/api/event", "/api/update/training", "/api/worker/w1"])
def test_a_body_that_is_no_object_is_refused(client: httpx.Client, path: str) -> None:
    for content in (b"[1]", b"{", b"\xff", b"[" * 100_000):
        response = client.post(path, content=content, headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["error"]) == (400, "malformed_json")


def test_updates_merge_into_the_section(client: httpx.Client) -> None:
    answer = post(client, "/api/update/training", {"step": 1, "loss": 2.0, "eta": "soon"})
    assert answer == {"success": True, "section": "training"}
    post(client, "/api/update/training", {"loss": 1.5})
    training = client.get("/api/state/training").json()
    assert (training["step"], training["loss"], training["eta"]) == (1, 1.5, "soon")
    post(client, "/api/update/dungeon", {"level": 3})
    assert client.get("/api/state/dungeon").json() == {"level": 3}


def test_history_has_the_section_as_it_was_oldest_first(client: httpx.Client) -> None:
    post(client, "/api/update/hero", {"name": "Dio", "level": 1})
    post(client, "/api/update/hero", {"level": 2, "_record_history": True})
    post(client, "/api/update/hero", {"level": 3})
    post(client, "/api/update/hero", {"level": 4, "_record_history": True})
    post(client, "/api/update/other", {"level": 9, "_record_history": True})
    shape = client.get("/api/history/hero").json()
    assert shape["section"] == "hero"
    assert [one["data"] for one in shape["history"]] == [
        {"name": "Dio", "level": 2},
        {"name": "Dio", "level": 4},
    ]
    last = shape["history"][-1]
    assert datetime.fromisoformat(last["timestamp"]).tzinfo is not None
    assert client.get("/api/history/hero?limit=1").json()["history"] == [last]
    since = {"since": last["timestamp"]}
    assert client.get("/api/history/hero", params=since).json()["history"] == [last]
    assert client.get("/api/history/nowhere").json() == {"history": [], "section": "nowhere"}
    assert "_record_history" not in client.get("/api/state/hero").json()


def test_a_recorded_update_of_a_section_with_own_fields_keeps_the_updates(
    client: httpx.Client,
) -> None:
    post(client, "/api/update/training", {"step": 1})
    post(client, "/api/update/training", {"loss": 1.0, "_record_history": True})
    (entry,) = client.get("/api/history/training").json()["history"]
    assert entry["data"] == {"step": 1, "loss": 1.0}


def test_workers_come_change_and_go(client: httpx.Client) -> None:
    post(client, "/api/worker/w1", {"role": "train", "device": "gpu0", "vram_gb": 24})
    post(client, "/api/worker/w1", {"current_job": "j1", "status": "busy"})
    post(client, "/api/worker/w2")
    workers = client.get("/api/workers").json()["workers"]
    assert set(workers) == {"w1", "w2"}
    worker = client.get("/api/workers/w1").json()
    assert worker["worker_id"] == "w1"
    assert (worker["role"], worker["current_job"], worker["status"], worker["vram_gb"]) == (
        "train", "j1", "busy", 24,
    )  # fmt: skip
    assert worker["age_s"] < 60
    assert client.get("/api/state").json()["state"]["workers"].keys() == {"w1", "w2"}
    assert client.delete("/api/worker/w1").json() == {"success": True, "worker_id": "w1"}
    assert set(client.get("/api/workers").json()["workers"]) == {"w2"}
    gone = client.delete("/api/worker/w1")
    assert (gone.status_code, gone.json()["error"]) == (404, "unknown_worker")
    post(client, "/api/worker/w1", {"role": "eval"})
    back = client.get("/api/workers/w1").json()
    assert (back["role"], back["status"]) == ("eval", "active")


@pytest.mark.parametrize("name", ["a%0Ab", "a%3Ab", "x" * 65, "%20", "a%2Fb"])
def test_a_name_that_could_forge_a_message_is_refused(client: httpx.Client, name: str) -> None:
    for path in (f"/api/update/{name}", f"/api/worker/{name}"):
        assert client.post(path, json={"a": 1}).status_code in (400, 404)


def test_an_update_that_would_be_cut_is_refused_whole(client: httpx.Client) -> None:
    response = client.post("/api/update/hero", json={"lore": "x" * 70_000})
    assert (response.status_code, response.json()["error"]) == (413, "body_too_large")
    most = {"a": "x" * 30_000, "b": "y" * 30_000}
    post(client, "/api/update/hero", most | {"_record_history": True})
    (entry,) = client.get("/api/history/hero").json()["history"]
    assert entry["data"] == most


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post(client, "/api/update/hero", {"level": 2, "_record_history": True})
        post(client, "/api/worker/w1", {"role": "train"})
        before = client.get("/api/history/hero").json()
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        while client.get("/ready").status_code != 200:
            time.sleep(0.01)
        assert client.get("/api/history/hero").json() == before
        assert client.get("/api/state/hero").json() == {"level": 2}
        assert client.get("/api/workers/w1").json()["role"] == "train"
