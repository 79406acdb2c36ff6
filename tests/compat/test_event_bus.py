"""The older event bus over the one log."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import realm_telemetry as realm
from realm_telemetry.compat import event_bus
from realm_telemetry.compat.battle_log import get_battle_logger
from realm_telemetry.compat.event_bus import emit_realm_event
from realm_telemetry.compat.realm_store import get_events
from realm_telemetry.kinds import typed as kinds
from realm_telemetry.kinds.catalog import KIND_METADATA

# Made for each kind when the module is imported.
checkpoint_saved: Callable[..., dict[str, Any]] = vars(event_bus)["checkpoint_saved"]
job_failed: Callable[..., dict[str, Any]] = vars(event_bus)["job_failed"]


def test_a_checkpoint_is_in_both_views_at_once() -> None:
    """As issue 4 quotes it."""
    checkpoint_saved(step=1000, loss=0.5, path="checkpoints/1000")
    assert get_events(limit=10)[0]["kind"] == "checkpoint_saved"
    (entry,) = get_battle_logger().get_events(channels=["checkpoint"], limit=10)
    assert entry.message.startswith("Checkpoint 1,000")


def test_an_event_comes_back_with_channel_and_severity_filled_in() -> None:
    event = emit_realm_event(kind="job_started", message="Job eval started")
    assert (event["channel"], event["severity"]) == ("jobs", "info")
    assert set(event) == {
        "kind", "message", "channel", "severity", "details", "timestamp", "id",
    }  # fmt: skip
    (stored,) = get_events(limit=10)
    assert (stored["id"], stored["message"]) == (event["id"], "Job eval started")


def test_what_is_given_wins_over_the_kind() -> None:
    event = emit_realm_event(
        kind="job_started", message="Odd", channel="debug", severity="warning",
        details={"job_id": "j1"}, hero_id="dio", campaign_id="c1",
    )  # fmt: skip
    (entry,) = get_battle_logger().get_events(hero_id="dio", campaign_id="c1", severity="warning")
    assert (entry.channel, entry.source) == ("debug", "event.job_started")
    assert entry.details == event["details"] == {"job_id": "j1"}


def test_every_kind_has_its_typed_helper() -> None:
    for kind in KIND_METADATA:
        assert getattr(event_bus, kind).__doc__ == getattr(kinds, kind).__doc__
    answer = job_failed("j1", error=ValueError("no such skill"), hero_id="dio")
    assert answer["message"] == "Job j1 failed: ValueError: no such skill"


def test_persist_false_stores_and_says_so_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm_telemetry.errors._warned", set())
    for number in range(3):
        emit_realm_event(kind="note", message=f"{number}", persist=False)
    checkpoint_saved(step=1, loss=1.0, persist=False)
    assert len(get_events(limit=10)) == 4
    assert capfd.readouterr().err.count("persist=False has no effect") == 1


def test_a_webhook_address_is_kept_for_delivery_and_never_shown(home: Path) -> None:
    secret = "https://hooks.example/T0K3N"
    answer = emit_realm_event(kind="note", message="To the chat", webhooks=[secret])
    (stored,) = get_events(limit=10)
    (entry,) = get_battle_logger().get_recent()
    assert "T0K3N" not in f"{answer}{stored}{entry}"
    files = [path.read_bytes() for path in (home / "vault").iterdir()]
    assert not any(b"T0K3N" in data for data in files)
    with closing(sqlite3.connect(home / "vault" / "jobs.db")) as connection:
        (kept,) = connection.execute("SELECT urls FROM webhook_requests").fetchone()
    assert kept.endswith(' https://hooks.example/…"]')


def test_updates_of_sections_are_not_among_the_events() -> None:
    from realm_telemetry.compat.realm_store import update_training

    checkpoint_saved(step=1, loss=1.0)
    for step in range(5):
        update_training(step=step)
    assert [event["kind"] for event in get_events(limit=3)] == ["checkpoint_saved"]
    assert [entry.source for entry in get_battle_logger().get_recent(3)] == [
        "event.checkpoint_saved"
    ]


def test_a_log_of_updates_alone_has_no_events() -> None:
    from realm_telemetry.compat.realm_store import update_queue

    update_queue(depth=1)
    assert get_events() == []
    assert get_battle_logger().get_recent() == []


def test_more_than_a_page_can_be_asked_for() -> None:
    for number in range(1_200):
        emit_realm_event(kind="note", message=f"{number}")
    assert [event["message"] for event in get_events(1_100)] == [
        f"{number}" for number in range(1_199, 99, -1)
    ]
    assert len(get_events(limit=0)) == 0


def test_a_configured_process_is_left_as_it_is(home: Path) -> None:
    telemetry = realm.configure(service_name="daemon", shipper="thread")
    checkpoint_saved(step=1, loss=1.0)
    assert realm.get_telemetry() is telemetry
    assert len(get_events()) == 1
