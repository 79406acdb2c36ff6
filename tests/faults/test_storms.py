"""Many faults at once, for longer: nothing acknowledged is lost, and nothing comes twice."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from realm_telemetry.client import ResetMessage
from tests.waiting import wait_until

from .conftest import Home, Producer, check_once_in_order, holder, kill_shipper
from .proxy import KINDS, FaultProxy
from .test_killed_service import Watcher

pytestmark = [pytest.mark.long, pytest.mark.alone]

PROGRAM = """
import os, sys, time
import realm_telemetry as realm
realm.configure(service_name="stormed", home=sys.argv[1])
path = os.path.join(sys.argv[2], str(os.getpid()))
with open(path, "a") as acknowledged:
    while True:
        event = realm.emit("note", "x", pad="y" * 200)
        acknowledged.write(event.id + "\\n")
        acknowledged.flush()
        time.sleep(0.002)
"""


class Storm:
    """Producers that are killed and replaced, and what each had acknowledged before it died."""

    def __init__(self, home: Home, directory: Path) -> None:
        self._home, self._directory = home, directory
        directory.mkdir()
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        command = [sys.executable, "-c", PROGRAM, str(self._home.path), str(self._directory)]
        self._running.append(subprocess.Popen(command, env=self._home.environment))

    def kill(self, chosen: random.Random) -> None:
        process = self._running.pop(chosen.randrange(len(self._running)))
        process.kill()
        process.wait()

    def end(self) -> None:
        while self._running:
            self.kill(random.Random(0))

    def acknowledged(self) -> list[list[str]]:
        """Whole lines alone: the last may be cut by the kill."""
        return [
            path.read_text().rpartition("\n")[0].split("\n")
            for path in self._directory.iterdir()
            if "\n" in path.read_text()
        ]


@pytest.mark.parametrize("seed", [1, 2])
def test_producers_shipper_and_service_are_killed_for_a_minute(
    home: Home, tmp_path: Path, seed: int
) -> None:
    """Every acknowledged event is in the log once, and every receipt adds up."""
    chosen, storm = random.Random(seed), Storm(home, tmp_path / "acknowledged")
    home.service.start()
    for _ in range(4):
        storm.start()
    ends = time.monotonic() + 40
    try:
        while time.monotonic() < ends:
            time.sleep(chosen.uniform(0.2, 1.5))
            fault = chosen.choice(("producer", "shipper", "service"))
            if fault == "producer":
                storm.kill(chosen)
                storm.start()
            elif fault == "shipper":
                for pipeline in (home.path / "spool").glob("*/"):
                    kill_shipper(pipeline)
            else:
                home.service.kill()
                home.service.start()
    finally:
        storm.end()
    acknowledged = storm.acknowledged()
    total = sum(map(len, acknowledged))
    assert total > 1_000
    wait_until(lambda: len(home.logged()) >= total, 90, lambda: (len(home.logged()), total))
    check_once_in_order(home.logged(), *acknowledged)
    wait_until(lambda: all(one.complete for one in home.receipts().values()))


@pytest.mark.parametrize("stopped", ["shipper", "service", "both"])
def test_a_stopped_process_delays_and_loses_nothing(
    make_home: Callable[..., Home], stopped: str
) -> None:
    """SIGSTOP, as a suspended laptop or a debugger does: it answers nothing and keeps its locks."""
    elsewhere, here = make_home("elsewhere"), make_home("here")
    elsewhere.service.start()
    worker = here.producer(["realm_service"], service_url=elsewhere.service.url)
    ids = worker.emit(200).ids
    assert worker.flush()["delivered"]
    pids = []
    if stopped in ("shipper", "both"):
        pids.append(holder(worker.pipeline_dir))
    if stopped in ("service", "both"):
        assert elsewhere.service._process is not None
        pids.append(elsewhere.service._process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        ids += worker.emit(1_000, pace_s=0.001).ids
        assert not worker.flush(1.0)["delivered"]
        time.sleep(15)  # longer than any request may take
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    flushed = worker.flush(60.0)
    assert flushed["delivered"], flushed
    check_once_in_order(elsewhere.logged(), ids)
    assert len(elsewhere.logged()) == len(ids)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_network_that_delays_cuts_resets_and_repeats_loses_nothing(
    make_home: Callable[..., Home], seed: int
) -> None:
    elsewhere, here = make_home("elsewhere"), make_home("here")
    elsewhere.service.start()
    proxy = FaultProxy(elsewhere.service.port, seed)
    try:
        worker = here.producer(["realm_service"], service_url=proxy.url)
        ids: list[str] = []
        while set(proxy.seen) != set(KINDS):
            assert len(ids) < 20_000, proxy.seen
            ids += worker.emit(200, pace_s=0.002).ids
        proxy.faulty = False
        flushed = worker.flush(60.0)
        assert flushed["delivered"], flushed
    finally:
        proxy.close()
    check_once_in_order(elsewhere.logged(), ids)
    assert len(elsewhere.logged()) == len(ids)


def test_a_service_that_restarts_all_the_time_is_followed_without_gap_or_repeat(
    home: Home,
) -> None:
    """Fifteen kills; a client of the stream resumes at its cursor each time."""
    home.service.start()
    watcher = Watcher(home.service.url, 6_000)
    assert watcher.connected.wait(60)
    producer = home.producer(["battle_log"])
    producer.tell("emit", count=6_000, pace_s=0.004)
    for _ in range(15):
        seen = len(watcher.notes)
        wait_until(partial(watcher.has_more_than, seen + 20))
        home.service.kill()
        home.service.start()
    ids = producer.answer().ids
    watcher.thread.join(60)
    assert [event_id for _, event_id in watcher.notes] == ids
    assert not [other for other in watcher.others if isinstance(other, ResetMessage)]


def test_three_hundred_and_fifty_producers_at_once(home: Home) -> None:
    """Eight at a time are begun, all of them live together; each ends complete."""
    producers: list[Producer] = []
    lock = threading.Lock()

    def begin(count: int) -> None:
        for _ in range(count):
            made = Producer(home.environment, home=str(home.path), exporters=["battle_log"])
            with lock:
                producers.append(made)

    threads = [threading.Thread(target=begin, args=(count,)) for count in [44] * 6 + [43] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    home.producers += producers
    assert len(producers) == 350
    for producer in producers:
        producer.tell("emit", count=20)
    emitted = [producer.answer().ids for producer in producers]
    for producer in producers:
        assert producer.process.stdin is not None
        producer.process.stdin.close()
        producer.process.stdin = None  # `communicate` would flush it
    wait_until(lambda: len(home.logged()) == 7_000, 120, lambda: len(home.logged()))
    check_once_in_order(home.logged(), *emitted)
    wait_until(lambda: all(one.complete for one in home.receipts().values()))
    assert len(home.receipts()) >= 350


def test_a_copy_of_a_running_home_is_a_home(home: Home, make_home: Callable[..., Home]) -> None:
    """As a disk snapshot or a backup gives it: it has the first of the events, each once."""
    home.service.start()
    producer = home.producer(["battle_log"])
    producer.tell("emit", count=3_000, pace_s=0.001)
    time.sleep(1.5)
    copy = make_home("copy")
    # Files that come and go meanwhile are missing in it, as in a copy of any live directory.
    subprocess.run(["cp", "-a", home.path, copy.path], check=False, stderr=subprocess.DEVNULL)
    ids = producer.answer().ids
    assert producer.flush()["delivered"]
    ship = [sys.executable, "-m", "realm_telemetry", "--home", str(copy.path), "ship", "--once"]
    shown = subprocess.run(ship, env=copy.environment, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown
    copied = copy.logged()
    assert copied
    assert copied == ids[: len(copied)]
    assert home.logged() == ids
