"""A day of 512 ranks at a step a second: what it takes in the log, and that nothing is missing.

Ten minutes of it are written, straight into a log, as the adapters of frameworks and the samplers
of 64 hosts tell it by default; a day is 144 times that, and beginning and end once.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.event import FIRST_CONTENT_NUMBER, Event
from realm_telemetry.folds.curves import CurvesRunner
from realm_telemetry.folds.curves.reading import curves_now
from realm_telemetry.folds.runs import Reading, RunsRunner, events_of, shown
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.shipper.sampler import sample_every_s
from realm_telemetry.shipper.samples import (
    HostProcessors,
    Usage,
    disk_free,
    filesystems,
    host_memory,
    memory_stall_percent,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

GIB = 1024**3
RANKS, RANKS_OF_HOST = 512, 8
SECONDS = 600
DAY_S = 86_400
RUN = "train-1129-0300-abcdefg"
BEGIN_NS = time.time_ns() - 3_600 * 10**9
GPU = {
    "name": "NVIDIA H100 80GB HBM3",
    "utilization_percent": 97,
    "memory_used_bytes": 68_719_476_736,
    "memory_total_bytes": 85_520_809_984,
    "temperature_c": 61,
    "power_w": 688.4,
    "uncorrected_errors": 0,
}


def told(kind: str, rank: int, number: int, at_s: float, **details: Any) -> Event:
    channel, severity = resolve(kind)
    text = render(kind, details)
    at_ns = BEGIN_NS + int(at_s * 10**9)
    producer = f"{rank + 1:016x}"
    return Event(
        *(kind, channel, severity, text, details, at_ns, producer, number), run_id=RUN, rank=rank
    )


def beginning() -> Iterator[Event]:
    start: dict[str, Any] = {
        "command": "python train.py --config configs/7b.yaml",
        "cwd": "/home/ada/llm",
    }
    start |= {"git_commit": "a" * 40, "python": "3.11.7", "launcher": "torchrun"}
    for rank in range(RANKS):
        yield told("run_started", rank, 1, 0, **start, world_size=RANKS, attempt=1)
    yield told("training_started", 0, 2, 0.1, framework="transformers", total_steps=DAY_S)
    yield told("run_config", 0, 3, 0.1, **{f"setting_{number}": number for number in range(80)})


def middle() -> Iterator[Event]:
    """Rank 0 logs its values each second; hosts are sampled as so many are."""
    sample = one_sample()
    every_s = int(sample_every_s(RANKS // RANKS_OF_HOST))
    for second in range(1, SECONDS + 1):
        values = {"loss": 3 / second, "grad_norm": 1 / second, "learning_rate": 1e-4 / second}
        values |= {"epoch": second / DAY_S, "steps_per_second": 1.0}
        yield told("training_step", 0, 3 + second, second, step=second, **values)
        if second % every_s == 0:
            for rank in range(0, RANKS, RANKS_OF_HOST):
                number = FIRST_CONTENT_NUMBER + second * RANKS + rank
                sample["host"] = f"gpu-{rank // RANKS_OF_HOST:03d}.cluster.example"
                yield told("resource_sampled", rank, number, second, **sample)


def one_sample() -> dict[str, Any]:
    """As of this machine, with eight GPUs."""
    processors = HostProcessors()
    processors.take()
    usage = Usage()
    usage.take([os.getpid()], 0.0)
    directories = {"home": "/", "cwd": "/", "checkpoints": "/"}
    found = usage.take([os.getpid()], 10.0) | processors.take() | host_memory()
    found |= memory_stall_percent() | disk_free(directories)
    mounted = filesystems(directories)
    gpus = [{"index": number, **GPU} for number in range(RANKS_OF_HOST)]
    return {"host": ""} | found | {"filesystems": mounted, "gpus": gpus}


def end() -> Iterator[Event]:
    for rank in range(RANKS):
        details: dict[str, Any] = {
            "status": "completed",
            "reason": "exit code 0",
            "evidence": {"exit_code": 0},
        }
        details |= {"exit_code": 0, "duration_s": SECONDS, "peak_rss_bytes": 2 * GIB}
        number = FIRST_CONTENT_NUMBER + 7
        yield told("run_ended", rank, number, SECONDS + 1, **details, host="gpu-000")


def stored(log: Log, path: Path, events: Iterator[Event]) -> int:
    """Store events; return what the file has grown by."""
    before = size(path)
    with log.writer() as writer:
        batch = list(events)
        for start in range(0, len(batch), 1_000):
            writer.append(batch[start : start + 1_000])
    return size(path) - before


def size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(connection.execute("PRAGMA page_count").fetchone()[0]) * 4096


def test_it_takes_a_gibibyte_at_most_and_summary_and_curves_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    log = open_log(path)
    once = stored(log, path, beginning())
    scaled = stored(log, path, middle())
    once += stored(log, path, end())
    with log.reader() as reader:
        runs, curves = RunsRunner(log), CurvesRunner(log)
        for runner in (runs, curves):
            runner.restart()
            runner.catch_up(every_row(reader.now))
            runner.save()
        record = Reading(reader.now, []).record(RUN)
        assert record is not None
        run = shown(RUN, record)
        found = curves_now(log, reader.now, RUN, events_of(RUN, record))
    assert (run["status"], run["step"], len(run["ranks"])) == ("completed", SECONDS, RANKS)
    assert {each["status"] for each in run["ranks"].values()} == {"completed"}
    assert len(run["hosts"]) == 1
    points = {
        key.name: sum(b.points for s in curve.strands.values() for b in s.read())
        for key, curve in found.curves()
        if key.rank == 0 and key.has_steps
    }
    assert {points[name] for name in ("loss", "grad_norm", "learning_rate")} == {SECONDS}
    day = once + scaled * DAY_S // SECONDS
    side = sum(file.stat().st_size for file in tmp_path.rglob("*curves*"))
    print(f"\nonce {once:,}, ten minutes {scaled:,}, a day {day:,} bytes; curves {side:,}")
    assert day <= GIB
