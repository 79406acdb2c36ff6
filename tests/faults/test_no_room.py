"""Little room on a disk, no inodes, no descriptors: nothing kept is lost, drops are reported."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.cli.checks.service_log import check_service_log
from realm_telemetry.config import Settings
from realm_telemetry.log.engine import open_log
from tests.postgres_server import Server
from tests.waiting import wait_until

from .conftest import Home, Service, check_once_in_order, kill_shipper, mounted

REALM = str(Path(sys.executable).with_name("realm"))
EMIT = """
import time
import realm_telemetry as realm
begun = realm.configure(service_name="x", exporters=["battle_log"])
kept = 0
for number in range(6000):
    kept += realm.note(message=str(number), pad="y" * 300).number > 0
    if number % 100 == 0:
        time.sleep(0.02)
realm.flush(60)
print(kept, begun.dropped)
"""
WITHOUT_DESCRIPTORS = """
import os, resource, time
import realm_telemetry as realm
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
begun = realm.configure(service_name="x", exporters=["battle_log"])
realm.register_kind("odd_kind", channel="debug")
for number in range(10):
    realm.note(message=str(number))
assert begun.pipeline_dir is None
for descriptor in taken:
    os.close(descriptor)
{wait}
realm.note(message="10")
{end}
"""


def run(code: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ, REALM_HOME=str(home), **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def logged(home: Path, **variables: str) -> list[dict[str, Any]]:
    for arguments in (["ship", "--once"], ["query", "--jsonl", "-n", "10000"]):
        done = subprocess.run(
            [REALM, *arguments],
            env=dict(os.environ, REALM_HOME=str(home), **variables),
            capture_output=True,
            text=True,
            timeout=60,
        )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("options", ["size=400k", "size=2m", "size=7m", "size=20m,nr_inodes=12"])
def test_little_room_costs_only_what_does_not_fit(options: str, tmp_path: Path) -> None:
    """The log is elsewhere: what it has makes room for what comes, in smaller segments."""
    home, place = tmp_path / "home", tmp_path / "disk"
    place.mkdir()
    with mounted(place, "-t", "tmpfs", "-o", options, "tmpfs"):
        spool = str(place / "spool")
        done = run(EMIT, home, REALM_SPOOL=spool)
        kept, dropped = map(int, done.stdout.split())
        found = logged(home, REALM_SPOOL=spool)
    notes = [event for event in found if event["kind"] == "note"]
    reports = [event["details"] for event in found if event["kind"] == "events_dropped"]
    assert kept + dropped == 6000
    assert len(notes) == kept
    assert kept > 500
    assert sum(report["count"] for report in reports) == dropped


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("wait", "end"),
    [
        pytest.param(
            "time.sleep(6)", "assert realm.flush(60)", id="the keeper", marks=pytest.mark.long
        ),
        pytest.param("", "assert realm.flush(60)", id="a flush"),
        pytest.param("", "", id="the end"),
    ],
)
def test_without_descriptors_memory_is_left_later(wait: str, end: str, tmp_path: Path) -> None:
    done = run(WITHOUT_DESCRIPTORS.format(wait=wait, end=end), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "there is a place for a spool now" in done.stderr
    messages = [event["message"] for event in logged(tmp_path)]
    assert messages[::-1] == [str(number) for number in range(11)]


LIMITED = """
import os, resource, time
import realm_telemetry as realm
resource.setrlimit(resource.RLIMIT_FSIZE, ({soft}, {hard}))
begun = realm.configure(service_name="x", exporters=["battle_log"])
kept = 0
for number in range(6000):
    kept += realm.note(message=str(number), pad="y" * 300).number > 0
    if number % 600 == 0:
        time.sleep(0.02)
print(kept, realm.flush({wait_s}), realm.flush_problem())
"""


@pytest.mark.processes
@pytest.mark.slow
def test_a_limit_of_file_sizes_that_can_be_raised_costs_nothing(tmp_path: Path) -> None:
    """A job's soft limit is not the shipper's, whose log is larger."""
    done = run(LIMITED.format(soft=256 * 1024, hard="resource.RLIM_INFINITY", wait_s=20), tmp_path)
    assert done.stdout.split() == ["6000", "True", "None"], done.stderr
    assert "cut files" not in done.stderr
    assert len(logged(tmp_path)) == 6000


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("limit", [64 * 1024, pytest.param(1024 * 1024, marks=pytest.mark.long)])
def test_a_hard_limit_of_file_sizes_is_named_and_nothing_is_lost(
    limit: int, tmp_path: Path
) -> None:
    """Events wait in segments within the limit, for a shipper that may write more."""
    done = run(LIMITED.format(soft=limit, hard=limit, wait_s=2), tmp_path)
    kept, delivered, problem = done.stdout.split(maxsplit=2)
    assert (done.returncode, kept, delivered) == (0, "6000", "False"), done.stderr
    assert "ulimit -f" in problem
    assert "cut files" not in done.stderr
    for pipeline in (tmp_path / "spool").iterdir():
        kill_shipper(pipeline)
    assert len(logged(tmp_path)) == 6000


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk with 110 MB, which the user of a server reaches."""
    with tempfile.TemporaryDirectory(prefix="realm-disk-") as name:
        Path(name).chmod(0o755)
        place = Path(name) / "disk"
        place.mkdir()
        with mounted(place, "-t", "tmpfs", "-o", "size=110m,mode=755", "tmpfs"):
            yield place


@pytest.mark.processes
@pytest.mark.long
@pytest.mark.parametrize("what", ["tables", "wal"])
def test_a_database_without_room_is_a_503_that_says_so_and_all_arrive_later(
    home: Home, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Without room for its tables a server refuses and goes on; with none for its WAL it ends."""
    small, large = disk / "realm", disk.parent / "realm"
    small.mkdir()
    large.mkdir()
    # Each segment of the WAL is a new one, until a checkpoint.
    wal = {"min_wal_size": "2MB", "max_wal_size": "1GB", "checkpoint_timeout": "1h"}
    places = {"place": disk, "wal": large} if what == "tables" else {"place": None, "wal": small}
    with Server(place=places["place"], wal=places["wal"], **wal) as server:
        monkeypatch.setenv("REALM_LOG_URL", server.url())
        options = {"REALM_LOG_URL": server.url(), "REALM_LOG_RETRY_S": "1"}
        service = Service(tmp_path / "service", home.environment | options)
        try:
            service.start()
            producer = home.producer(["battle_log", "realm_service"], service_url=service.url)
            ids = producer.emit(200).ids
            assert producer.flush()["delivered"]
            filler = disk / "filler"
            fill(filler)
            # The server goes on as far as files reach that are there already.
            for _ in range(30):
                ids += producer.emit(3_000, size=3_000).ids
                if not producer.flush(2.0)["delivered"]:
                    break
            problem = refusal(service.url)
            found = list(check_service_log(Subject(Settings(home=home.path), 5.0)))
            if what == "tables":
                assert "its disk is full" in problem
                assert [each.level for each in found if "its disk is full" in each.message] == [
                    "problem"
                ]
            else:
                assert "the server of the log" in problem
                wait_until(server.has_ended)
                (result,) = check_service_log(Subject(Settings(home=home.path), 5.0))
                assert (result.level, "a disk that is full" in result.fix) == ("problem", True)
            filler.unlink()
            if server.has_ended():
                server.start()
            assert producer.flush(60.0)["delivered"]
            wait_until(lambda: service.get("/health")["status"] == "ok")
            with open_log(server.url()).reader() as reader:
                stored = [row.event.id for row in followed(reader, producer.id)]
            check_once_in_order(stored, ids)
        finally:
            service.kill()


def fill(filler: Path) -> None:
    """Write until a disk is full."""
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def refusal(url: str) -> str:
    """Send events until one is refused; why it is."""
    for number in range(1, 1_000):
        note = {"kind": "note", "message": "x" * 9_000, "producer": "a" * 16, "number": number}
        answer = httpx.post(f"{url}/api/v1/events", json={"events": [note]}, timeout=30)
        if answer.status_code != 200:
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            return str(answer.json()["message"])
    raise AssertionError("there was room")


def followed(reader: Any, producer: str) -> Iterator[Any]:
    cursor = 0
    while rows := reader.now.after(cursor):
        yield from (row for row in rows if row.event.producer == producer)
        cursor = rows[-1].cursor
