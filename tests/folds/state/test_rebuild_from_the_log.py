"""A state rebuilt from a real log, from a snapshot or from nothing, is the state before."""

import sqlite3
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.runtime import advance, every_row
from realm_telemetry.folds.state import RealmState, rebuild, state_runner
from realm_telemetry.kinds.catalog import resolve
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter

NOW_NS = 1_764_374_400 * 1_000_000_000
KINDS = ("training_step", "job_started", "worker_heartbeat", "eval_completed", "checkpoint_saved")


def make_event(number: int) -> Event:
    kind = KINDS[number % len(KINDS)]
    channel, severity = resolve(kind)
    return Event(
        kind=kind,
        channel=channel,
        severity=severity,
        message=kind,
        details={
            "step": number,
            "loss": 1 / number,
            "job_id": f"j{number % 40}",
            "worker_id": f"w{number % 3}",
            "skill": "sums",
            "level": number % 4,
            "accuracy": number / 10_000,
        },
        # Out of order, as producers with different delays are.
        time_unix_nano=NOW_NS + (number * 7_919 % 1_000) * 1_000_000,
        producer=f"{number % 5:016x}",
        number=number,
    )


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    path = tmp_path / "vault" / "jobs.db"
    path.parent.mkdir()
    return path


def append(log_path: Path, numbers: range) -> None:
    with closing(LogWriter(log_path, clock_ns=lambda: NOW_NS)) as writer:
        for start in range(numbers.start, numbers.stop, 500):
            stop = min(start + 500, numbers.stop)
            writer.append([make_event(number) for number in range(start, stop)])


def save(reader: LogReader, log: Log) -> None:
    runner = state_runner(reader.log_id, log)
    runner.restart()
    runner.catch_up(every_row(reader.now))
    runner.save()


def test_a_snapshot_and_the_rest_are_the_whole_log(log_path: Path) -> None:
    log = open_log(log_path)
    append(log_path, range(1, 3_001))
    with closing(LogReader(log_path)) as reader:
        save(reader, log)
    append(log_path, range(3_001, 5_001))
    with closing(LogReader(log_path)) as reader:
        resumed, whole = rebuild(reader.now, log), rebuild(reader.now)
        assert whole.cursor == resumed.cursor == reader.now.max_cursor()
    assert resumed.dump() == whole.dump()
    assert whole.section("system", NOW_NS)["counts"]["events"] == 5_000


def test_events_sent_twice_are_counted_once(log_path: Path) -> None:
    append(log_path, range(1, 501))
    append(log_path, range(1, 1_001))
    with closing(LogReader(log_path)) as reader:
        assert rebuild(reader.now).section("system", NOW_NS)["counts"]["events"] == 1_000


def test_the_order_of_arrival_makes_no_difference(tmp_path: Path) -> None:
    states: list[Any] = []
    for order in (range(1, 1_001), range(1_000, 0, -1), chain(*_interleaved(1_000))):
        path = tmp_path / str(len(states)) / "jobs.db"
        path.parent.mkdir()
        with closing(LogWriter(path, clock_ns=lambda: NOW_NS)) as writer:
            writer.append([make_event(number) for number in order])
        with closing(LogReader(path)) as reader:
            states.append(rebuild(reader.now))
    assert states[0].dump() == states[1].dump() == states[2].dump()


def _interleaved(count: int) -> list[range]:
    return [range(start, count + 1, 3) for start in (2, 3, 1)]


def test_a_tail_that_catches_up_folds_each_row_once(log_path: Path) -> None:
    append(log_path, range(1, 301))
    state = RealmState()
    with closing(LogReader(log_path)) as reader:
        rows_after, cursors = every_row(reader.now), []
        while advance(state, rows_after, 200):
            cursors.append(state.cursor)
        append(log_path, range(301, 351))
        assert advance(state, rows_after, 200)
        assert [*cursors, state.cursor] == [200, 300, 350]
        assert state.dump() == rebuild(reader.now).dump()


def test_a_snapshot_keeps_what_was_trimmed_from_the_log(log_path: Path) -> None:
    log = open_log(log_path)
    append(log_path, range(1, 501))
    with closing(LogReader(log_path)) as reader:
        save(reader, log)
    with closing(sqlite3.connect(log_path)) as connection, connection:
        connection.execute("DELETE FROM battle_log WHERE id <= 400")
    append(log_path, range(501, 601))
    with closing(LogReader(log_path)) as reader:
        state = rebuild(reader.now, log)
    assert state.section("system", NOW_NS)["counts"]["events"] == 600
