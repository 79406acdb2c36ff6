"""Several services on one log in PostgreSQL, and a network between them and it that fails."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from realm_telemetry.client import EventMessage, RealmClient, SnapshotMessage
from realm_telemetry.event import Event
from realm_telemetry.log.engine import open_log
from realm_telemetry.service import RealmServer, host_watch
from tests.exporters.webhook.conftest import Receiver
from tests.exporters.webhook.conftest import options as webhook_options
from tests.faults.conftest import Home, Service
from tests.postgres_server import PASSWORD, Server
from tests.tcp_proxy import TcpProxy
from tests.waiting import wait_until

from .conftest import asking, free_ports, post_notes, serving
from .streaming import Message, cursors, messages, stream, take

pytestmark = pytest.mark.processes

Serve = Callable[..., RealmServer]
WRITER = "00000000000000aa"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """One server for the tests of this file."""
    with Server() as server:
        yield server


@pytest.fixture
def url(postgres: Server, tmp_path: Path) -> str:
    """A log of the test's own."""
    return postgres.url(schema=schema_of(tmp_path))


def schema_of(path: Path) -> str:
    return "s" + "".join(char if char.isalnum() else "_" for char in path.name)[:40].lower()


@pytest.fixture
def serve(url: str, tmp_path: Path) -> Iterator[Serve]:
    """Starts services of the log, each with a home of its own, and waits until they are ready."""
    with ExitStack() as stack:

        def start(name: str, **options: Any) -> RealmServer:
            home = tmp_path / name
            settings = free_ports(home, **({"log_url": url} | options))
            server = stack.enter_context(serving(settings))
            with asking(server) as client:
                wait_until(partial(is_ready, client))
            return server

        yield start


def is_ready(client: httpx.Client) -> bool:
    return client.get("/ready").status_code == 200


def test_a_stream_and_pages_go_on_at_another_service(serve: Serve) -> None:
    with asking(serve("one")) as one, asking(serve("two")) as two:
        with stream(one) as source:
            post_notes(one, 1, 3)
            first = take(source, 4)
        post_notes(two, 4, 6)
        with stream(two, last_event_id=first[-1].id) as source:
            second = take(source, 3)
        assert cursors(first + second) == [1, 2, 3, 4, 5, 6]
        with stream(one, last_event_id=second[-1].id) as source:
            post_notes(two, 7, 7)
            assert cursors(take(source, 1)) == [7]

        page = one.get("/api/battle_log", params={"limit": "4"})
        rest = two.get("/api/battle_log" + page.links["next"]["url"])
        found = [event["message"] for event in page.json() + rest.json()]
        assert found == [f"Note {number}" for number in range(7, 0, -1)]


def test_a_rule_fires_once_and_another_service_takes_over(serve: Serve) -> None:
    with closing(Receiver()) as receiver:
        options = {"webhook": webhook_options(receiver.url())}
        one = serve("one", exporters=["webhook"], options=options)
        wait_until(lambda: one.app.state.service.exporting.delivers)
        two = serve("two", exporters=["webhook"], options=options)
        with asking(one) as first, asking(two) as second:
            post_notes(first, 1, 1)
            post_notes(second, 2, 2)
            wait_until(lambda: len(told(receiver)) >= 2)
            one.stop()
            wait_until(lambda: two.app.state.service.exporting.delivers)
            post_notes(second, 3, 3)
            wait_until(lambda: len(told(receiver)) >= 3)
        assert sorted(told(receiver)) == ["Note 1", "Note 2", "Note 3"]


@pytest.fixture
def short(tmp_path: Path) -> None:
    """Hosts are silent after four seconds, at both services."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "realm.toml").write_text("[watch]\nhost_silent_s = 4\n")


RUNNING = {"producer": WRITER, "run_id": "r1", "rank": 0}


def beat(client: httpx.Client, *processes: dict[str, Any]) -> int:
    body = {"host": "gpu7", "boot_id": "x", "interval_s": 0.5, "processes": processes}
    return client.post("/api/v1/heartbeat", json=body).status_code


def begin_run(client: httpx.Client) -> None:
    started = {"kind": "run_started", "producer": WRITER, "number": 1, "run_id": "r1"}
    assert client.post("/api/v1/events", json={"events": [started]}).json()["accepted"] == 1


def status_of_host(client: httpx.Client) -> str | None:
    found = client.get("/api/hosts").json()["hosts"]
    return found[0]["status"] if found else None


def told_of_hosts(client: httpx.Client) -> list[str]:
    found = client.get("/api/battle_log?kind=host_lost,host_heard_again").json()
    return [event["kind"] for event in reversed(found)]


def go_on_beating(client: httpx.Client, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        assert beat(client, RUNNING) == 200
        time.sleep(0.25)


@pytest.mark.long
@pytest.mark.usefixtures("short")
def test_a_host_that_one_service_hears_is_silent_for_none(serve: Serve) -> None:
    with asking(serve("one")) as one, asking(serve("two")) as two:
        begin_run(one)
        go_on_beating(one, 1.0)
        wait_until(lambda: status_of_host(two) == "live")
        go_on_beating(one, 7.0)
        assert (status_of_host(one), status_of_host(two)) == ("live", "live")
        go_on_beating(two, 7.0)
        assert told_of_hosts(one) == []
        wait_until(lambda: told_of_hosts(two) == ["host_lost"])
        wait_until(lambda: (status_of_host(one), status_of_host(two)) == ("lost", "lost"))
        go_on_beating(one, 4.0)
        wait_until(lambda: (status_of_host(one), status_of_host(two)) == ("live", "live"))
        go_on_beating(two, 2.0)
        assert told_of_hosts(two) == ["host_lost", "host_heard_again"], "each once"
        assert beat(two) == 200


@pytest.mark.long
@pytest.mark.usefixtures("short")
def test_a_host_that_dies_with_the_service_that_heard_it_is_missed(serve: Serve) -> None:
    one = serve("one")
    with asking(one) as first, asking(serve("two")) as two:
        begin_run(first)
        go_on_beating(first, 1.5)
        one.stop()
        wait_until(lambda: told_of_hosts(two) == ["host_lost"])
    with asking(serve("two")) as again:
        wait_until(lambda: status_of_host(again) == "lost")
        time.sleep(5)
        assert told_of_hosts(again) == ["host_lost"]


@pytest.mark.long
@pytest.mark.usefixtures("short")
def test_a_service_that_cannot_share_what_it_hears_takes_no_heartbeat(
    serve: Serve, postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_watch, "MAX_APART_S", 3.0)
    proxy = TcpProxy(postgres.port)
    secret = PASSWORD.replace(" ", "%20")
    place = f"postgresql://realm:{secret}@127.0.0.1:{proxy.port}/postgres"
    place += f"?schema={schema_of(tmp_path)}&log_retry_s=1"
    try:
        with asking(serve("one", log_url=place)) as one, asking(serve("two")) as two:
            begin_run(one)
            go_on_beating(one, 1.0)
            proxy.set("cut")
            wait_until(lambda: beat(one, RUNNING) == 503)
            go_on_beating(two, 4.0)
            proxy.set("pass")
            wait_until(lambda: beat(one, RUNNING) == 200)
            go_on_beating(one, 3.0)
            assert status_of_host(two) == "live"
    finally:
        proxy.close()


def told(receiver: Receiver) -> list[str]:
    """The notes in all that was received."""
    text = " ".join(received.body.decode() for received in receiver.received)
    return re.findall(r'"message": ?"(Note \d)"', text)


@pytest.mark.long
def test_nothing_is_lost_though_services_are_killed_in_turn(url: str, tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    services = [Service(home, environment(url)) for home in homes]
    for service in services:
        service.start()
    acknowledged: list[int] = []
    done = threading.Event()

    def send() -> None:
        number = 0
        with httpx.Client(timeout=10) as client:
            while not done.is_set():
                number += 1
                send_until_taken(client, services, number)
                acknowledged.append(number)

    def has_sent(count: int) -> bool:
        return len(acknowledged) >= count

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for turn in range(2):
            wait_until(partial(has_sent, len(acknowledged) + 100))
            services[turn % 2].kill()
            wait_until(partial(has_sent, len(acknowledged) + 100))
            services[turn % 2].start()
    finally:
        done.set()
        sender.join()
        for service in services:
            service.kill()
    with open_log(url).reader() as reader:
        rows = [row for row in rows_of(reader) if row.event.producer == WRITER]
    assert [row.event.number for row in rows] == acknowledged


@pytest.mark.long
def test_producers_that_know_both_services_lose_nothing_though_each_is_killed(
    url: str, tmp_path: Path
) -> None:
    services = [Service(tmp_path / name, environment(url)) for name in ("one", "two")]
    home = Home(tmp_path / "host", dict(os.environ))
    watched: list[int] = []
    with ExitStack() as stack:
        stack.callback(home.end)
        for service in services:
            stack.callback(service.kill)
            service.start()
        both = ",".join(service.url for service in services)
        client = stack.enter_context(RealmClient(both))
        producer = home.producer(["battle_log", "realm_service"], service_url=both)
        watcher = threading.Thread(target=watch, args=(both, watched, 1_200), daemon=True)
        watcher.start()
        ids: list[str] = []
        for turn in range(4):
            seen = int(client.health()["cursor"])
            producer.tell("emit", count=300, pace_s=0.004)
            wait_until(partial(has_grown, client, seen + 50))
            services[turn % 2].kill()
            ids += producer.answer().ids
            assert producer.flush(60)["delivered"], "the other one takes them"
            services[turn % 2].start()
        with open_log(url).reader() as reader:
            rows = [row for row in rows_of(reader) if row.event.producer == producer.id]
        assert [row.event.id for row in rows] == ids
        watcher.join(60)
        assert watched == [row.cursor for row in rows]


def has_grown(client: RealmClient, cursor: int) -> bool:
    return int(client.health()["cursor"]) > cursor


def watch(addresses: str, found: list[int], count: int) -> None:
    """Follow the stream over both services until so many notes were seen."""
    with RealmClient(addresses) as client:
        for message in client.stream():
            if isinstance(message, SnapshotMessage):
                found += [row.cursor or 0 for row in reversed(message.rows) if is_note(row.event)]
            elif isinstance(message, EventMessage) and is_note(message.event):
                found.append(message.cursor or 0)
            if len(found) >= count:
                return


def is_note(event: Event) -> bool:
    return event.kind == "note"


def send_until_taken(client: httpx.Client, services: list[Service], number: int) -> None:
    note = {"kind": "note", "message": f"Note {number}", "producer": WRITER, "number": number}
    for turn in range(10_000):
        try:
            answer = client.post(f"{services[turn % 2].url}/api/v1/events", json={"events": [note]})
        except httpx.HTTPError:
            continue
        if answer.status_code == 200:
            return
    raise AssertionError("nobody took it")


def rows_of(reader: Any) -> Iterator[Any]:
    cursor = 0
    while rows := reader.now.after(cursor):
        yield from rows
        cursor = rows[-1].cursor


def environment(url: str) -> dict[str, str]:
    return os.environ | {"REALM_LOG_URL": url, "REALM_LOG_RETRY_S": "2"}


@pytest.mark.parametrize(
    "fault", ["cut", "slow", pytest.param("half-open", marks=pytest.mark.long)]
)
def test_a_service_without_its_database_says_so_in_time(
    serve: Serve, postgres: Server, tmp_path: Path, fault: Any
) -> None:
    proxy = TcpProxy(postgres.port)
    secret = PASSWORD.replace(" ", "%20")
    place = f"postgresql://realm:{secret}@127.0.0.1:{proxy.port}/postgres"
    place += f"?schema={schema_of(tmp_path)}&log_retry_s=1"
    try:
        server = serve("one", log_url=place)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            post_notes(client, 1, 1)
            proxy.set(fault)
            note = {"kind": "note", "message": "a", "producer": WRITER, "number": 2}
            began_s = time.monotonic()
            answer = client.post("/api/v1/events", json={"events": [note]})
            if fault == "slow":
                assert answer.status_code == 200
            else:
                assert answer.status_code == 503
                assert answer.headers["Retry-After"]
                assert time.monotonic() - began_s < 30
                proxy.set("pass")
                wait_until(partial(is_taken, client, note))
            wait_until(partial(is_ready, client))
            with stream(client) as source:
                take(source, 1)
                post_notes(client, 3, 3)
                assert 3 in cursors(until_cursor(source, 3))
    finally:
        proxy.close()


@pytest.mark.long
def test_a_service_whose_database_hangs_answers_its_other_questions(
    serve: Serve, postgres: Server, tmp_path: Path
) -> None:
    proxy = TcpProxy(postgres.port)
    secret = PASSWORD.replace(" ", "%20")
    place = f"postgresql://realm:{secret}@127.0.0.1:{proxy.port}/postgres"
    try:
        server = serve("one", log_url=f"{place}?schema={schema_of(tmp_path)}&log_retry_s=1")
        with httpx.Client(base_url=server.url, timeout=60) as client:
            proxy.set("half-open")
            wait_until(lambda: client.get("/health").json()["status"] != "ok")
            took_s = []
            for _ in range(60):
                began_s = time.monotonic()
                client.get("/health")
                took_s.append(time.monotonic() - began_s)
                time.sleep(0.1)
            assert max(took_s) < 1, took_s
            began_s = time.monotonic()
            page = client.get("/api/health").json()
            assert time.monotonic() - began_s < 3
            assert page["checks"][0]["level"] == "problem"
            assert "does not answer" in page["checks"][0]["message"]
            proxy.set("pass")
            wait_until(partial(is_ready, client))
            post_notes(client, 1, 1)
    finally:
        proxy.close()


def test_a_lock_in_the_database_holds_up_no_other_question_and_costs_no_row(
    serve: Serve, postgres: Server, tmp_path: Path
) -> None:
    """Both services ask for the kind of an event; then their connections are ended."""
    one, two = serve("one"), serve("two")
    waits = "pid <> pg_backend_pid() AND wait_event_type = 'Lock'"
    look = f"SELECT count(*) FROM pg_stat_activity WHERE {waits}"
    end = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {waits}"
    with asking(one) as first, asking(two) as second, psycopg.connect(postgres.url()) as other:
        other.execute(f"LOCK TABLE {schema_of(tmp_path)}.realm_kinds IN ACCESS EXCLUSIVE MODE")
        with stream(first) as source:
            take(source, 1)
            post_notes(second, 1, 1, kind="odd_lock")
            wait_until(lambda: postgres.sql(look)[0][0] >= 2)
            began_s = time.monotonic()
            for client in (first, second):
                client.get("/health")
            assert time.monotonic() - began_s < 2
            postgres.sql(end)
            other.rollback()
            assert cursors(take(source, 1)) == [1]
        wait_until(lambda: second.get("/health").json()["cursor"] == 1)


@pytest.mark.long
def test_a_service_whose_database_hangs_ends_in_time(postgres: Server, tmp_path: Path) -> None:
    proxy = TcpProxy(postgres.port)
    secret = PASSWORD.replace(" ", "%20")
    place = f"postgresql://realm:{secret}@127.0.0.1:{proxy.port}/postgres"
    settings = free_ports(tmp_path, log_url=f"{place}?schema={schema_of(tmp_path)}&log_retry_s=1")
    try:
        with serving(settings) as server, asking(server) as client:
            wait_until(partial(is_ready, client))
            post_notes(client, 1, 3, run_id="r1")
            wait_until(lambda: client.get("/health").json()["cursor"] == 3)
            proxy.set("half-open")
            time.sleep(1)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 15
        proxy.set("pass")
        with serving(settings) as server, asking(server) as client:
            wait_until(partial(is_ready, client))
            assert client.get("/health").json()["cursor"] == 3
    finally:
        proxy.close()


@pytest.mark.long
def test_connections_that_are_ended_at_any_moment_cost_nothing(
    serve: Serve, postgres: Server
) -> None:
    """An administrator ends all of them, many times, while events of two services arrive."""
    one, two = serve("one"), serve("two")
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'realm_telemetry' AND random() < 0.5"
    )
    is_over = threading.Event()

    def storm() -> None:
        while not is_over.wait(0.05):
            postgres.sql(end)

    thread = threading.Thread(target=storm)
    with asking(one) as first, asking(two) as second, stream(first) as source:
        take(source, 1)
        thread.start()
        try:
            for number in range(1, 61):
                client = first if number % 2 else second
                kind = f"odd_storm_{number % 7}"
                fields = {"kind": kind, "run_id": "r1", "producer": WRITER, "number": number}
                wait_until(partial(is_taken, client, fields))
        finally:
            is_over.set()
            thread.join()
        shown = [message for message in until_cursor(source, 60) if message.event == "event"]
        assert cursors(shown) == list(range(1, 61))
        for client in (first, second):
            wait_until(partial(is_ready, client))
            wait_until(partial(is_at, client, 60))
            assert len(client.get("/api/battle_log?limit=1000").json()) == 60
            (run,) = client.get("/api/runs").json()["runs"]
            assert run["run_id"] == "r1"


def is_at(client: httpx.Client, cursor: int) -> bool:
    return bool(client.get("/health").json()["cursor"] == cursor)


def until_cursor(source: Iterator[Message], cursor: int) -> list[Message]:
    """Messages up to the event with a cursor."""
    found: list[Message] = []
    for message in source:
        found.append(message)
        if message.event == "event" and message.data["cursor"] == cursor:
            break
    return found


def is_taken(client: httpx.Client, note: dict[str, Any]) -> bool:
    return client.post("/api/v1/events", json={"events": [note]}).status_code == 200


@pytest.fixture
def failing_over(tmp_path: Path) -> Iterator[tuple[Server, Server, str]]:
    """A server, an asynchronous standby of it, and the URL of both."""
    with ExitStack() as stack:
        primary = stack.enter_context(Server())
        open_log(primary.url()).writer().close()
        standby = primary.standby()
        stack.callback(standby.__exit__)
        place = (
            f"postgresql://realm@/postgres?host={primary.directory},{standby.directory}"
            f"&port={primary.port},{standby.port}&target_session_attrs=read-write&log_retry_s=1"
        )
        yield primary, standby, place


def lose_three(primary: Server, standby: Server, client: httpx.Client) -> str:
    """Store three events that the standby has and three that it lacks; the id behind all."""
    post_notes(client, 1, 3)
    count = "SELECT count(*) FROM realm.events WHERE id <= 3"
    wait_until(lambda: standby.sql(count) == [(3,)])
    standby.fall_behind()
    post_notes(client, 4, 6)
    wait_until(lambda: client.get("/health").json()["cursor"] == 6)
    return id_of_now(client)


def id_of_now(client: httpx.Client) -> str:
    """The id of a snapshot."""
    with stream(client) as source:
        (snapshot,) = take(source, 1)
    assert snapshot.id is not None
    return snapshot.id


def store_others(client: httpx.Client) -> None:
    """Store events that get the cursors of the lost ones, and more."""
    others = [
        {"kind": "note", "message": "Other", "producer": WRITER, "number": number}
        for number in range(11, 18)
    ]
    wait_until(lambda: client.post("/api/v1/events", json={"events": others}).status_code == 200)


@pytest.mark.long
@pytest.mark.parametrize("meanwhile", ["goes on", "is down", "begins after the events"])
def test_readers_are_told_that_a_failover_has_lost_events(
    tmp_path: Path, failing_over: tuple[Server, Server, str], meanwhile: str
) -> None:
    """An asynchronous standby takes over that lacks what was acknowledged last."""
    primary, standby, place = failing_over
    with ExitStack() as stack:
        settings = free_ports(tmp_path, log_url=place)
        first = stack.enter_context(ExitStack())
        client = first.enter_context(asking(first.enter_context(serving(settings))))
        wait_until(partial(is_ready, client))
        before = lose_three(primary, standby, client)
        if meanwhile != "goes on":
            first.close()
        primary.kill()
        standby.promote()
        if meanwhile == "begins after the events":
            with serving(free_ports(tmp_path / "two", log_url=place)) as other:
                store_others(stack.enter_context(asking(other)))
        if meanwhile != "goes on":
            client = stack.enter_context(asking(stack.enter_context(serving(settings))))
        if meanwhile != "begins after the events":
            store_others(client)
        wait_until(lambda: standby.sql("SELECT cursor FROM realm.realm_head")[0][0] >= 10)
        wait_until(lambda: reset_of(client, before) == "failover")
        kept = f"{before.rpartition('-')[0]}-3"
        assert reset_of(client, kept) is None, "the standby has this row"
        after = id_of_now(client)
        assert ".1-" in after
        post_notes(client, 30, 30)
        assert reset_of(client, after) is None, "it is of after the failover"
        assert client.get("/health").json()["stream"] == after.rpartition("-")[0]


@pytest.mark.long
def test_a_failover_without_loss_resets_no_stream(
    tmp_path: Path, failing_over: tuple[Server, Server, str]
) -> None:
    primary, standby, place = failing_over
    primary.wait_for_standby()
    with serving(free_ports(tmp_path, log_url=place)) as server, asking(server) as client:
        wait_until(partial(is_ready, client))
        post_notes(client, 1, 6)
        before = id_of_now(client)
        primary.kill()
        standby.promote()
        store_others(client)
        wait_until(lambda: client.get("/health").json()["cursor"] >= 13)
        wait_until(lambda: ".1" in client.get("/health").json()["stream"])
        assert reset_of(client, before) is None
        after = id_of_now(client)
        post_notes(client, 30, 30)
        assert reset_of(client, after) is None


def reset_of(client: httpx.Client, last_event_id: str | None) -> str | None:
    """Why a stream that resumes begins anew; None if it does not, or there is none now."""
    headers = {"last-event-id": last_event_id or ""}
    with client.stream("GET", "/api/events/stream", headers=headers) as response:
        if response.status_code != 200:
            return None
        first = next(messages(response), None)
    return first.data["reason"] if first is not None and first.event == "reset" else None
