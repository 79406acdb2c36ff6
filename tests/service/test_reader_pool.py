"""Queries end at their deadline or with their client, and give their thread back."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.log.engine import Snapshot, open_log
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service import reader_pool as pool_module
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.reader_pool import ReaderPool
from tests.waiting import SOON_S, wait_until

from .conftest import HEAVY, asking, heavy, make_event

pytestmark = pytest.mark.anyio

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@asynccontextmanager
async def pool_of(path: Path, *, threads: int = 1, timeout_s: float = 0.2) -> AsyncIterator[Any]:
    """A pool over a log with a few rows."""
    with LogWriter(path) as writer:
        writer.append([make_event(number) for number in range(1, 200)])
    pool = ReaderPool(open_log(path), threads, timeout_s)
    try:
        yield pool
    finally:
        pool.close()


def endless(log: Snapshot) -> Any:
    """One statement that never ends."""
    return log.connection.execute(ENDLESS).fetchone()  # type: ignore[attr-defined]


def endless_loop(log: Snapshot) -> Any:
    """Short statements without end, as a walk through an index makes them."""
    while True:
        log.after(0, 50)


def count(log: Snapshot) -> int:
    """A quick query."""
    return log.max_cursor()


@pytest.mark.parametrize("query", [endless, endless_loop])
async def test_a_query_ends_at_its_deadline_and_frees_its_thread(
    tmp_path: Path, query: Any
) -> None:
    async with pool_of(tmp_path / "jobs.db") as pool:
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(ApiError) as caught:
                await pool.run(query)
            assert (caught.value.code, caught.value.status) == ("query_timeout", 503)
            assert caught.value.retry_after_s
        assert await pool.run_long(count) == 199
        assert time.monotonic() - started < SOON_S


async def test_the_wait_for_a_thread_counts_and_a_query_that_waits_is_never_begun(
    tmp_path: Path,
) -> None:
    begun = []
    async with pool_of(tmp_path / "jobs.db", timeout_s=0.3) as pool:
        first = asyncio.ensure_future(pool.run(endless))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(pool.run(lambda log: begun.append(log)))
        second.cancel()
        with pytest.raises(ApiError, match="over"):
            await first
        assert await pool.run_long(count) == 199
    assert begun == []


async def test_a_query_that_is_cancelled_frees_its_thread(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "jobs.db", timeout_s=60) as pool:
        asked = asyncio.ensure_future(pool.run(endless))
        await asyncio.sleep(0.1)
        asked.cancel()
        assert await asyncio.wait_for(pool.run(count), SOON_S) == 199


async def test_an_interrupted_query_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "jobs.db", threads=2, timeout_s=0.3) as pool:
        asked = asyncio.ensure_future(pool.run(endless))
        while not asked.done():
            assert await pool.run(count) == 199
        assert isinstance(asked.exception(), ApiError)


async def test_what_the_service_itself_reads_has_no_deadline(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "jobs.db", timeout_s=0.1) as pool:

        def slow(log: Snapshot) -> int:
            time.sleep(0.3)
            return count(log)

        assert await pool.run_long(slow) == 199
        with pytest.raises(ApiError):
            await pool.run(slow)


async def test_queries_that_fill_all_threads_do_not_hold_up_other_work(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "jobs.db", timeout_s=60.0) as pool:
        asked = asyncio.ensure_future(pool.run(endless))
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(pool.work(lambda: 7), SOON_S) == 7
        assert not asked.done()
        asked.cancel()


async def test_closing_ends_a_query_that_would_never_end(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "jobs.db", timeout_s=60) as pool:
        asked = asyncio.ensure_future(pool.run(endless))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        pool.close()
        assert time.monotonic() - started < SOON_S
        with pytest.raises(ApiError):
            await asked


async def test_queries_may_end_while_a_reader_is_discarded(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "jobs.db") as pool:

        class Ending:
            """Its thread takes it out of the set just when the loop looks at it."""

            @property
            def reader(self) -> None:
                pool._active.discard(self)

        pool._active.update(Ending() for _ in range(3))
        reader = pool.open()
        pool.discard(reader)
        wait_until(lambda: not reader._connections)


async def test_a_reader_may_be_discarded_after_the_end(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "jobs.db") as pool:
        reader = pool.open()
        pool.close()
        pool.discard(reader)
        assert not reader._connections


async def test_a_step_that_is_ended_leaves_the_reader_of_its_thread_alone(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "jobs.db") as pool:
        assert await pool.run(count) == 199
        (own,) = pool._readers
        reader = pool.open()

        def step() -> Any:
            with reader.snapshot() as log:
                return endless(log)

        with pytest.raises(ApiError, match="over"):
            await pool.step(reader, step)
        pool.discard(reader)
        assert await pool.run(count) == 199
        assert pool._readers == {own}


@pytest.mark.parametrize(
    "path",
    [
        HEAVY,
        HEAVY.replace("series?fields=step&", "export?"),
        HEAVY.replace("series?fields=step&", "export?order=arrival&"),
    ],
)
def test_a_request_past_the_deadline_is_answered_503_with_its_code(
    tmp_path: Path, path: str
) -> None:
    with heavy(tmp_path, query_timeout_s=0.06) as server, asking(server) as client:
        response = client.get(path)
        assert (response.status_code, response.json()["error"]) == (503, "query_timeout")
        assert "query_timeout_s" in response.json()["hint"]
        wait_until(lambda: client.get("/api/battle_log/1").status_code == 200)


def test_a_client_that_leaves_takes_its_query_with_it(tmp_path: Path) -> None:
    with heavy(tmp_path, query_timeout_s=60) as server, asking(server) as client:
        service = server.app.state.service
        with socket.create_connection(("127.0.0.1", server.ports[0])) as gone:
            gone.sendall(f"GET {HEAVY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            wait_until(lambda: service.readers._active)
            time.sleep(2 * pool_module.PATIENCE_S)
            assert service.readers._active
        wait_until(lambda: not service.readers._active)
        assert client.get("/api/battle_log/1").status_code == 200
