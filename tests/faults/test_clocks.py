"""Clocks that are wrong and events that come late."""

import threading
import time
from collections.abc import Callable

from realm_telemetry.client import EventMessage, RealmClient, SnapshotMessage
from tests.waiting import wait_until

from .conftest import Home, check_once_in_order

TWO_HOURS_S = 2 * 3600.0


def follow(url: str, count: int, found: list[EventMessage], begun: threading.Event) -> None:
    with RealmClient(url) as client:
        for message in client.stream():
            begun.set()
            if isinstance(message, EventMessage) and message.event.kind == "note":
                found.append(message)
            if len(found) >= count:
                return


def snapshot_of(url: str) -> set[str]:
    """Ids of the last events, as a new stream gets them."""
    with RealmClient(url) as client:
        for message in client.stream():
            assert isinstance(message, SnapshotMessage)
            return {row.event.id for row in message.rows}
    raise AssertionError("the stream had no snapshot")


def test_events_of_two_hours_ago_are_stored_and_streamed_but_not_among_the_last(
    home: Home,
) -> None:
    home.service.start()
    url = home.service.url
    found: list[EventMessage] = []
    begun = threading.Event()
    watcher = threading.Thread(target=follow, args=(url, 70, found, begun), daemon=True)
    watcher.start()
    assert begun.wait(60)
    on_time, behind = home.producer(), home.producer(clock_shift_s=-TWO_HOURS_S)
    recent = on_time.emit(10).ids
    assert on_time.flush()["delivered"]
    late = behind.emit(60).ids
    assert behind.flush()["delivered"]
    watcher.join(60)

    check_once_in_order(home.logged(), recent, late)
    assert {message.event.id for message in found if message.event.late} == set(late)
    assert {message.event.id for message in found if not message.event.late} == set(recent)
    for _ in range(2):
        live = {event["id"] for event in home.service.get("/api/events")["events"]}
        assert set(recent) <= live
        assert not live & set(late)
        assert not snapshot_of(url) & set(late)
        home.service.kill()  # what a new service reads from the log is the same
        home.service.start()
    two_hours_ago = home.service.get("/api/battle_log", since="3h", until="1h", limit=100)
    assert {event["id"] for event in two_hours_ago} == set(late)
    assert all(event["late"] for event in two_hours_ago)


def test_a_clock_that_steps_back_and_forth_changes_neither_order_nor_receipt(home: Home) -> None:
    producer = home.producer(clock_shift_s=0.0)
    ids: list[str] = []
    for shift_s in (0.0, -TWO_HOURS_S, 90.0, -5.0, TWO_HOURS_S):
        producer.ask("set_clock", shift_s=shift_s)
        ids += producer.emit(100).ids
    assert producer.flush()["delivered"]
    producer.exit()
    assert home.logged() == ids
    wait_until(lambda: home.receipts()[producer.id].complete)


def test_a_late_spool_comes_with_its_own_times(make_home: Callable[..., Home]) -> None:
    """A node's spool that nobody shipped for long is late as a whole."""
    home = make_home()
    node = home.producer(shipper="none", clock_shift_s=-TWO_HOURS_S)
    ids = node.emit(100).ids
    node.exit()
    began = time.time()
    other = home.producer()
    wait_until(lambda: home.logged() == ids)
    home.service.start()
    rows = home.service.get("/api/battle_log", kind="note", limit=200)
    assert [row["id"] for row in rows] == ids[::-1]
    assert all(row["late"] for row in rows)
    assert all(int(row["time_unix_nano"]) / 1e9 < began - 7000 for row in rows)
    assert home.receipts()[node.id].complete
    other.exit()
