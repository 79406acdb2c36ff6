"""How fast a log in PostgreSQL takes, shows and finds events, and how fast a log moves there.

Starts a server of its own, with its commits synced; without one the group is left out.

    python -m benchmarks.postgres_bench --rows 3000000 --searched 1000000
"""

import argparse
import os
import select
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from benchmarks.log_bench import BATCH, PRODUCER, QUERIES, fill, make_events, timed
from benchmarks.measure import Figure, at_least, at_most, machine, percentile, show
from benchmarks.path_bench import emit_to_stream
from benchmarks.service_bench import SPAWN, make_event
from realm_telemetry.config import Settings
from realm_telemetry.event import Event
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.folds.state import state_runner
from realm_telemetry.log import Filters, ProducerInfo
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.transfer.log_move import move_log
from tests.postgres_server import Server

SYNCED: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}
WRITERS: Final = 3
TAIL_S: Final = 8.0
ROUNDS: Final = 100


@contextmanager
def server() -> Iterator[Server]:
    """A server whose commits are on disk. Raises pytest's Skipped where there is none."""
    with Server(**SYNCED) as running:
        yield running


def append(url: str, rows: int) -> tuple[float, float]:
    """Events a second in commits of 1,000, and microseconds of this process's CPU for each."""
    events = list(make_events(rows))
    batches = [events[start : start + BATCH] for start in range(0, rows, BATCH)]
    with open_log(url).writer() as writer:
        writer.register_producer(ProducerInfo(PRODUCER))
        began, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            writer.append(batch)
        taken, cpu = time.perf_counter() - began, time.process_time() - cpu
    return rows / taken, cpu * 1e6 / rows


def write_much(url: str, number: int, rows: int, start: Any) -> None:
    """Append as one of several writers, once all are ready."""
    producer = f"{number:016x}"
    events = [msgspec.structs.replace(each, producer=producer) for each in make_events(rows)]
    with open_log(url).writer() as writer:
        writer.register_producer(ProducerInfo(producer))
        start.wait()
        for begin in range(0, rows, BATCH):
            writer.append(events[begin : begin + BATCH])


def several_writers(url: str, rows: int) -> tuple[float, int]:
    """Events a second of three processes at once, and how many a tail did not see."""
    start = SPAWN.Barrier(WRITERS + 1)
    each = rows // WRITERS // BATCH * BATCH
    writers = [
        SPAWN.Process(target=write_much, args=(url, number, each, start), daemon=True)
        for number in range(1, WRITERS + 1)
    ]
    log = open_log(url)
    log.writer().close()
    for writer in writers:
        writer.start()
    with log.reader() as reader:
        seen = cursor = 0
        start.wait()
        began, done = time.perf_counter(), 0.0
        while seen < each * WRITERS:
            found = reader.now.after(cursor, 5_000)
            seen, cursor = seen + len(found), found[-1].cursor if found else cursor
            if not done and reader.now.max_cursor() >= each * WRITERS:
                done = time.perf_counter()
            if done and time.perf_counter() > done + 60:
                break
        for writer in writers:
            writer.join()
    return each * WRITERS / (done - began), each * WRITERS - seen


def write_steadily(url: str, per_second: int, seconds: float, gather_s: float) -> None:
    """Append what is due every few milliseconds, as a service does."""
    number = 0
    with open_log(url).writer() as writer:
        start = time.monotonic()
        while (now := time.monotonic() - start) < seconds:
            due = int(now * per_second)
            if due > number:
                writer.append([make_event("0" * 15 + "9", n) for n in range(number + 1, due + 1)])
                number = due
            time.sleep(gather_s)


def append_to_tail(url: str) -> list[float]:
    """Milliseconds from an event to its row at another process, sorted; 1,000 a second."""
    log = open_log(url)
    log.writer().close()
    times: list[float] = []
    with log.reader() as reader, closing(log.watch()) as watch:
        arguments = (url, 1_000, TAIL_S, 0.005)
        writer = SPAWN.Process(target=write_steadily, args=arguments, daemon=True)
        writer.start()
        cursor, descriptor = reader.now.max_cursor(), watch.descriptor()
        assert descriptor is not None
        while writer.is_alive():
            select.select([descriptor], [], [], 0.25)
            watch.drain()
            if not watch.changed():
                continue
            watch.caught_up()
            while rows := reader.now.after(cursor, 1_000):
                now = time.time_ns()
                times += [(now - row.event.time_unix_nano) / 1e6 for row in rows]
                cursor = rows[-1].cursor
    times.sort()
    return times[len(times) // 20 :]  # the first of them met a writer that was not warm


def fill_log(log: Log, rows: int) -> None:
    """Store so many rows of a month."""
    with log.writer() as writer:
        writer.register_producer(ProducerInfo(PRODUCER))
        batch: list[Event] = []
        for event in make_events(rows):
            batch.append(event)
            if len(batch) == BATCH:
                writer.append(batch)
                batch = []
        writer.append(batch)


def pages(log: Log) -> dict[str, dict[str, float]]:
    """Milliseconds for the last 100 rows by filter."""
    with log.reader() as reader:
        return {
            name: timed(partial(reader.now.page, filters, count=False), ROUNDS)
            for name, filters in QUERIES.items()
        }


def searches(log: Log) -> dict[str, dict[str, float]]:
    """Milliseconds for the first page of a search."""
    queries = {"rare word": "word77", "common word": "checkpoint", "rare and common": "saved word9"}
    with log.reader() as reader:
        return {
            name: timed(partial(reader.now.page, Filters(q=query)), ROUNDS)
            for name, query in queries.items()
        }


def move(url: str, rows: int) -> tuple[float, float]:
    """Rows a second of `realm log move`, all of it, and seconds that the log was held.

    The server's disk and ours are the same here.
    """
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        path = home / "vault" / "jobs.db"
        path.parent.mkdir()
        fill(path, rows)
        log = open_log(path, home=home)
        with log.reader() as reader:  # as its service keeps it
            runner = state_runner(reader.log_id, log)
            runner.catch_up(every_row(reader.now))
            runner.save()
        report = move_log(Settings(home=home), url, lambda *_: None)
    return rows / report.seconds, report.held_s


def figures(rows: int = 200_000, searched: int = 200_000) -> list[Figure]:
    """All of them; empty, with a message, where there is no server."""
    try:
        with server() as running:
            return _figures(running, rows, searched)
    except pytest.skip.Exception as missing:
        print(f"postgres: left out. {missing}")
        return []


def _figures(running: Server, rows: int, searched: int) -> list[Figure]:
    rate, cpu_us = append(running.url(schema="append"), rows)
    together, missed = several_writers(running.url(schema="together"), rows)
    tail = append_to_tail(running.url(schema="tail"))
    stream = emit_to_stream(log_url=running.url(schema="stream"))
    log = open_log(running.url(schema="pages"))
    fill_log(log, rows)
    running.sql("VACUUM ANALYZE pages.events")
    found = pages(log)
    slowest = max(found, key=lambda name: found[name]["p99 ms"])
    if searched != rows:
        log = open_log(running.url(schema="words"))
        fill_log(log, searched)
        running.sql("VACUUM ANALYZE words.events")
    words = searches(log)
    rarest = max(words, key=lambda name: words[name]["p99 ms"])
    moved, held_s = move(running.url(schema="moved"), rows)
    beside = f"load {os.getloadavg()[0]:.1f}"
    middle = statistics.median(each["p50 ms"] for each in found.values())
    return [
        at_least("append, commits of 1,000", rate, 30_000, "events/s", beside),
        at_most("... CPU of the service", cpu_us, 8.0, "us/event"),
        at_least("3 writers at once", together, 25_000, "events/s"),
        at_most("... rows that a tail missed", missed, 0, "rows"),
        at_most(
            "append -> tail, 1,000 events/s, p99",
            percentile(tail, 0.99),
            30.0,
            "ms",
            f"p50 {percentile(tail, 0.5):.1f} ms",
        ),
        at_most("emit -> SSE client, 100 events/s, p50", stream["p50_ms"], 30.0, "ms"),
        at_most("emit -> SSE client, 100 events/s, p99", stream["p99_ms"], 80.0, "ms"),
        at_most(
            f"last 100 of {rows:,} rows, slowest of {len(found)} filters, p99",
            found[slowest]["p99 ms"],
            5.0,
            "ms",
            f"{slowest}; the middle one {middle:.1f} ms at p50",
        ),
        at_most(
            f"search, first page of {searched:,} rows, p99",
            words[rarest]["p99 ms"],
            50.0,
            "ms",
            rarest,
        ),
        at_least("`realm log move`", moved, 25_000, "rows/s", f"log held for {held_s:.1f} s"),
    ]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--searched", type=int, default=200_000)
    chosen = parser.parse_args()
    print(machine())
    show("postgres", figures(chosen.rows, chosen.searched))


if __name__ == "__main__":
    main()
