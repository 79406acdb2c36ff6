"""The tail sleeps while nothing is written to the log, and a write wakes it."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.delivery.sources import RecentOfLog
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.kind_watch import KindWatch
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.log import DataVersionWatch
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service.live import tail as tail_module
from realm_telemetry.service.live.tail import Tail
from tests.waiting import SOON_S, wait_until

from .conftest import make_event

NEVER_S = 60.0


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    with LogWriter(tmp_path / "jobs.db") as writer:
        yield writer


class Looks(DataVersionWatch):
    """The real watch, which counts how often it was asked."""

    looks = 0

    def changed(self) -> bool:
        self.looks += 1
        return super().changed()


def followed(path: Path, act: Callable[[Looks, list[LogRow]], Any], poll_s: float = 0.005) -> None:
    """Run a tail over a log while an action goes on beside it."""

    async def run() -> None:
        rows: list[LogRow] = []

        def take(new: Sequence[LogRow]) -> None:
            rows.extend(new)

        with closing(open_log(path).reader()) as reader:
            watch = Looks(path)
            tail = Tail(reader, RecentOfLog(), watch, 0, [take], poll_s)
            tail.start()
            await asyncio.to_thread(act, watch, rows)
            tail.stop()
            tail.close()

    asyncio.run(run())


def test_who_is_woken_finds_that_the_tail_has_read(tmp_path: Path, writer: LogWriter) -> None:
    writer.append([make_event(number) for number in range(1, 501)])
    recent, rows, woken = RecentOfLog(), list[LogRow](), list[tuple[int | None, int]]()

    async def run() -> None:
        with closing(open_log(tmp_path / "jobs.db").reader()) as reader:
            watch = DataVersionWatch(tmp_path / "jobs.db")
            tail = Tail(reader, recent, watch, 0, [rows.extend], 0.005, noticed=notice)
            assert recent.seen == 0
            tail.start()
            await asyncio.wait_for(done.wait(), NEVER_S)
            tail.stop()
            tail.close()

    done = asyncio.Event()

    def notice() -> None:
        woken.append((recent.seen, len(rows)))
        if len(rows) == 500:
            done.set()

    asyncio.run(run())
    assert woken == [(200, 200), (400, 400), (500, 500)]


def arrives(rows: list[LogRow], count: int) -> None:
    """Wait for so many rows; NEVER_S is much longer."""
    wait_until(lambda: len(rows) >= count, SOON_S)


def falls_asleep(watch: Looks) -> None:
    """Wait until it has not looked for a second."""

    def is_still() -> bool:
        before = watch.looks
        time.sleep(1.0)
        return watch.looks == before

    wait_until(is_still, explain=lambda: f"{watch.looks} looks")


def test_it_sleeps_and_a_commit_wakes_it(
    tmp_path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "next_second", lambda _: NEVER_S)

    def act(watch: Looks, rows: list[LogRow]) -> None:
        for number in (1, 2, 3):
            falls_asleep(watch)
            writer.append([make_event(number)])
            arrives(rows, number)

    followed(tmp_path / "jobs.db", act)


def test_it_stays_awake_for_a_commit_that_the_disk_holds_up(
    tmp_path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "next_second", lambda _: NEVER_S)

    def act(watch: Looks, rows: list[LogRow]) -> None:
        def looks_again_and_again() -> bool:
            falls_asleep(watch)
            before = watch.looks
            with (tmp_path / "jobs.db-wal").open("r+b") as journal:
                head = journal.read(4)
                journal.seek(0)
                journal.write(head)
            falls_asleep(watch)  # it does not wait for ever for a commit that never comes
            return watch.looks > before + 10

        # More than one attempt: a machine that stands still for a second lets it miss the first.
        wait_until(looks_again_and_again, SOON_S)

    followed(tmp_path / "jobs.db", act)


def test_a_wake_up_that_is_lost_costs_a_second(
    tmp_path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(watch: Looks, rows: list[LogRow]) -> None:
        time.sleep(1.0)
        writer.append([make_event(1)])
        arrives(rows, 1)

    silent, other = socket.socketpair()
    monkeypatch.setattr(Looks, "descriptor", lambda _: silent.fileno())
    monkeypatch.setattr(Looks, "drain", lambda _: False)
    with silent, other:
        followed(tmp_path / "jobs.db", act)


def test_without_a_watch_it_polls(
    tmp_path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Looks, "descriptor", lambda _: None)
    monkeypatch.setattr(tail_module, "next_second", lambda _: NEVER_S)

    def act(watch: Looks, rows: list[LogRow]) -> None:
        before = watch.looks
        wait_until(lambda: watch.looks > before + 20)
        writer.append([make_event(1)])
        arrives(rows, 1)

    followed(tmp_path / "jobs.db", act)


def test_it_notices_at_once_that_the_journal_is_gone(
    tmp_path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "next_second", lambda _: NEVER_S)
    monkeypatch.setattr(tail_module, "_PAUSE_AFTER_ERROR_S", NEVER_S)

    def act(watch: Looks, rows: list[LogRow]) -> None:
        falls_asleep(watch)
        before = watch.looks
        (tmp_path / "jobs.db-wal").unlink()
        wait_until(lambda: watch.looks > before, SOON_S)

    followed(tmp_path / "jobs.db", act)


class LateCatalog:
    """Kinds of a log that cannot be read at the first two looks."""

    looks = 0

    def kinds(self) -> list[KindSpec]:
        self.looks += 1
        if self.looks <= 2:
            raise LogUnavailableError("the log is away")
        return []


@pytest.mark.parametrize("is_own", [False, True])
def test_a_log_that_is_away_when_kinds_are_asked_for_costs_no_row(
    tmp_path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    monkeypatch.setattr(tail_module, "_PAUSE_AFTER_ERROR_S", 0.05)
    stored = writer.append([make_event(number, kind=f"odd_{number}") for number in (1, 2)])
    recent, rows, catalog = RecentOfLog(), list[LogRow](), LateCatalog()

    async def run() -> None:
        with closing(open_log(tmp_path / "jobs.db").reader()) as reader:
            watch = DataVersionWatch(tmp_path / "jobs.db")
            kinds = KindWatch(catalog)
            tail = Tail(reader, recent, watch, 0, [rows.extend], 0.005, kinds=kinds)
            if is_own:
                recent.start(0)
                recent.add(stored)
            tail.start()
            await asyncio.to_thread(arrives, rows, 2)
            tail.stop()
            tail.close()

    asyncio.run(run())
    assert [row.cursor for row in rows] == [1, 2]
    assert catalog.looks == 3
