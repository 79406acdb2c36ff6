"""Runs are sampled while they are open, and what gets scarce is reported once."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.event import Event
from realm_telemetry.shipper import sampler as sampler_module
from realm_telemetry.shipper.process_end import identity
from realm_telemetry.shipper.sampler import Sampler
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.shipper.watch import WatchSettings
from tests.waiting import wait_until

GIB = 1024**3


class Host:
    """A spool of this very process, in a run, and a sampler over it."""

    def __init__(self, lab: Any, settings: WatchSettings) -> None:
        self.spool = Spool(lab.producer().writer.directory, lambda *_: None)
        self.spool.notes.hello = identity()
        self.follow("run_started", cwd=str(lab.home))
        self.spool.probe(0.0, 0.0)
        self.sampler = Sampler(lab.spool_root, str(lab.home), settings, lambda: self.clock_ns)
        self.clock_ns = 1

    def follow(self, kind: str, **details: Any) -> None:
        event = Event(kind, "training", "info", "", details, 1, self.spool.producer, 1, run_id="r")
        self.spool.notes.follow([event])

    def look(self, now_s: float) -> list[Event]:
        self.clock_ns += 1
        return self.sampler.look([self.spool], now_s)


@pytest.fixture
def make_host(make_lab: Callable[..., Any]) -> Callable[..., Host]:
    return lambda **settings: Host(make_lab(), WatchSettings(**settings))


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_an_open_run_is_sampled_every_ten_seconds(make_host: Callable[..., Host]) -> None:
    host = make_host(memory_share=1.0, disk_low_bytes=0)
    found = {second: kinds(host.look(float(second))) for second in range(0, 32, 2)}
    assert [second for second, events in found.items() if events] == [10, 20, 30]
    assert found[10] == ["resource_sampled"]


@pytest.mark.parametrize(("world_size", "every_s"), [(16, 10), (64, 40), (512, 40)])
def test_each_host_of_a_run_of_many_is_sampled_less_often(
    make_host: Callable[..., Host], world_size: int, every_s: int
) -> None:
    """Here one rank is on each; a day of 64 hosts would be gigabytes."""
    host = make_host(memory_share=1.0, disk_low_bytes=0)
    host.follow("run_started", world_size=world_size)
    found = [second for second in range(0, 122, 2) if host.look(float(second))]
    assert found == list(range(every_s, 122, every_s))


def test_a_sample_has_process_host_and_disks(make_host: Callable[..., Host]) -> None:
    host = make_host(memory_share=1.0, disk_low_bytes=0)
    host.look(0.0)
    time.sleep(0.05)  # the times of the processors count hundredths of seconds
    (event,) = host.look(10.0)
    details = event.details
    assert (event.run_id, event.producer, event.channel) == ("r", host.spool.producer, "system")
    assert details["rss_bytes"] > 0
    assert details["cpu_percent"] >= 0
    assert details["host_memory_bytes"] > details["host_memory_available_bytes"]
    assert details["cwd_free_bytes"] == pytest.approx(details["home_free_bytes"], rel=0.1)
    assert 0 <= details["host_cpu_percent"] <= 100
    assert details["cpus"] >= 1
    assert details["filesystems"][0]["total_bytes"] > details["home_free_bytes"]
    assert host.spool.notes.run is not None
    assert (host.spool.notes.run.peak_rss_bytes or 0) > 0


def test_two_samples_are_two_events(make_host: Callable[..., Host]) -> None:
    host = make_host(memory_share=1.0, disk_low_bytes=0)
    host.look(0.0)
    ids = {event.id for second in (10, 20, 30) for event in host.look(float(second))}
    assert len(ids) == 3


def test_scarce_memory_is_reported_within_two_seconds_and_once(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again after it was plentiful."""
    host = make_host(disk_low_bytes=0)
    used = [50, 89, 90, 99, 85, 95, 79, 90]
    monkeypatch.setattr(sampler_module, "_fullest", lambda _: ("container", used.pop(0), 100))
    found = [kinds(host.look(float(second))) for second in range(0, 16, 2)]
    reported = [at for at, events in enumerate(found) if "memory_pressure" in events]
    assert reported == [2, 7]
    assert host.spool.notes.run is not None
    assert host.spool.notes.run.memory_share == 0.9


@pytest.mark.parametrize(("free", "low"), [(3 * GIB, False), (2 * GIB, True), (GIB, True)])
def test_a_disk_below_its_limit_is_reported(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, free: int, low: bool
) -> None:
    host = make_host(memory_share=1.1)
    host.follow("checkpoint_saved", path="/data/run/step_1.pt")
    monkeypatch.setattr(
        sampler_module, "disk_free", lambda places: {f"{name}_free_bytes": free for name in places}
    )
    host.look(0.0)
    paths = [each.details["path"] for each in host.look(10.0) if each.kind == "disk_low"]
    home = str(host.sampler._home)
    assert sorted(paths) == (sorted({home, "/data/run"}) if low else [])
    assert kinds(host.look(20.0)) == ["resource_sampled"]


def test_without_an_open_run_nothing_is_sampled(make_host: Callable[..., Host]) -> None:
    host = make_host(memory_share=0.0)
    host.follow("run_ended", status="completed")
    assert [host.look(float(second)) for second in range(0, 40, 2)] == [[]] * 20


def test_it_can_be_switched_off(make_host: Callable[..., Host]) -> None:
    host = make_host(samples=False, memory_share=0.0)
    assert [host.look(float(second)) for second in range(0, 40, 2)] == [[]] * 20


@pytest.mark.processes
def test_one_shipper_of_a_host_samples_it_and_another_takes_over(
    make_host: Callable[..., Host], tmp_path: Path
) -> None:
    host = make_host(memory_share=1.0, disk_low_bytes=0)
    ready, end = os.pipe(), os.pipe()
    path = host.sampler._lock_path
    child = os.fork()
    if child == 0:  # the shipper of another pipeline
        assert sampler_module._locked(path) is not None
        os.write(ready[1], b"x")
        os.close(end[1])
        os.read(end[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    host.look(0.0)
    (event,) = host.look(10.0)
    assert "host_memory_bytes" not in event.details
    assert "rss_bytes" in event.details
    os.close(end[1])
    os.waitpid(child, 0)
    (event,) = host.look(20.0)
    assert "host_memory_bytes" in event.details


def test_a_disk_that_hangs_holds_nothing_up(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like statvfs() on a network disk whose server is gone."""
    answers = threading.Event()
    begun: list[int] = []

    def hang(_directories: object) -> dict[str, int]:
        begun.append(1)
        answers.wait(60)
        return {}

    monkeypatch.setattr(sampler_module, "disk_free", hang)
    monkeypatch.setattr(sampler_module, "PATIENCE_S", 0.05)
    host = make_host(memory_share=1.0, disk_low_bytes=0)
    host.look(0.0)
    for second in (10.0, 20.0):
        (sample,) = host.look(second)
        assert "home_free_bytes" not in sample.details
        assert sample.details["rss_bytes"] > 0
    assert len(begun) == 1, "no second reading is begun while the first one hangs"
    answers.set()
    monkeypatch.undo()
    wait_until(lambda: "home_free_bytes" in host.look(host.clock_ns * 100.0)[-1].details)
