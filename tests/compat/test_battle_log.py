"""The older battle log's reader and writer."""

import multiprocessing
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.compat import battle_log
from realm_telemetry.compat.battle_log import (
    CHANNEL_ICONS,
    SEVERITY_COLORS,
    BattleLogger,
    get_battle_logger,
)
from realm_telemetry.compat.realm_store import get_training_state, update_training
from realm_telemetry.event import CHANNELS, InvalidEventError
from realm_telemetry.log.sqlite.schema import OLDER_TABLE

OLDER_ROW = (
    "INSERT INTO battle_log (timestamp, channel, source, severity, message, details_json)"
    " VALUES (?, 'jobs', 'event.job_started', 'info', 'Job j1 started', '{\"job_id\": \"j1\"}')"
)


def test_an_entry_has_what_the_older_one_had() -> None:
    event_id = get_battle_logger().log(
        "jobs", "Job j1 done", "success", source="jobs.store", details={"job_id": "j1"},
        hero_id="dio", campaign_id="c1",
    )  # fmt: skip
    (entry,) = get_battle_logger().get_recent()
    shape = entry.to_dict()
    assert shape.pop("timestamp").endswith("Z")
    assert shape == {
        "id": 1, "channel": "jobs", "source": "jobs.store", "severity": "success",
        "message": "Job j1 done", "hero_id": "dio", "campaign_id": "c1",
        "details": {"job_id": "j1"}, "icon": "⚔️",
    }  # fmt: skip
    assert entry.color == "#4CAF50"
    assert len(event_id) == 32


def test_every_channel_has_its_function_and_icon() -> None:
    for channel in CHANNELS:
        getattr(battle_log, f"log_{channel}")(f"To {channel}", source="titles", extra=1)
    battle_log.log_event("debug", "By name", "warning")
    counts = get_battle_logger().get_channel_counts(hours=1)
    assert counts == dict.fromkeys(CHANNELS, 1) | {"debug": 2}
    assert set(CHANNEL_ICONS) == set(CHANNELS)
    assert SEVERITY_COLORS == {
        "info": "#888", "success": "#4CAF50", "warning": "#ffa726", "error": "#ff6b6b",
    }  # fmt: skip


def test_entries_are_filtered_and_newest_first() -> None:
    logger = get_battle_logger()
    for number in range(4):
        logger.log("jobs" if number % 2 else "eval", f"{number}", hero_id=f"h{number}")
    assert [one.message for one in logger.get_events(["jobs"])] == ["3", "1"]
    assert [one.message for one in logger.get_events(["jobs", "eval"], limit=3)] == ["3", "2", "1"]
    assert [one.message for one in logger.get_events(hero_id="h2")] == ["2"]
    third = logger.get_events(hero_id="h2")[0]
    assert [one.message for one in logger.get_events(since=third.timestamp)] == ["3"]
    assert [one.message for one in logger.get_events(since=third.timestamp.rstrip("Z"))] == ["3"]
    assert logger.get_events(channels=["no such channel"]) == []


def test_an_unknown_channel_is_a_mistake_that_shows_under_pytest() -> None:
    with pytest.raises(InvalidEventError, match="channel 'combat' is none of"):
        get_battle_logger().log("combat", "Hit")


def test_cleanup_removes_entries_and_keeps_what_they_added_up_to(home: Path) -> None:
    logger = get_battle_logger()
    logger.log("debug", "Old")
    update_training(step=7)
    assert logger.cleanup_old(max_age_days=1) == 0
    assert get_training_state()["step"] == 7
    assert logger.cleanup_old(max_age_days=0) == 2
    assert logger.get_recent() == []
    with closing(sqlite3.connect(home / "data" / "realm_state.db")) as connection:
        assert connection.execute("SELECT cursor FROM realm_snapshot").fetchone() == (2,)


def test_another_file_is_written_and_read_at_once(tmp_path: Path, home: Path) -> None:
    other = BattleLogger(tmp_path / "other.db")
    other.log("guild", "Elsewhere", source="event.title_earned", title="Sage")
    other.log("combat", "Kept", severity="fatal")
    kept, elsewhere = other.get_recent()
    assert (elsewhere.source, elsewhere.details) == ("event.title_earned", {"title": "Sage"})
    assert (kept.channel, kept.severity) == ("system", "info")
    assert kept.details == {"given_channel": "combat", "given_severity": "fatal"}
    assert get_battle_logger().get_recent() == []
    assert other.cleanup_old(0) == 2


def test_the_process_s_own_log_by_its_path_is_the_process_s_own(home: Path) -> None:
    BattleLogger(home / "vault" / "jobs.db").log("debug", "Here")
    assert [one.message for one in get_battle_logger().get_recent()] == ["Here"]


def test_an_older_file_that_was_not_opened_yet_can_be_read(home: Path) -> None:
    path = home / "vault" / "jobs.db"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY)")
        connection.executescript(OLDER_TABLE)
        connection.execute(OLDER_ROW, ("2025-11-29T10:00:00Z",))
    get_battle_logger().log("jobs", "New")
    new, older = get_battle_logger().get_recent()
    assert (new.message, older.message) == ("New", "Job j1 started")
    assert (older.timestamp, older.details) == ("2025-11-29T10:00:00.000000Z", {"job_id": "j1"})


def write_as_older_code(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        for _ in range(count):
            with connection:
                connection.execute(OLDER_ROW, ("2025-11-29T10:00:00.123456Z",))


def test_older_writers_and_new_ones_share_the_file(home: Path) -> None:
    """None loses a row, and none fails because the file is locked."""
    logger = get_battle_logger()
    logger.log("jobs", "First")
    assert len(logger.get_recent()) == 1
    spawn = multiprocessing.get_context("spawn")
    path = home / "vault" / "jobs.db"
    others = [spawn.Process(target=write_as_older_code, args=(path, 100)) for _ in range(2)]
    for process in others:
        process.start()
    for number in range(300):
        logger.log("training", f"{number}")
    for process in others:
        process.join(60)
    assert [process.exitcode for process in others] == [0, 0]
    assert len(logger.get_events(["jobs"], limit=1000)) == 201
    assert len(logger.get_events(["training"], limit=1000)) == 300
