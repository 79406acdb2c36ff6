"""Whoever keeps an event or sends its webhook is killed: nothing that was asked for is lost.

Real processes, killed with SIGKILL; only the receiver lives in the test.
"""

import fcntl
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from realm_telemetry.log.engine import open_log
from realm_telemetry.log.outbox import Message
from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import Answer, Receiver

pytestmark = pytest.mark.processes

EMIT = """
import sys, time
import realm_telemetry as realm
home, url, count, pace_s, *exporters = sys.argv[1:]
realm.configure(service_name="kills", home=home, exporters=["battle_log", *exporters])
for number in range(int(count)):
    realm.emit("note", f"Asked for {number}", webhooks=[f"{url}/{number}"])
    time.sleep(float(pace_s))
realm.shutdown(timeout_s=2.0)
"""


class Lab:
    """A home with the processes that work in it; none of them outlives the test."""

    def __init__(self, home: Path, receiver: Receiver) -> None:
        self.home, self.log = home, home / "vault" / "jobs.db"
        self._receiver = receiver
        self._service: subprocess.Popen[bytes] | None = None
        home.mkdir(mode=0o700)
        (home / "realm.toml").write_text(
            '[options.webhook]\nallow_hosts = ["127.0.0.1"]\ntimeout = "0.5s"\n'
        )
        kept = {name: text for name, text in os.environ.items() if not name.startswith("REALM_")}
        self._environment = kept | {"REALM_HOME": str(home), "REALM_SERVICE_URL": self._url()}

    def _url(self) -> str:
        self._port = free_port()
        return f"http://127.0.0.1:{self._port}"

    def emit(self, count: int, pace_s: float = 0.0, *exporters: str) -> subprocess.Popen[bytes]:
        """Start a program that emits, each event with an address of its own."""
        arguments = (str(self.home), self._receiver.url(""), str(count), str(pace_s), *exporters)
        return subprocess.Popen([sys.executable, "-c", EMIT, *arguments], env=self._environment)

    def serve(self) -> None:
        """Start `realm serve`, and wait until it answers."""
        ports = ("--port", str(self._port), "--battle-log-port", "0", "--ui-port", "0")
        command = [sys.executable, "-m", "realm_telemetry", "serve", *ports]
        self._service = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/ready", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def kill_service(self) -> None:
        if self._service is not None:
            self._service.kill()
            self._service.wait()
            self._service = None

    def kill_shipper(self) -> bool:
        """Kill the process that holds the lock of a pipeline; whether there was one."""
        killed = False
        for lock in (self.home / "spool").glob("*/shipper.lock"):
            if pid := holder(lock):
                os.kill(pid, signal.SIGKILL)
                wait_until(partial(has_changed_hands, lock, pid))
                killed = True
        return killed

    def ship_once(self) -> None:
        """What an epilog or the next producer's shipper does."""
        command = [sys.executable, "-m", "realm_telemetry", "ship", "--once"]
        subprocess.run(command, env=self._environment, timeout=90, check=False)

    def logged(self) -> int:
        """How many events the log has that ask for an address."""
        if not self.log.exists():
            return 0
        with closing(sqlite3.connect(f"file:{self.log}?mode=ro", uri=True, timeout=60)) as log:
            try:
                return int(log.execute("SELECT count(*) FROM webhook_requests").fetchone()[0])
            except sqlite3.OperationalError:  # its tables are being made
                return 0

    def kept_up_to(self) -> int:
        """The cursor of the service's webhooks; 0 before it is saved."""
        with closing(sqlite3.connect(f"file:{self.log}?mode=ro", uri=True, timeout=60)) as log:
            found = log.execute("SELECT cursor FROM realm_cursors WHERE pipeline = ''").fetchone()
            return int(found[0]) if found else 0

    def states(self) -> set[str]:
        """What became of all messages."""
        return {message.state for message in self._messages()}

    def refused(self) -> bool:
        """Whether every message waits after an answer: one on its way waits much longer."""
        return {message.status for message in self._messages()} == {503}

    def _messages(self) -> list[Message]:
        with closing(open_log(self.log, home=self.home).outbox("webhooks")) as outbox:
            return outbox.messages(10_000)


def has_changed_hands(lock: Path, pid: int) -> bool:
    return holder(lock) != pid


def holder(lock: Path) -> int:
    """The pid that holds a POSIX record lock, 0 if none does."""
    record = struct.Struct("hhqqi")
    with lock.open("r+b") as file:
        asked = record.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_, pid = record.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else pid


def received(receiver: Receiver) -> dict[str, set[str]]:
    """The ids under which each address got its message."""
    found: dict[str, set[str]] = {}
    for each in list(receiver.received):
        found.setdefault(each.path, set()).add(each.headers["webhook-id"])
    return found


@pytest.fixture
def lab(tmp_path: Path, receiver: Receiver) -> Iterator[Lab]:
    made = Lab(tmp_path / "home", receiver)
    yield made
    made.kill_service()
    made.kill_shipper()


def test_a_service_killed_before_a_receiver_took_it_sends_it_when_it_is_back(
    lab: Lab, receiver: Receiver
) -> None:
    """At once, though no event comes any more: all are behind its cursor."""
    receiver.always = Answer(503)
    lab.serve()
    assert lab.emit(3, 0.0, "realm_service").wait(30) == 0
    receiver.wait_for(3)
    wait_until(lambda: lab.kept_up_to() == 3)
    wait_until(lab.refused)
    lab.kill_service()
    before = received(receiver)
    receiver.received.clear()
    receiver.always = None
    lab.serve()
    wait_until(lambda: len(received(receiver)) == 3)
    wait_until(lambda: lab.states() == {"delivered"})
    assert received(receiver) == before, "the same messages, by the same ids"


def test_a_shipper_killed_between_keeping_an_event_and_sending_it_leaves_it_to_the_next(
    lab: Lab, receiver: Receiver
) -> None:
    """Without a service the shipper sends; it is killed while the receiver will not take it."""
    receiver.always = Answer(503)
    assert lab.emit(3).wait(30) == 0
    receiver.wait_for(3)
    wait_until(lab.refused)
    assert lab.logged() == 3
    assert lab.kill_shipper()
    receiver.always = None
    lab.ship_once()
    wait_until(lambda: len(received(receiver)) == 3)
    wait_until(lambda: lab.states() == {"delivered"})
    assert all(len(ids) == 1 for ids in received(receiver).values())


@pytest.mark.long
def test_a_message_in_flight_when_its_sender_is_killed_is_sent_again(
    lab: Lab, receiver: Receiver
) -> None:
    """Its lease has to end first: the receiver may have taken it, and the id says so."""
    receiver.always = Answer(delay_s=60)
    lab.serve()
    assert lab.emit(1, 0.0, "realm_service").wait(30) == 0
    receiver.wait_for(1)
    lab.kill_service()
    receiver.always = None
    lab.serve()
    receiver.wait_for(2)
    wait_until(lambda: lab.states() == {"delivered"})
    assert [len(ids) for ids in received(receiver).values()] == [1]


@pytest.mark.long
@pytest.mark.parametrize("sender", ["service", "shipper"])
def test_senders_are_killed_at_random_and_nothing_is_lost(
    lab: Lab, receiver: Receiver, sender: str
) -> None:
    count, chance = 200, random.Random(sender)
    exporters = ("realm_service",) if sender == "service" else ()
    producer = lab.emit(count, 0.05, *exporters)
    while producer.poll() is None:
        if sender == "service":
            lab.serve()
        time.sleep(chance.uniform(0.0, 0.6))
        lab.kill_service()
        lab.kill_shipper()
    if sender == "service":
        lab.serve()
    lab.ship_once()
    wait_until(lambda: lab.logged() == count)
    # Whatever was in flight at the last kill waits for the end of its lease.
    while len(received(receiver)) < count:
        time.sleep(1.0)
        lab.ship_once()
    assert len(received(receiver)) == count
    assert all(len(ids) == 1 for ids in received(receiver).values())
