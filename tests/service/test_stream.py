"""GET /api/events/stream: snapshot, resume, filters, coalescing."""

import threading
import time
from pathlib import Path

import httpx
import pytest

from realm_telemetry.kinds import catalog
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service import RealmServer, ServiceSettings
from tests.waiting import SOON_S, wait_until

from .conftest import asking, free_ports, make_event, post_notes, serving
from .streaming import cursors, stream, take


def test_a_stream_begins_with_a_snapshot_and_goes_on_with_events(client: httpx.Client) -> None:
    post_notes(client, 1, 3)
    with stream(client) as source:
        snapshot = next(source)
        post_notes(client, 4, 5)
        events = take(source, 2)
    assert snapshot.event == "snapshot"
    assert [event["cursor"] for event in snapshot.data["events"]] == [3, 2, 1]
    assert snapshot.id == f"{snapshot.data['log_id']}-3"
    assert cursors(events) == [4, 5]
    assert events[-1].id == f"{snapshot.data['log_id']}-5"


def test_a_kind_that_another_process_registered_as_routine_is_routine_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("_specs", "_resolved", "_templates", "_learned"):
        monkeypatch.setattr(catalog, table, getattr(catalog, table).copy())
    settings = free_ports(tmp_path)
    with LogWriter(settings.log_path) as log:
        log.register_kind(catalog.KindSpec("known_at_start", "debug", "info", None, True))
        with serving(settings) as server, asking(server) as client:
            log.register_kind(catalog.KindSpec("met_later", "debug", "info", None, True))
            log.append([make_event(n, kind="known_at_start") for n in range(1, 5)])
            log.append([make_event(n, kind="met_later") for n in range(5, 9)])
            wait_until(lambda: client.get("/health").json()["cursor"] == 8)
            with stream(client) as source:
                snapshot = next(source).data
    assert [event["number"] for event in snapshot["routine"]] == [8, 4]
    assert snapshot["events"] == []


def test_a_snapshot_has_the_latest_routine_event_of_each_producer(client: httpx.Client) -> None:
    for producer in ("0" * 15 + "1", "0" * 15 + "2"):
        post_notes(client, 1, 60, kind="training_step", producer=producer, channel="training")
    post_notes(client, 1, 1)
    with stream(client) as source:
        snapshot = next(source).data
    assert [event["kind"] for event in snapshot["events"]] == ["note"]
    assert [event["number"] for event in snapshot["routine"]] == [60, 60]


def test_events_of_another_process_reach_a_stream(client: httpx.Client, tmp_path: Path) -> None:
    with stream(client) as source, LogWriter(tmp_path / "vault" / "jobs.db") as writer:
        next(source)
        writer.append([make_event(1)])
        assert next(source).data["message"] == "Note 1"


def test_a_late_event_is_streamed_as_late_and_not_kept_as_live(client: httpx.Client) -> None:
    with stream(client) as source:
        next(source)
        post_notes(client, 1, 1, timestamp="2020-01-01T00:00:00Z")
        assert next(source).data["late"] is True
    assert client.get("/api/events").json() == {"events": []}


def test_a_resume_replays_what_was_missed_once_and_in_order(client: httpx.Client) -> None:
    post_notes(client, 1, 700)
    log_id = client.get("/health").json()["log_id"]
    with stream(client, last_event_id=f"{log_id}-10") as source:
        seen = take(source, 690)
        post_notes(client, 701, 710)
        seen += take(source, 10)
    assert cursors(seen) == list(range(11, 711))


def test_a_resume_while_events_arrive_has_neither_gap_nor_repeat(
    server: RealmServer, client: httpx.Client
) -> None:
    post_notes(client, 1, 2000)
    log_id = client.get("/health").json()["log_id"]

    def write() -> None:
        with asking(server) as other:
            for first in range(2001, 4001, 20):
                post_notes(other, first, first + 19)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with stream(client, last_event_id=f"{log_id}-0") as source:
            assert cursors(take(source, 4000)) == list(range(1, 4001))
    finally:
        writer.join()


def test_a_restart_of_the_service_is_resumed_without_gap_or_repeat(tmp_path: Path) -> None:
    settings = free_ports(tmp_path)
    with serving(settings) as server, asking(server) as client, stream(client) as source:
        next(source)
        post_notes(client, 1, 5)
        seen = take(source, 5)
    with LogWriter(settings.log_path) as writer:
        writer.append([make_event(number) for number in range(6, 9)])
    with (
        serving(settings) as server,
        asking(server) as client,
        stream(client, last_event_id=seen[-1].id) as source,
    ):
        seen += take(source, 3)
        post_notes(client, 9, 10)
        seen += take(source, 2)
    assert cursors(seen) == list(range(1, 11))


@pytest.mark.parametrize(
    ("last_event_id", "reason"),
    [
        ("ffffffffffffffffffffffffffffffff-1", "other_log"),
        ("{log_id}-99", "ahead"),
        ("{log_id}-x", "unreadable"),
        ("nonsense", "unreadable"),
    ],
)
def test_a_cursor_that_does_not_connect_is_reset(
    client: httpx.Client, last_event_id: str, reason: str
) -> None:
    post_notes(client, 1, 2)
    last_event_id = last_event_id.format(log_id=client.get("/health").json()["log_id"])
    with stream(client, last_event_id=last_event_id) as source:
        reset, snapshot = take(source, 2)
    assert (reset.event, reset.data) == ("reset", {"reason": reason})
    assert [event["cursor"] for event in snapshot.data["events"]] == [2, 1]


def test_a_cursor_below_the_retention_floor_is_reset(client: httpx.Client, tmp_path: Path) -> None:
    post_notes(client, 1, 10)
    with (
        LogWriter(tmp_path / "vault" / "jobs.db") as writer,
        writer.transaction() as connection,
    ):
        connection.execute("DELETE FROM battle_log WHERE id <= 5")
    log_id = client.get("/health").json()["log_id"]
    with stream(client, last_event_id=f"{log_id}-4") as source:
        assert next(source).data == {"reason": "retention"}
    with stream(client, last_event_id=f"{log_id}-5") as source:
        assert next(source).data["cursor"] == 6


def test_filters_apply_to_snapshot_replay_and_live(client: httpx.Client) -> None:
    post_notes(client, 1, 4)
    post_notes(client, 5, 6, severity="warning")
    log_id = client.get("/health").json()["log_id"]
    with stream(client, {"severity": "warning"}) as source:
        assert [event["cursor"] for event in next(source).data["events"]] == [6, 5]
    with stream(client, {"severity": "warning"}, f"{log_id}-0") as source:
        seen = take(source, 2)
        post_notes(client, 7, 8)
        post_notes(client, 9, 9, severity="warning")
        assert cursors([*seen, next(source)]) == [5, 6, 9]


def test_two_streams_of_different_filters_each_see_their_own(client: httpx.Client) -> None:
    with stream(client, {"hero": "dio"}) as one, stream(client, {"hero": "rex"}) as other:
        next(one), next(other)
        post_notes(client, 1, 3, hero_id="rex")
        post_notes(client, 4, 6, hero_id="dio")
        assert cursors(take(one, 3)) == [4, 5, 6]
        assert cursors(take(other, 3)) == [1, 2, 3]


def test_latest_thins_routine_events_and_says_how_many(client: httpx.Client) -> None:
    with stream(client, {"routine": "latest"}) as source:
        next(source)
        for first in range(1, 301, 10):
            post_notes(client, first, first + 9, kind="training_step")
            time.sleep(0.01)
        steps = [next(source).data]
        while steps[-1]["number"] != 300:
            steps.append(next(source).data)
    assert sum(1 + step.get("coalesced", 0) for step in steps) == 300
    assert len(steps) < 30
    assert [step["number"] for step in steps] == sorted(step["number"] for step in steps)


def test_latest_never_thins_what_is_not_routine(client: httpx.Client) -> None:
    with stream(client, {"routine": "latest"}) as source:
        next(source)
        post_notes(client, 1, 500)
        assert cursors(take(source, 500)) == list(range(1, 501))


def test_an_idle_stream_is_kept_alive_by_comments(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, keepalive_s=0.2)
    with (
        serving(settings) as server,
        asking(server) as client,
        client.stream("GET", "/api/events/stream") as response,
    ):
        lines = response.iter_lines()
        while next(lines) != ": keepalive":
            pass


def test_a_stream_ends_when_the_service_stops(tmp_path: Path) -> None:
    with (
        serving(free_ports(tmp_path)) as server,
        asking(server) as client,
        stream(client) as source,
    ):
        next(source)
        started = time.monotonic()
        server.stop()
        assert list(source) == []
    assert time.monotonic() - started < SOON_S


def test_a_place_is_free_again_when_a_stream_leaves(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, max_stream_clients=1)
    with serving(settings) as server, asking(server) as client:
        with stream(client) as source:
            next(source)
            assert client.get("/api/events/stream").status_code == 503
        wait_until(lambda: client.get("/health").json()["sse_clients"] == 0)
        with stream(client) as source:
            assert next(source).event == "snapshot"


def test_a_head_request_gets_the_headers_alone(client: httpx.Client) -> None:
    response = client.head("/api/events/stream")
    assert response.headers["content-type"].startswith("text/event-stream")


def test_settings_for_a_home_have_its_paths(tmp_path: Path) -> None:
    assert ServiceSettings.for_home(tmp_path).log_path == tmp_path / "vault" / "jobs.db"
