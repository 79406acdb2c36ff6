"""The service is killed and comes back: log and stream go on as if nothing had been."""

import threading
import time
from functools import partial

from realm_telemetry.client import EventMessage, RealmClient, SnapshotMessage
from tests.waiting import wait_until

from .conftest import Home, check_once_in_order


class Watcher:
    """A client that follows the stream, and reconnects, until it has seen enough notes."""

    def __init__(self, url: str, count: int) -> None:
        self.notes: list[tuple[int | None, str]] = []
        self.others: list[object] = []
        self._url, self._count = url, count
        self.connected = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def has_more_than(self, count: int) -> bool:
        return len(self.notes) > count

    def _follow(self) -> None:
        with RealmClient(self._url) as client:
            for message in client.stream():
                self.connected.set()
                if isinstance(message, EventMessage) and message.event.kind == "note":
                    self.notes.append((message.cursor, message.event.id))
                elif not isinstance(message, EventMessage):
                    self.others.append(message)
                if len(self.notes) >= self._count:
                    return


def test_every_event_comes_once_and_in_order_though_the_service_is_killed_twice(home: Home) -> None:
    home.service.start()
    watcher = Watcher(home.service.url, 2000)
    assert watcher.connected.wait(60)
    producer = home.producer(["battle_log", "realm_service"], service_url=home.service.url)
    producer.tell("emit", count=2000, pace_s=0.002)
    for _ in range(2):
        seen = len(watcher.notes)
        wait_until(partial(watcher.has_more_than, seen + 200))
        home.service.kill()
        time.sleep(0.5)
        home.service.start()
    ids = producer.answer().ids
    assert producer.flush()["delivered"]
    watcher.thread.join(60)
    logged = home.logged()
    check_once_in_order(logged, ids)
    assert len(logged) == 2000
    assert [event_id for _, event_id in watcher.notes] == logged
    cursors = [cursor for cursor, _ in watcher.notes if cursor is not None]
    assert len(cursors) == len(watcher.notes)
    assert cursors == sorted(cursors)
    # One snapshot at first; whoever resumes gets none, and no reset.
    assert [type(other) for other in watcher.others] == [SnapshotMessage]
