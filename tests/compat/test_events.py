"""The older, deprecated `core.events`."""

import time
import warnings
from datetime import datetime, timedelta

import pytest

from realm_telemetry.compat import events
from realm_telemetry.compat.battle_log import get_battle_logger
from realm_telemetry.compat.realm_store import get_events


def caught(calls: int) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for number in range(calls):
            events.emit_event("note", number=number)
        events.emit_event("note", number=calls)
    return found


def test_a_deprecated_call_reaches_both_views() -> None:
    with pytest.warns(DeprecationWarning, match=r"use realm_telemetry\.job_started"):
        events.emit_job_started("j1", "eval", "w1")
    assert get_events(limit=10)[0]["kind"] == "job_started"
    (entry,) = get_battle_logger().get_events(channels=["jobs"])
    assert entry.message == "Job j1 started (eval, on w1)"


def test_each_place_warns_once_and_names_itself() -> None:
    found = caught(5)
    assert len(found) == 2
    assert {one.filename for one in found} == {__file__}
    assert found[0].lineno + 1 == found[1].lineno


@pytest.mark.parametrize("again", [1, 2])
def test_a_line_that_two_tests_come_to_warns_in_both(again: int) -> None:
    with pytest.warns(DeprecationWarning, match="warning_raised"):
        events.emit_warning(f"Number {again}")


def test_where_warnings_are_errors_the_event_is_recorded_all_the_same() -> None:
    with pytest.raises(DeprecationWarning):
        events.emit_training_started("dio", "c1", model="tiny")
    assert get_events()[0]["details"]["model"] == "tiny"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_function_emits_its_kind_with_its_fields() -> None:
    sent = [
        events.emit_event("gradient_exploded", norm=3.5, message="Too steep", severity="warning"),
        events.emit_job_submitted("j1", "eval", priority=2),
        events.emit_job_started(job_id="j1"),
        events.emit_job_completed("j1", duration_s=1.5),
        events.emit_job_failed("j2", "out of memory"),
        events.emit_checkpoint_saved("dio", "c1", 1000, "checkpoints/1000"),
        events.emit_training_started(model="tiny"),
        events.emit_training_completed(step=9),
        events.emit_eval_suite_triggered("s1", step=9),
        events.emit_eval_completed("s1", "bin", 2, 0.75),
        events.emit_warning("Disk is nearly full", free_gb=1),
    ]
    assert events.get_event_count() == len(sent) + 2
    own = ("run_started", "run_ended")  # which the training brought
    read = [line for line in events.get_recent_events(limit=20) if line["kind"] not in own]
    assert read == sent[::-1]
    assert [line for line in events.iter_events() if line["kind"] not in own] == sent
    assert [line["kind"] for line in events.get_recent_events(2, kinds=["job_failed"])] == [
        "job_failed"
    ]
    checkpoint = sent[5]
    assert datetime.fromisoformat(checkpoint.pop("ts")).tzinfo is None
    assert checkpoint == {
        "kind": "checkpoint_saved", "hero_id": "dio", "campaign_id": "c1", "step": 1000,
        "path": "checkpoints/1000",
    }  # fmt: skip
    by_kind = {event["kind"]: event for event in get_events(20)}
    assert by_kind["eval_completed"]["message"] == "Eval completed (bin level 2, 75.0%)"
    assert by_kind["gradient_exploded"]["message"] == "Too steep"
    assert by_kind["gradient_exploded"]["severity"] == "warning"
    (of_hero,) = get_battle_logger().get_events(hero_id="dio")
    assert of_hero.campaign_id == "c1"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_times_without_a_zone_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        line = events.emit_event("note", message="Here")
        now = datetime.now()
        assert abs(datetime.fromisoformat(line["ts"]) - now) < timedelta(minutes=1)
        assert events.get_events_since(now - timedelta(minutes=1)) == [line]
        assert events.get_events_since((now - timedelta(minutes=1)).isoformat()) == [line]
        assert events.get_events_since(line["ts"]) == []
        assert events.get_events_since(now + timedelta(minutes=1)) == []
        assert events.get_events_last_n_minutes(1) == [line]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_reading_where_nothing_was_ever_written_finds_nothing() -> None:
    assert events.get_recent_events() == list(events.iter_events()) == []
    assert events.get_event_count() == 0
