"""The client and the RealmService agree on every route that the client knows."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from realm_telemetry.client import (
    AsyncRealmClient,
    EventMessage,
    RealmClient,
    RunOutput,
    ServiceError,
    SnapshotMessage,
    requests,
)
from realm_telemetry.client import stream as stream_module
from realm_telemetry.event import Event
from realm_telemetry.service import RealmServer, ServiceSettings
from realm_telemetry.spool.output import KeptOutput
from tests.waiting import wait_until

from .conftest import make_event

pytestmark = pytest.mark.slow


@contextmanager
def running(home: Path, port: int = 0) -> Iterator[RealmServer]:
    """A RealmService in a thread, on ports that are free unless one is given."""
    ports = {"port": port, "battle_log_port": 0, "ui_port": 0}
    server = RealmServer(ServiceSettings.for_home(home, **ports))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.started.wait(60)
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealmServer]:
    with running(tmp_path) as running_server:
        yield running_server


@pytest.fixture
def client(server: RealmServer) -> Iterator[RealmClient]:
    with RealmClient(server.url) as made:
        yield made


def test_what_is_posted_comes_back_by_every_route(client: RealmClient) -> None:
    answer = client.post([make_event(number) for number in range(1, 26)])
    assert (answer["accepted"], answer["duplicates"]) == (25, 0)
    assert client.post([make_event(1)])["duplicates"] == 1
    client.note("Lunch", details={"for": "all"})
    rows = list(client.query(channel="checkpoint", limit=10))
    assert [row.event.number for row in rows] == list(range(25, 0, -1))
    assert all(row.cursor == row.event.number for row in rows)
    page = client.query_page(kind="checkpoint_saved", limit=3)
    assert (page.total, page.relation, len(page.rows)) == (25, "eq", 3)
    assert client.health()["log_id"]
    assert client.receipts()


def test_pages_of_runs_neighbours_of_an_event_and_curves(
    client: RealmClient, server: RealmServer
) -> None:
    steps = [
        msgspec.structs.replace(
            make_event(number, "training_step"),
            run_id=f"r{number % 3}",
            details={"step": number, "loss": 1 / number, "a,b": number},
        )
        for number in range(1, 10)
    ]
    client.post(steps)
    events_from_the_start(client, len(steps))
    wait_until(lambda: sum(run["counts"]["events"] for run in client.runs()) == len(steps))
    first = client.runs_page(limit=2)
    assert [run["run_id"] for run in first.runs] == ["r0", "r2"]
    rest = client.runs_page(limit=2, cursor=first.next_cursor)
    assert ([run["run_id"] for run in rest.runs], rest.next_cursor) == (["r1"], None)
    around = client.context(steps[4].id, before=2, after=1)
    assert [row.event.number for row in around] == [3, 4, 5, 6]

    async def ask_all() -> None:
        async with AsyncRealmClient(server.url) as other:
            assert await other.runs_page(limit=2) == first
            assert await other.context(steps[4].id, before=2, after=1) == around

    asyncio.run(ask_all())
    noted = client.note("Restart it.", run_id="r0")
    assert client.event(noted.id)["run_id"] == "r0"


def test_hosts_are_listed(client: RealmClient, server: RealmServer) -> None:
    assert client.hosts() == []
    beat = {"host": "gpu7", "processes": [{"producer": "a" * 16, "run_id": "r7"}]}
    httpx.post(f"{server.url}/api/v1/heartbeat", json=beat).raise_for_status()
    (host,) = client.hosts()
    assert (host["host"], host["status"]) == ("gpu7", "live")

    async def ask() -> None:
        async with AsyncRealmClient(server.url) as other:
            assert [each["host"] for each in await other.hosts()] == ["gpu7"]

    asyncio.run(ask())


def run_event(number: int, run_id: str) -> Event:
    """A step of a run."""
    fields = {"kind": "training_step", "channel": "training", "run_id": run_id}
    return msgspec.structs.replace(make_event(number), **fields)


def test_runs_are_listed_over_pages_and_read_whatever_their_ids_are(
    client: RealmClient, server: RealmServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(requests, "MAX_RUNS", 2)
    ids = ["plain", "a/b c 🐉?#", "..", "x/report", "%2F"]
    client.post([run_event(number, run_id) for number, run_id in enumerate(ids, 1)])
    events_from_the_start(client, len(ids))
    assert [run["run_id"] for run in client.runs()] == ids[::-1]
    assert [run["run_id"] for run in client.runs(limit=3)] == ids[:1:-1]
    assert [run["run_id"] for run in client.runs(status=["running"], q="A/B")] == [ids[1]]
    assert client.runs(status="failed") == []
    for number, run_id in enumerate(ids, 1):
        assert (client.run(run_id)["run_id"], client.run(run_id)["step"]) == (run_id, number)
        assert client.run_report(run_id).startswith("# Run ")
    with pytest.raises(ServiceError, match="no run 'nobody'"):
        client.run_report("nobody")
    with pytest.raises(ServiceError, match="printed was kept"):
        client.run_output("plain")
    kept = KeptOutput(tmp_path, "..")
    kept.append([f"line {number}" for number in range(10)])
    assert client.run_output("..", tail=2) == RunOutput("line 8\nline 9\n", 70, False)
    assert client.run_output("..", offset=63) == RunOutput("line 9\n", 70, False)
    with pytest.raises(TypeError, match="one of them"):
        client.run_output("..", tail=1, offset=0)
    query = (["..", "plain"], ["*"])
    series = client.run_metrics("..", ["*"], points=9, rank="all")["series"]
    assert [each["run_id"] for each in client.compare(*query)["series"]][: len(series)] == [
        ".."
    ] * len(series)
    assert client.event(1) == client.event(make_event(1).id)
    assert client.event(1)["kind"] == "training_step"

    async def ask() -> None:
        async with AsyncRealmClient(server.url) as other:
            assert await other.runs(limit=3) == client.runs(limit=3)
            assert await other.run("..") == client.run("..")
            assert await other.run_report("..") == client.run_report("..")
            assert await other.run_output("..") == client.run_output("..")
            assert await other.run_metrics("..") == client.run_metrics("..")
            assert await other.compare(*query) == client.compare(*query)
            assert await other.event(1) == client.event(1)

    asyncio.run(ask())


def events_from_the_start(client: RealmClient, count: int) -> list[EventMessage]:
    """The first events of the log, by stream; when they are here the service's tail has them."""
    stream: Any = client.stream(last_event_id=f"{client.health()['log_id']}-0")
    messages = list(islice(stream, count))
    stream.close()
    return [message for message in messages if isinstance(message, EventMessage)]


def test_the_stream_begins_with_a_snapshot_and_goes_on_with_events(client: RealmClient) -> None:
    client.note("Before")
    events_from_the_start(client, 1)
    stream: Any = client.stream({"channel": "system"})
    snapshot = next(stream)
    note = client.note("After")
    message = next(stream)
    stream.close()
    assert isinstance(snapshot, SnapshotMessage)
    assert [row.event.message for row in snapshot.rows] == ["Before"]
    assert isinstance(message, EventMessage)
    assert (message.event.id, message.event.message) == (note.id, "After")


def test_the_state_is_that_of_docs_state(client: RealmClient) -> None:
    client.post([make_event(number) for number in range(1, 4)])
    assert [message.cursor for message in events_from_the_start(client, 3)] == [1, 2, 3]
    answer = client.state()
    assert answer["state"]["checkpoints"]["latest"]["step"] == 3
    assert client.state("checkpoints")["totals"]["checkpoint_saved"] == 3
    with pytest.raises(ServiceError) as caught:
        client.state("nowhere")
    assert (caught.value.status, caught.value.error) == (404, "unknown_section")
    assert caught.value.hint


def test_a_wrong_filter_raises_the_services_error(client: RealmClient) -> None:
    with pytest.raises(ServiceError) as caught:
        client.query_page(severity="loud")
    assert caught.value.status == 400
    assert "severity" in str(caught.value)


def test_a_restarted_service_is_followed_without_gap_or_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "FIRST_WAIT_S", 0.05)
    with running(tmp_path) as server:
        port, client = server.ports[0], RealmClient(server.url)
        client.post([make_event(number) for number in range(1, 6)])
        stream: Any = client.stream(last_event_id=f"{client.health()['log_id']}-0")
        seen = list(islice(stream, 3))
    with running(tmp_path, port), client:
        client.post([make_event(number) for number in range(6, 9)])
        seen += islice(stream, 5)
        stream.close()
    cursors = [message.cursor for message in seen if isinstance(message, EventMessage)]
    assert cursors == [*range(1, 9)]
