"""What the tests of the log share: events, a clock, an older file."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.log import LogReader, LogWriter

NOW = 1_764_374_400_000_000_000
"""2025-11-29T00:00:00Z"""
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
PRODUCER = "00112233445566aa"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now_ns: int = NOW) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def make_event(number: int = 1, **changes: Any) -> Event:
    """An event that differs from the others only where told; one a second."""
    fields: dict[str, Any] = {
        "kind": "job_started",
        "channel": "jobs",
        "severity": "info",
        "message": f"Job {number} started",
        "details": {"step": number},
        "time_unix_nano": NOW + number * SECOND,
        "producer": PRODUCER,
        "number": number,
    }
    return Event(**{**fields, **changes})


def scattered(count: int, seed: int = 1) -> list[Event]:
    """Events of all channels and severities, out of order in time."""
    dice = random.Random(seed)
    return [
        make_event(
            number,
            channel=dice.choice(CHANNELS),
            severity=dice.choice(SEVERITIES),
            hero_id=dice.choice(["dio", "ada", None]),
            time_unix_nano=NOW - dice.randrange(200) * HOUR // 7,
        )
        for number in range(1, count + 1)
    ]


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW + 10 * SECOND)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "jobs.db"


@pytest.fixture
def writer(path: Path, clock: Clock) -> Iterator[LogWriter]:
    with LogWriter(path, clock_ns=clock) as writer:
        yield writer


@pytest.fixture
def reader(writer: LogWriter, clock: Clock) -> Iterator[LogReader]:
    with LogReader(writer.path, clock_ns=clock) as reader:
        yield reader


@pytest.fixture
def older(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection as older code has one, to a file it made: not WAL, with its own jobs table."""
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.executescript(OLDER_SCHEMA)
    yield connection
    connection.close()


OLDER_SCHEMA = """
CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT);
INSERT INTO jobs VALUES ('j1', 'running');
CREATE TABLE IF NOT EXISTS battle_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, channel TEXT NOT NULL,
    source TEXT NOT NULL, severity TEXT NOT NULL DEFAULT 'info', hero_id TEXT, campaign_id TEXT,
    message TEXT NOT NULL, details_json TEXT);
CREATE INDEX IF NOT EXISTS idx_battle_log_timestamp ON battle_log(timestamp DESC);
CREATE INDEX IF NOT EXISTS idx_battle_log_channel ON battle_log(channel, timestamp DESC);
CREATE INDEX IF NOT EXISTS idx_battle_log_hero ON battle_log(hero_id, timestamp DESC);
"""

OLDER_INSERT = (
    "INSERT INTO battle_log (timestamp, channel, source, severity, hero_id, campaign_id, message,"
    " details_json) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def older_row(
    timestamp: str = "2025-11-29T00:00:00.123456Z",
    source: str = "event.job_started",
    **changes: Any,
) -> tuple[Any, ...]:
    """The values of OLDER_INSERT."""
    fields = {
        "timestamp": timestamp,
        "channel": "jobs",
        "source": source,
        "severity": "info",
        "hero_id": "dio",
        "campaign_id": None,
        "message": "Job started",
        "details_json": '{"job_id": "j1"}',
    }
    return tuple({**fields, **changes}.values())
