"""The primary is killed under load and its synchronous standby takes over: nothing is lost."""

import os
import threading
import time
from collections import Counter
from functools import partial

import pytest

from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.rows import LogRow
from tests.log.conftest import make_event
from tests.postgres_server import USER, Server
from tests.waiting import wait_until

KILLS = int(os.environ.get("REALM_TEST_FAILOVERS", "3"))
"""More of them are for a machine that has nothing else to do."""


def url_of(*servers: Server) -> str:
    hosts = ",".join(str(server.directory) for server in servers)
    ports = ",".join(str(server.port) for server in servers)
    return (
        f"postgresql://{USER}@/postgres?host={hosts}&port={ports}"
        "&target_session_attrs=read-write&log_retry_s=2"
    )


class Load:
    """Two writers and a tail on whichever server takes writes now."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done = threading.Event()
        self.acknowledged: set[str] = set()
        self.seen: list[tuple[int, str]] = []
        self.threads = [
            threading.Thread(target=self._write, args=(f"{n:016x}",)) for n in (1, 2)
        ] + [threading.Thread(target=self._follow)]

    def _write(self, producer: str) -> None:
        first = 1
        while not self.done.is_set():
            events = [make_event(n, producer=producer) for n in range(first, first + 10)]
            if self._append(producer, events):
                self.acknowledged.update(event.id for event in events)
                first += 10

    def _append(self, producer: str, events: list) -> bool:  # type: ignore[type-arg]
        while not self.done.is_set():
            try:
                with open_log(self.url).writer() as writer:
                    writer.append(events)
                    return True
            except LogError:
                time.sleep(0.05)
        return False

    def _follow(self) -> None:
        cursor = 0
        while not self.done.is_set():
            try:
                with open_log(self.url).reader() as reader:
                    while not self.done.is_set():
                        rows = reader.now.after(cursor)
                        self.seen += [(row.cursor, row.event.id) for row in rows]
                        cursor = rows[-1].cursor if rows else cursor
            except LogError:
                time.sleep(0.05)

    def has(self, count: int) -> bool:
        return len(self.acknowledged) >= count


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.timeout(120 + 60 * KILLS)
def test_nothing_is_lost_or_stored_twice_though_the_primary_is_killed() -> None:
    servers = [Server().__enter__()]
    load = None
    try:
        open_log(servers[0].url()).writer().close()
        for _ in range(KILLS):
            primary = servers[-1]
            standby = primary.standby()
            servers.append(standby)
            primary.wait_for_standby()
            if load is None:
                load = Load("")
            load.url = url_of(primary, standby)
            for thread in load.threads:
                if thread.ident is None:
                    thread.start()
            wait_until(partial(load.has, len(load.acknowledged) + 300))
            primary.kill()
            standby.promote()
            wait_until(partial(load.has, len(load.acknowledged) + 100))
        assert load is not None
        load.done.set()
        for thread in load.threads:
            thread.join(60)
        rows: list[LogRow] = []
        with open_log(servers[-1].url()).reader() as reader:
            while found := reader.now.after(rows[-1].cursor if rows else 0):
                rows += found
        stored = Counter(row.event.id for row in rows)
        assert not load.acknowledged - stored.keys(), "lost"
        assert max(stored.values()) == 1, "twice"
        assert [row.cursor for row in rows] == list(range(1, len(rows) + 1))
        # What the tail has shown is where it was.
        assert set(load.seen) <= {(row.cursor, row.event.id) for row in rows}
        assert [cursor for cursor, _ in load.seen] == list(range(1, len(load.seen) + 1))
    finally:
        if load is not None:
            load.done.set()
        for server in servers:
            server.__exit__()
