"""Replay: a second service becomes like the first, the first stores nothing twice."""

import json
import threading
import time
from contextlib import AbstractContextManager, closing
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

import realm_telemetry
from realm_telemetry.client import (
    RealmClient,
    ServiceUnreachableError,
    SnapshotMessage,
)
from realm_telemetry.event import format_time
from realm_telemetry.folds.state import RealmState, rebuild
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.service import RealmServer
from realm_telemetry.testing.running_service import running_service
from realm_telemetry.transfer.replay import replay_events
from realm_telemetry.wire import encode_batch
from tests.waiting import wait_until

from .conftest import PRODUCER, RESOURCE, SECOND, Home, make_event
from .runs import a_run, original


def serving(home: Home, **settings: Any) -> AbstractContextManager[RealmServer]:
    """A real service of a home."""
    return running_service(home.path, **settings)


SPAN = f"since={format_time(time.time_ns() - 2 * 86_400 * SECOND)}&until=2100-01-01"
PAGES = (
    "/api/events?limit=1000",
    "/api/events?channel=jobs&severity=error",
    "/api/battle_log?limit=1000",
    "/api/battle_log/channels",
    "/api/battle_log/summary?by=run,kind&since=30d",
    "/api/battle_log/summary?by=channel,severity,day,hour&since=30d",
    f"/api/battle_log/histogram?{SPAN}",
    f"/api/battle_log/series?fields=loss&kind=training_step&{SPAN}",
    "/api/battle_log?q=started&limit=50",
    f"/api/battle_log/{PRODUCER}{7:016x}/context",
    "/api/history/queue",
)


def pages(server: RealmServer) -> dict[str, Any]:
    """What the pages show, with the state's events, the stream's snapshot and the export."""
    with httpx.Client(base_url=server.url, timeout=60) as web:
        shown = {page: web.get(page).json() for page in PAGES}
        shown["state"] = web.get("/api/state").json()["events"]
        shown["export"] = web.get("/api/battle_log/export?order=arrival").text
    with RealmClient(server.url) as client:
        stream: Any = client.stream()
        with closing(stream):
            snapshot = next(stream)
    assert isinstance(snapshot, SnapshotMessage)
    shown["snapshot"] = snapshot.rows, snapshot.routine
    return shown


def dump(home: Home) -> bytes:
    """The folded state with all its stamps; only the cursor may differ between two logs."""
    with LogReader(home.log) as reader:
        state: RealmState = rebuild(reader.now)
    state.cursor = 0
    return state.dump()


def test_a_second_service_shows_the_same_and_keeps_showing_it(home: Home, elsewhere: Home) -> None:
    original(home, a_run(400))
    with serving(home) as first, serving(elsewhere) as second:
        report = replay_events(to=second.url)
        assert (report.events, report.stored, report.same_log) == (400, 400, False)
        wait_until(lambda: len(pages(second)[PAGES[0]]["events"]) > 100)
        wait_until(lambda: pages(second) == pages(first))
        assert pages(first)[PAGES[0]]["events"]
        states = [server_state(server) for server in (first, second)]
        assert states[0] == states[1]
        assert states[0]["workers"]["w0"]["last_heartbeat"] is not None
    assert dump(elsewhere) == dump(home)
    assert elsewhere.events() == home.events()
    assert elsewhere.resources()[PRODUCER] == RESOURCE
    with serving(home) as first, serving(elsewhere) as restarted:
        assert pages(restarted) == pages(first)


def server_state(server: RealmServer) -> dict[str, Any]:
    """The state without what is counted to the present."""
    with RealmClient(server.url) as client:
        state: dict[str, Any] = client.state()["state"]
    shown: dict[str, Any] = without_ages(state)
    return shown


def without_ages(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_ages(each) for name, each in value.items() if name != "age_s"}
    return [without_ages(each) for each in value] if isinstance(value, list) else value


def test_a_second_replay_stores_nothing(home: Home, elsewhere: Home) -> None:
    original(home, a_run(120))
    with serving(elsewhere) as second:
        replay_events(to=second.url)
        report = replay_events(to=second.url)
        assert (report.stored, report.already) == (0, 120)
    assert len(elsewhere.events()) == 120


def test_only_what_the_filters_want_is_replayed(home: Home, elsewhere: Home) -> None:
    original(home, a_run(100))
    with serving(elsewhere) as second:
        report = replay_events(since="2d", to=second.url, kind="job_failed", run="r7")
        assert report.stored == 20
        assert replay_events(until="3d", to=second.url).events == 0
    assert {event.kind for event in elsewhere.events()} == {"job_failed"}


def test_the_service_of_this_log_shows_late_events_again_and_stores_none(home: Home) -> None:
    home.store([make_event(number) for number in range(1, 81)])
    before = home.events()
    with serving(home) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.get("/api/events").json()["events"] == []
        state = server_state(server)
        report = realm_telemetry.replay_events(since="2025-11-29T00:00:41Z", to=server.url)
        assert (report.same_log, report.stored, report.already) == (True, 0, 40)
        shown = client.get("/api/events").json()["events"]
        assert [event["number"] for event in shown] == list(range(80, 40, -1))
        realm_telemetry.replay_events(to=server.url)
        shown = client.get("/api/events").json()["events"]
        assert [event["number"] for event in shown] == list(range(80, 30, -1))
        assert server_state(server) == state
    assert home.events() == before


def test_streams_get_what_is_shown_again_without_an_id(home: Home) -> None:
    home.store([make_event(number) for number in range(1, 4)])
    with (
        serving(home) as server,
        httpx.stream("GET", f"{server.url}/api/events/stream", timeout=60) as stream,
    ):
        lines = stream.iter_lines()
        assert any(line == "event: snapshot" for line in lines)
        replay_events(to=server.url)
        found = []
        name = sent_id = None
        for line in lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("id: "):
                sent_id = line
            elif line.startswith("data: ") and name == "event":
                found.append((sent_id, json.loads(line.removeprefix("data: "))))
            elif not line:
                name = sent_id = None
            if len(found) == 3:
                break
    assert [(each[0], each[1]["number"]) for each in found] == [(None, 1), (None, 2), (None, 3)]
    assert all(each[1]["replayed"] for each in found)


def test_registered_kinds_are_replayed_too(home: Home, elsewhere: Home) -> None:
    from realm_telemetry.kinds.catalog import KindSpec

    kind = KindSpec("beat_of_a_drum", "debug", "info", "Drum {n}", True)
    with LogWriter(home.log) as writer:
        writer.register_kind(kind)
    home.store([make_event(1, kind="beat_of_a_drum", channel="debug")])
    with serving(elsewhere) as second:
        replay_events(to=second.url)
    with LogReader(elsewhere.log) as reader:
        assert reader.now.kinds() == [kind]


def test_what_a_service_knows_of_a_producer_stays(home: Home, elsewhere: Home) -> None:
    original(home, a_run(10))
    elsewhere.register(resource={"service.name": "known"})
    with serving(elsewhere) as second:
        replay_events(to=second.url)
    assert elsewhere.resources()[PRODUCER] == {"service.name": "known"}


def test_a_word_that_no_event_has_is_rejected_and_done(home: Home, elsewhere: Home) -> None:
    home.store([make_event(1), make_event(2, channel="arena")])
    with serving(elsewhere) as second:
        report = replay_events(to=second.url)
        assert (report.stored, report.rejected) == (1, 1)
        assert "channel must be one of" in report.reason
        done = home.run("replay", "--to", second.url)
    assert done.returncode == 1
    assert "1 event rejected, the first: channel" in done.stdout


def test_a_replay_and_ordinary_batches_do_not_mix(elsewhere: Home) -> None:
    """Both may wait for the same commit; only the one keeps what it brings."""
    long_ago = time.time_ns() - 10**15
    mine = [make_event(n, time_unix_nano=long_ago, observed_unix_nano=long_ago) for n in (1, 2)]
    with serving(elsewhere) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        headers = {"content-type": "application/x-protobuf"}
        threads = [
            threading.Thread(
                target=client.post,
                args=("/api/v1/events",),
                kwargs={
                    "content": encode_batch([mine[n % 2 and 1]] if n < 2 else []),
                    "headers": headers,
                    "params": {"replay": "true" if n % 2 else "false"},
                },
            )
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    late = {event.number: event.late for event in elsewhere.events()}
    assert late == {1: True, 2: False}


def test_without_a_service_the_command_says_what_to_do(home: Home) -> None:
    home.store([make_event(1)])
    done = home.run("replay", "--since", "24h")
    assert done.returncode == 1
    assert "realm up" in done.stderr
    with pytest.raises(ServiceUnreachableError):
        replay_events(to="http://127.0.0.1:9")


def test_importing_the_package_brings_no_reading_side() -> None:
    import subprocess
    import sys

    code = (
        "import sys, realm_telemetry\n"
        "assert not {'httpx', 'sqlite3', 'realm_telemetry.transfer'} & sys.modules.keys()\n"
        "from realm_telemetry.transfer.replay import replay_events\n"
        "assert realm_telemetry.replay_events is replay_events\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_services_exporters_skip_replayed_events(home: Home, elsewhere: Home) -> None:
    from realm_telemetry.delivery.sources import WholeLog

    original(home, a_run(20))
    elsewhere.register()
    elsewhere.store([replace(make_event(900), time_unix_nano=time.time_ns())])
    with serving(elsewhere) as second:
        replay_events(to=second.url)
    whole = WholeLog(elsewhere.log)
    rows, end = whole.after(0, 100)
    whole.close()
    assert [row.event.number for row in rows] == [900]
    assert end == 21
