"""A process of the old code lives on while its files are replaced: nothing is lost or repeated."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.waiting import wait_until

from .processes import Producer, Service, holder, kill_shipper, logged, rows
from .receivers import Receiver, mark
from .trees import Tree

Produce = Callable[..., Producer]
Serve = Callable[[Tree, Path], Service]

RETENTION: Final = "[service]\nretention_days = 0.00000001\n"
"""Trims rows as soon as a snapshot has them, so that a shipper needs its snapshot code at once."""


def check_once(home: Path, *emitted: list[str]) -> None:
    """Everything emitted is in the log, once and in order; nothing else is."""
    assert logged(home) == [event_id for ids in emitted for event_id in ids]


def receipts(home: Path) -> list[tuple[int, int, int]]:
    """Stored, emitted and ended of every producer."""
    return rows(home / "vault" / "jobs.db", "SELECT stored, emitted, ended FROM realm_producers")


def upgrade_without_shipper(tree: Tree, new: Tree, producer: Producer) -> None:
    """Kill the shipper and replace the files before the producer can start an old one."""
    producer.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: kill_shipper(producer.pipeline_dir))
    tree.become(new)
    assert not holder(producer.pipeline_dir)
    producer.process.send_signal(signal.SIGCONT)


def ships_from(tree: Tree, pid: int) -> bool:
    """Whether a process is a shipper that was started with a tree first on its path."""
    proc = Path("/proc") / str(pid)
    command = proc.joinpath("cmdline").read_bytes()
    variables = dict(
        entry.split(b"=", 1)
        for entry in proc.joinpath("environ").read_bytes().split(b"\0")
        if entry
    )
    first = variables[b"PYTHONPATH"].split(b":")[0]
    return b"realm_telemetry.shipper\0--pipeline\0" in command and first == os.fsencode(tree.site)


def test_the_keeper_of_an_old_process_starts_the_new_shipper(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce
) -> None:
    producer = produce(installed, exporters=["battle_log", "jsonl"])
    before = producer.emit(60)
    producer.flush()
    upgrade_without_shipper(installed, upgraded, producer)
    after = producer.emit(60)
    # The keeper's own round starts it; `flush` would do so as well.
    wait_until(lambda: holder(producer.pipeline_dir))
    assert ships_from(installed, holder(producer.pipeline_dir))
    producer.flush()
    last = producer.emit(60)
    producer.flush()
    producer.exit()
    check_once(home, before, after, last)
    lines = (home / "status" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["note"] * 180


def test_a_flush_of_an_old_process_starts_the_new_shipper(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce
) -> None:
    producer = produce(installed)
    before = producer.emit(20)
    producer.flush()
    wait_until(lambda: kill_shipper(producer.pipeline_dir))
    installed.become(upgraded)
    after = producer.emit(20)
    producer.flush()
    producer.exit()
    check_once(home, before, after)


def test_an_old_process_that_ends_without_flushing_leaves_its_spool_to_the_new_shipper(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce
) -> None:
    producer = produce(installed)
    before = producer.emit(20)
    producer.flush()
    time.sleep(5.1)  # a shipper is started every 5 s at the most
    upgrade_without_shipper(installed, upgraded, producer)
    after = producer.emit(500)
    producer.exit()
    wait_until(lambda: len(logged(home)) == 520)
    check_once(home, before, after)
    assert logged(home, "kind = 'process_lost'") == []


def test_an_old_process_killed_after_the_upgrade_is_shipped_by_the_next_new_one(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce
) -> None:
    """Its spool, written by old code up to the kill, is read and freed by new code."""
    producer = produce(installed, shipper="none")
    installed.become(upgraded)
    ids = producer.emit(300)
    producer.process.kill()
    producer.process.wait()
    installed.realm(home, "ship", "--once")
    check_once(home, ids)
    assert len(logged(home, "kind = 'process_lost'")) == 1
    assert not list(producer.pipeline_dir.glob("*/*.spool"))


def test_the_old_shipper_ships_on_while_its_files_are_replaced(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce
) -> None:
    """It trims too, for which it imports more: where that fails a new one takes its place."""
    (home / "realm.toml").write_text(RETENTION)
    producer = produce(installed)
    before = producer.emit(20)
    producer.flush()
    installed.become(upgraded)
    after = producer.emit(20)
    producer.flush()
    wait_until((home / "data" / "realm_state.db").exists)
    last = producer.emit(20)
    producer.flush()
    producer.exit()
    ids = [*before, *after, *last]
    assert logged(home) == ids[len(ids) - len(logged(home)) :]
    wait_until(lambda: receipts(home) == [(60, 60, 1)], explain=lambda: receipts(home))


@pytest.mark.parametrize("retention", ["", RETENTION], ids=["kept", "trimmed"])
def test_a_shipper_in_a_thread_of_an_old_process_goes_on(
    installed: Tree, upgraded: Tree, home: Path, tmp_path: Path, produce: Produce, retention: str
) -> None:
    """It delivers, and with a short retention makes its first snapshot, from the new files."""
    (home / "realm.toml").write_text(retention)
    written = tmp_path / "written"
    producer = produce(installed, shipper="thread", objects=str(written))
    first = producer.emit(30)
    installed.become(upgraded)
    producer.flush()
    if retention:
        wait_until((home / "data" / "realm_state.db").exists)
    second = producer.emit(30)
    producer.flush()
    producer.exit()
    if not retention:
        check_once(home, first, second)
    assert Counter(written.read_text().splitlines()) == {f"Note {mark(n)}": 2 for n in range(30)}
    assert [stored for stored, _, _ in receipts(home)] == [60]


@pytest.mark.parametrize("shipper", ["process", "thread"])
def test_a_child_forked_by_an_old_process_after_the_upgrade_is_a_producer(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce, shipper: str
) -> None:
    producer = produce(installed, shipper=shipper)
    before = producer.emit(10)
    producer.flush()
    installed.become(upgraded)
    answer = producer.ask("child", count=10)
    assert answer["delivered"], answer["problem"]
    producer.flush()
    producer.exit()
    check_once(home, before, answer["ids"])


def test_an_old_process_replays_after_the_upgrade(
    installed: Tree,
    new_tree: Tree,
    upgraded: Tree,
    home: Path,
    tmp_path: Path,
    produce: Produce,
    serve: Serve,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    service = serve(new_tree, elsewhere)
    producer = produce(installed)
    ids = producer.emit(30)
    producer.flush()
    installed.become(upgraded)
    assert producer.ask("replay", to=service.url)["events"] == 30
    assert logged(elsewhere) == ids


def use_every_route(service: Service) -> None:
    """Ask for what a page or a program asks for, on routes that were not used before too."""
    paths = httpx.get(f"{service.url}/openapi.json", timeout=60).json()["paths"]
    for path, methods in paths.items():
        if "get" in methods and "{" not in path and "stream" not in path:
            answer = httpx.get(service.url + path, timeout=60)
            assert answer.status_code < 500, (path, answer.text)
    assert service.get("/api/battle_log", limit=100, q="note", has="size:1") == []


def test_a_running_old_service_stores_and_sends_webhooks_through_the_upgrade(
    installed: Tree, upgraded: Tree, home: Path, produce: Produce, serve: Serve, receiver: Receiver
) -> None:
    """What it needs for the first time after the upgrade comes from the new files."""
    (home / "realm.toml").write_text(receiver.webhook_settings())
    service = serve(installed, home)
    producer = produce(
        installed, exporters=["battle_log", "realm_service"], service_url=service.url
    )
    before = producer.emit(5)
    producer.flush()
    wait_until(lambda: len(receiver.messages()) == 5)
    installed.become(upgraded)
    after = producer.emit(5, first=5)
    producer.flush()
    wait_until(lambda: len(receiver.messages()) == 10)
    use_every_route(service)
    assert service.stop() == 0, service.output.read_text()
    assert "Traceback" not in service.output.read_text()
    # The new service goes on at the cursor of the old one: nothing is sent again.
    service.start()
    last = producer.emit(1, first=10)
    producer.flush()
    wait_until(lambda: len(receiver.messages()) == 11)
    assert service.get("/api/state") != {}
    producer.exit()
    check_once(home, before, after, last)
    assert receiver.taken["/hook"] == dict.fromkeys(range(11), 1)
