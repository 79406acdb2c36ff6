"""What the tests of the log share: events, a clock, an older file."""

import random
import sqlite3
from collections.abc import Callable, Collection, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.kinds import catalog
from realm_telemetry.log import Filters
from realm_telemetry.log.engine import Log, Reader, Writer, open_log
from realm_telemetry.log.postgres.writer import LogWriter as PostgresWriter
from realm_telemetry.log.records import Receipt
from realm_telemetry.log.sqlite.writer import own_writer
from tests.postgres_server import Server

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
    """An event that differs from the others only where asked; one a second."""
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


def training_step(number: int, loss: Any, **changes: Any) -> Event:
    """A step of the run r1 with a loss."""
    return make_event(
        number,
        kind="training_step",
        channel="training",
        run_id="r1",
        details={"step": number, "loss": loss, "optimizer": {"rate": 0.1}},
        **changes,
    )


def all_pages(reader: Reader, filters: Filters) -> list[int]:
    """The cursors of all pages, one after the other."""
    found: list[int] = []
    while True:
        page = reader.now.page(filters)
        found += [row.cursor for row in page.rows]
        if page.next_token is None:
            return found
        filters = msgspec.structs.replace(filters, page_token=page.next_token)


def receipt(reader: Reader) -> Receipt:
    """The receipt of the only producer."""
    (only,) = reader.now.receipts()
    return only


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW + 10 * SECOND)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "jobs.db"


class EngineUnderTest(Protocol):
    """An engine that the tests run over: opens logs, and does what the interface does not offer."""

    def open(self, path: Path | str, clock_ns: Callable[[], int]) -> Log:
        """A log of its own for a path, not made yet; or the one at a place."""
        ...

    def remove(self, writer: Writer, cursors: Collection[int]) -> None:
        """Remove rows as retention does, but those that a test names."""
        ...


class SqliteEngine:
    """SQLite: the path is the log's file."""

    def open(self, path: Path | str, clock_ns: Callable[[], int]) -> Log:
        return open_log(path, clock_ns=clock_ns)

    def remove(self, writer: Writer, cursors: Collection[int]) -> None:
        with own_writer(writer).transaction() as connection:
            connection.executemany(
                "DELETE FROM battle_log WHERE id = ?", [(cursor,) for cursor in cursors]
            )


class PostgresEngine:
    """PostgreSQL: each path is a schema of one database."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def open(self, path: Path | str, clock_ns: Callable[[], int]) -> Log:
        if isinstance(path, str) and path.startswith("postgresql://"):
            return open_log(path, clock_ns=clock_ns)
        schema = "t" + sha256(str(path).encode()).hexdigest()[:16]
        return open_log(self.server.url(schema=schema), clock_ns=clock_ns)

    def remove(self, writer: Writer, cursors: Collection[int]) -> None:
        from realm_telemetry.log.postgres.retention import Retention

        assert isinstance(writer, PostgresWriter)
        with writer.transaction() as session:
            Retention(writer)._delete_rows(session, list(cursors))


UNDER_TEST = {
    "sqlite": pytest.param("sqlite"),
    "postgresql": pytest.param("postgresql", marks=pytest.mark.processes),
}
"""Each registered engine; a new engine adds a row, and its class to `engine`."""


HEAVY = (
    "test_sql_and_python_want_the_same_events",
    "test_every_event_comes_back_as_it_went_in",
    "test_stored_numbers_are_known_before_they_are_sent_again",
    "test_pages_together_are_the_history_in_order",
)
"""What costs seconds over another engine than SQLite, and so is long there."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name.startswith(HEAVY) and "[postgresql" in item.name:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of this process."""
    with Server() as server:
        yield server


@pytest.fixture(scope="session", params=UNDER_TEST.values())
def engine(request: pytest.FixtureRequest) -> EngineUnderTest:
    """Each registered engine: a test that uses it, or a log of it, runs once for each."""
    if request.param == "postgresql":
        return PostgresEngine(request.getfixturevalue("postgres"))
    return SqliteEngine()


@pytest.fixture
def log(engine: EngineUnderTest, path: Path, clock: Clock) -> Log:
    return engine.open(path, clock)


@pytest.fixture
def writer(log: Log) -> Iterator[Writer]:
    with log.writer() as writer:
        yield writer


@pytest.fixture
def reader(log: Log, writer: Writer) -> Iterator[Reader]:
    with log.reader() as reader:
        yield reader


@pytest.fixture
def own_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog of kinds that this test alone changes."""
    for table in ("_specs", "_resolved", "_templates", "_learned"):
        monkeypatch.setattr(catalog, table, getattr(catalog, table).copy())


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
