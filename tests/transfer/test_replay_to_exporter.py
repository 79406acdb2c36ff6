"""A replay to an exporter sets its cursor back."""

import time
from pathlib import Path
from typing import Any

import pytest

import realm_telemetry
from realm_telemetry.config import load_settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.producer import api as telemetry
from realm_telemetry.producer import appenders
from realm_telemetry.transfer.replay import replay_to_exporter
from tests.waiting import wait_until

from .conftest import SECOND, Home, make_event


def settings_of(home: Home) -> Any:
    return load_settings({"home": home.path})


def test_an_exporter_is_set_back_and_never_forward(home: Home) -> None:
    home.store([make_event(number) for number in range(1, 101)])
    with LogWriter(home.log) as writer:
        writer.save_cursor("p1", "jsonl", 100)
        writer.save_cursor("p2", "jsonl", 20)
    moved = replay_to_exporter(settings_of(home), "jsonl", make_event(51).time_unix_nano)
    assert [(each.pipeline, each.before, each.after) for each in moved] == [
        ("p1", 100, 50),
        ("p2", 20, 20),
    ]
    with LogReader(home.log) as reader:
        assert reader.now.cursors("p1") == {"jsonl": 50}
        assert reader.now.cursors("p2") == {"jsonl": 20}
    with pytest.raises(ConfigError, match="There are jsonl"):
        replay_to_exporter(settings_of(home), "carrier_pigeon", 0)


def test_a_pipeline_that_is_done_with_meanwhile_is_an_error(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its shipper drops the cursor when it leaves; nobody would deliver again."""
    home.store([make_event(1)])
    with LogWriter(home.log) as other:
        other.save_cursor("p1", "jsonl", 1)
        set_back = LogWriter.set_back

        def drop_first(writer: LogWriter, exporter: str, cursor: int) -> dict[str, int]:
            other.drop_cursor("p1", "jsonl")
            return set_back(writer, exporter, cursor)

        monkeypatch.setattr(LogWriter, "set_back", drop_first)
        with pytest.raises(ConfigError, match="No exporter has begun here"):
            replay_to_exporter(settings_of(home), "jsonl", 0)


def test_the_command_takes_no_other_filter_for_an_exporter(home: Home) -> None:
    home.store([make_event(1)])
    with LogWriter(home.log) as writer:
        writer.save_cursor("p1", "jsonl", 1)
    wrong = home.run("replay", "--since", "7d", "--kind", "note", "--speed", "2", "--to", "jsonl")
    assert wrong.returncode == 2
    assert "--kind, --speed is for a service only" in wrong.stderr
    assert home.run("replay", "--to", "jsonl").returncode == 2
    assert "neither a number" in home.run("replay", "--speed", "fast").stderr
    done = home.run("replay", "--since", "2025-11-28", "--to", "jsonl")
    assert "jsonl, pipeline p1: back from cursor 1 to 0, 1 row to deliver again" in done.stdout


def test_a_shipper_at_work_delivers_again_what_is_asked_for(home: Home, tmp_path: Path) -> None:
    """A real producer with its shipper, and an exporter that writes a file."""
    # Earlier tests of this process may have left events without a configured producer.
    realm_telemetry.shutdown()
    appenders.set_current(appenders.Early(telemetry._on_first_event))
    lines = tmp_path / "out.jsonl"
    realm_telemetry.configure(
        service_name="lab",
        home=home.path,
        exporters=("battle_log", "jsonl"),
        options={"jsonl": {"path": str(lines), "format": "event"}},
        shipper="thread",
    )
    try:
        for step in range(5):
            realm_telemetry.note(f"Note {step}")
        assert realm_telemetry.flush(60)
        assert count(lines) == 5
        lines.unlink()
        (moved,) = replay_to_exporter(settings_of(home), "jsonl", time.time_ns() - 3600 * SECOND)
        assert moved.after == 0
        wait_until(lambda: count(lines) == 5)
        realm_telemetry.note("One more")
        assert realm_telemetry.flush(60)
        assert count(lines) == 6
    finally:
        realm_telemetry.shutdown()


def count(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0
