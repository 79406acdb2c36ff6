"""The older stream: init, events, changed sections, workers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from realm_telemetry.compat.stream import SECTION_INTERVAL_S

from .conftest import asking, free_ports, post_notes, serving
from .streaming import Message, messages


@contextmanager
def older_stream(client: httpx.Client) -> Iterator[Iterator[Message]]:
    """An open older stream."""
    with client.stream("GET", "/api/stream") as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield messages(response)


def until(source: Iterator[Message], name: str) -> list[Message]:
    """The messages up to the first of a name."""
    taken = [next(source)]
    while taken[-1].event != name:
        taken.append(next(source))
    return taken


def test_it_begins_with_state_and_events(client: httpx.Client) -> None:
    client.post("/api/event", json={"kind": "note", "message": "Before"})
    client.post("/api/update/hero", json={"level": 2})
    with older_stream(client) as source:
        init = next(source)
    assert init.event == "init"
    assert init.data["state"]["hero"] == {"level": 2}
    assert [event["message"] for event in init.data["events"]] == ["Before"]
    assert init.data["schema_version"] == 2
    assert init.data["timestamp"].endswith("Z")


def test_events_follow(client: httpx.Client) -> None:
    with older_stream(client) as source:
        next(source)
        for number in range(3):
            client.post("/api/event", json={"kind": "note", "message": f"{number}"})
        taken = [next(source) for _ in range(3)]
    assert [(one.event, one.data["message"]) for one in taken] == [
        ("event", "0"),
        ("event", "1"),
        ("event", "2"),
    ]


def test_a_changed_section_comes_whole_under_its_name(client: httpx.Client) -> None:
    client.post("/api/update/training", json={"step": 1, "eta": "soon"})
    with older_stream(client) as source:
        next(source)
        client.post("/api/update/training", json={"step": 2})
        message = next(source)
        assert message.event == "training"
        assert (message.data["step"], message.data["eta"]) == (2, "soon")
        client.post("/api/update/dungeon", json={"level": 3})
        assert next(source) == Message("dungeon", None, {"level": 3})


def test_a_new_event_changes_its_section_for_older_screens_too(client: httpx.Client) -> None:
    with older_stream(client) as source:
        next(source)
        post_notes(client, 1, 1, kind="training_step", details={"step": 7, "loss": 0.5})
        event, section = next(source), next(source)
    assert (event.event, event.data["kind"]) == ("event", "training_step")
    assert (section.event, section.data["step"]) == ("training", 7)


def test_a_section_that_changes_all_the_time_comes_at_most_twice_a_second(
    client: httpx.Client,
) -> None:
    """And the last message has the last value."""
    assert SECTION_INTERVAL_S == 0.5
    with older_stream(client) as source:
        next(source)
        for step in range(1, 101):
            client.post("/api/update/training", json={"step": step})
        steps = [next(source).data["step"]]
        while steps[-1] != 100:
            steps.append(next(source).data["step"])
    assert len(steps) < 20
    assert steps == sorted(set(steps))


def test_workers_have_messages_of_their_own(client: httpx.Client) -> None:
    with older_stream(client) as source:
        next(source)
        client.post("/api/worker/w1", json={"role": "train"})
        update = next(source)
        assert (update.event, update.data["worker_id"]) == ("worker_update", "w1")
        assert update.data["role"] == "train"
        client.delete("/api/worker/w1")
        event, removed = next(source), next(source)
        assert (event.event, event.data["kind"]) == ("event", "worker_left")
        assert removed == Message("worker_removed", None, {"worker_id": "w1"})
        post_notes(client, 1, 1, kind="worker_heartbeat", details={"worker_id": "w2"})
        assert next(source).event == "worker_update"


def test_frame_injection_a_section_s_name_cannot_forge_a_message(client: httpx.Client) -> None:
    forged = "x\nevent: event\ndata: {}"
    with older_stream(client) as source:
        next(source)
        for number, name in enumerate((forged, "event", "init", "worker_removed", 7), 1):
            details = {"section": name, "data": {"a": 1}}
            post_notes(client, number, number, kind="section_updated", details=details)
        client.post("/api/event", json={"kind": "note", "message": "Last"})
        message = next(source)
    assert (message.event, message.data["message"]) == ("event", "Last")


def test_a_stream_that_falls_off_the_ring_begins_anew(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, ring_frames=5)
    with serving(settings) as server, asking(server) as client, older_stream(client) as source:
        next(source)
        post_notes(client, 1, 200)
        taken = until(source, "init")
    newest = taken[-1].data["events"][0]["number"]
    assert newest == 200


def test_it_has_a_place_a_keepalive_and_an_end(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, keepalive_s=0.3, max_stream_clients=1)
    with (
        serving(settings) as server,
        asking(server) as client,
        client.stream("GET", "/api/stream") as response,
    ):
        lines = response.iter_lines()
        assert next(lines) == "event: init"
        assert json.loads(next(lines)[6:])["events"] == []
        assert next(line for line in lines if line) == ": keepalive"
        assert client.get("/health").json()["sse_clients"] == 1
        refused = client.get("/api/stream")
        assert refused.json()["error"] == "too_many_clients"
        server.stop()
        assert list(lines)[-1:] in ([], [""])
