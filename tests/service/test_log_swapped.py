"""The log is swapped under a running service: what is answered 200 is in the log at its path."""

import ctypes
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from realm_telemetry.log.sqlite.connection import open_writer
from realm_telemetry.service import RealmServer
from tests.waiting import wait_until

from .conftest import asking, free_ports, serving
from .streaming import stream, take

pytestmark = pytest.mark.slow


def post(client: httpx.Client, message: str) -> int:
    body = {"events": [{"kind": "note", "message": message}]}
    return client.post("/api/v1/events", json=body).status_code


def kept(path: Path) -> set[str]:
    """What a new process finds."""
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT message FROM battle_log")}


def files(path: Path) -> list[Path]:
    return [each for end in ("", "-wal", "-shm") if (each := Path(f"{path}{end}")).exists()]


def copy(path: Path, to: Path) -> None:
    """As `sqlite3 ".backup"` and `.restore` do."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def delete(path: Path) -> None:
    for each in files(path):
        each.unlink()


def move(path: Path) -> None:
    for each in files(path):
        each.rename(each.with_name(f"old-{each.name}"))


def rename_the_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("vault-of-yesterday"))


def restore_by_name(path: Path) -> None:
    """The journals of the file that was there stay behind."""
    path.with_name("backup.db").rename(path)


def restore_through_sqlite(path: Path) -> None:
    copy(path.with_name("backup.db"), path)


def lose_the_journals(path: Path) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink()


SWAPS = [
    delete, move, rename_the_directory, restore_by_name, restore_through_sqlite, lose_the_journals
]  # fmt: skip


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
def test_what_is_accepted_after_a_swap_is_in_the_log(
    server: RealmServer, client: httpx.Client, swap: Callable[[Path], None]
) -> None:
    path = server.settings.log_path
    assert post(client, "in the backup") == 200
    copy(path, path.with_name("backup.db"))
    assert post(client, "before") == 200
    log_id = client.get("/health").json()["log_id"]
    swap(path)
    accepted = set[str]()
    deadline = time.monotonic() + 60
    number = 0
    while len(accepted) < 20:
        assert time.monotonic() < deadline, client.get("/health").text
        number += 1
        status = post(client, f"after {number}")
        assert status in (200, 503)
        if status == 200:
            accepted.add(f"after {number}")
    assert accepted <= kept(path)
    health = client.get("/health").json()
    assert health["status"] == "ok", health
    assert (health["log_id"] == log_id) == (swap is lose_the_journals)
    # Live view, state and history are those of the log that is there.
    wait_ready(client)
    shown = {event["message"] for event in client.get("/api/events?limit=1000").json()["events"]}
    history = client.get("/api/battle_log?limit=1000").json()
    assert shown == {row["message"] for row in history} == kept(path)


def wait_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_log_that_is_cut_in_place_is_refused_and_said_until_it_is_replaced(
    server: RealmServer, client: httpx.Client
) -> None:
    path = server.settings.log_path
    big = {"events": [{"kind": "note", "message": "x" * 9000} for _ in range(600)]}
    assert client.post("/api/v1/events", json=big).status_code == 200
    size = path.stat().st_size
    assert size > 1_000_000
    os.truncate(path, size // 2)
    assert post(client, "lost?") == 503
    health = client.get("/health").json()
    assert health["status"] == "degraded"
    assert "cut or overwritten in place" in health["problem"]
    assert client.get("/ready").status_code == 503
    delete(path)
    deadline = time.monotonic() + 60
    while post(client, "again") != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert kept(path) == {"again"}
    assert client.get("/health").json()["status"] == "ok"


def swap_names(one: Path, other: Path) -> None:
    """At one instant, as a mount comes and goes: a service makes a directory that is missing."""
    exchange, here = 2, -100  # RENAME_EXCHANGE, AT_FDCWD; source: renameat2(2)
    names = os.fsencode(one), os.fsencode(other)
    assert ctypes.CDLL(None).renameat2(here, names[0], here, names[1], exchange) == 0


def test_a_home_that_vanishes_is_refused_until_it_is_back(tmp_path: Path) -> None:
    """As a mount that goes away and leaves a directory that nobody may write."""
    home, nothing = tmp_path / "mount" / "home", tmp_path / "nothing"
    nothing.write_text("")
    with serving(free_ports(home)) as server, asking(server) as client:
        assert post(client, "before") == 200
        swap_names(home.parent, nothing)
        deadline = time.monotonic() + 60
        while client.get("/health").json()["status"] == "ok":
            assert time.monotonic() < deadline
        assert post(client, "nowhere") == 503
        assert client.get("/ready").status_code == 503
        assert client.get("/health").json()["log_id"] is None
        swap_names(home.parent, nothing)
        while post(client, "back") != 200:
            assert time.monotonic() < deadline + 20
            time.sleep(0.05)
        assert kept(server.settings.log_path) == {"before", "back"}


def test_a_stream_that_comes_back_begins_anew(server: RealmServer, client: httpx.Client) -> None:
    for number in range(5):
        assert post(client, f"before {number}") == 200
    with stream(client) as source:
        assert len(next(source).data["events"]) == 5
        post(client, "live")
        seen = next(source)
        delete(server.settings.log_path)
        assert list(source) == [], "the stream ends, so that its reader comes back"
    while post(client, "after") != 200:
        time.sleep(0.05)
    wait_ready(client)
    with stream(client, last_event_id=seen.id) as source:
        first, second = take(source, 2)
        assert (first.event, second.event) == ("reset", "snapshot")
        assert [event["message"] for event in second.data["events"]] == ["after"]
    assert client.get("/api/state").json()["cursor"] == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_has_ended_is_a_problem(server: RealmServer, client: httpx.Client) -> None:
    writer = server.app.state.service.writer
    assert writer.problem is None

    def die(*_: object) -> None:
        raise SystemExit

    writer._commit = die
    assert post(client, "what it was about to store") == 503
    assert post(client, "what comes later") == 503
    assert "has ended" in client.get("/health").json()["problem"]
    assert client.get("/ready").status_code == 503


def test_a_lock_that_another_program_holds_is_a_problem_until_it_is_free(
    server: RealmServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm_telemetry.service.ingest.writer.STUCK_S", 0.3)
    with closing(sqlite3.connect(server.settings.log_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(httpx.TimeoutException):
            client.post("/api/v1/events", json={"events": [{"kind": "note"}]}, timeout=0.5)
        wait_until(lambda: client.get("/health").json()["problem"])
        assert "holds the log's lock" in client.get("/health").json()["problem"]
        assert client.get("/ready").json()["error"] == "log_unavailable"
        other.execute("ROLLBACK")
    wait_ready(client)
    assert client.get("/health").json()["status"] == "ok"


def test_a_full_disk_is_a_problem_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No batch has to come for the service to be ready again: SQLite itself says when."""
    opened: list[sqlite3.Connection] = []

    def open_and_keep(path: Path) -> sqlite3.Connection:
        opened.append(open_writer(path))
        return opened[-1]

    def limit_pages(pages: int) -> None:
        for connection in opened:
            connection.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr("realm_telemetry.log.sqlite.writer.open_writer", open_and_keep)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        assert post(client, "before") == 200
        limit_pages(opened[0].execute("PRAGMA page_count").fetchone()[0])
        assert post(client, "x" * 100_000) == 503
        assert "disk is full" in client.get("/health").json()["problem"]
        time.sleep(1.5)
        assert client.get("/ready").status_code == 503, "it was tried and is full still"
        limit_pages(2**30)
        wait_ready(client)
        assert client.get("/health").json()["status"] == "ok"
        assert post(client, "after") == 200
