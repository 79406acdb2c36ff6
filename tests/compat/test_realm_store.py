"""The older store: events newest first, and sections that updates merge into."""

from datetime import datetime
from pathlib import Path

import realm_telemetry as realm
from realm_telemetry.compat import realm_store
from realm_telemetry.compat.realm_store import get_realm_state, get_store, get_training_state
from realm_telemetry.folds.state import rebuild
from realm_telemetry.log import LogReader


def test_events_are_newest_first_with_naive_local_times() -> None:
    for number in range(5):
        get_store().emit_event("note", f"Note {number}", channel="debug", details={"n": number})
    taken = get_store().get_events(3)
    assert [event["details"]["n"] for event in taken] == [4, 3, 2]
    stamp = datetime.fromisoformat(taken[0]["timestamp"])
    assert abs((datetime.now() - stamp).total_seconds()) < 60
    assert taken[0]["icon"] == "🔧"


def test_updates_merge_into_the_sections_they_name(home: Path) -> None:
    realm_store.update_training(step=1, loss=2.0)
    realm_store.update_training({"loss": 1.5}, eta="soon")
    realm_store.update_queue(depth=4)
    realm_store.update_hero(name="Dio", level=3)
    realm_store.update_skills({"bin": {"level": 2}})
    realm_store.update_worker("w1", role="train", device="gpu0")
    realm_store.update_worker(worker_id="w1", status="busy")
    state = get_realm_state()
    training = get_training_state()
    assert (training["step"], training["loss"], training["eta"]) == (1, 1.5, "soon")
    assert state["queue"]["depth"] == 4
    assert state["hero"] == {"name": "Dio", "level": 3}
    assert state["skills"] == {"bin": {"level": 2}}
    worker = state["workers"]["w1"]
    assert (worker["role"], worker["device"], worker["status"]) == ("train", "gpu0", "busy")
    assert worker["stale"] is False
    assert state["state"]["training"] == training
    assert state["events"] == []
    with LogReader(home / "vault" / "jobs.db") as reader:
        assert rebuild(reader.now).section("training")["loss"] == 1.5


def test_the_events_of_the_state_are_pushed_out_by_nothing_that_is_routine() -> None:
    get_store().emit_event("note", "Lunch")
    for step in range(60):
        realm_store.update_training(step=step)
        realm.training_step(step=step, loss=1.0)
    shown = [event["kind"] for event in get_realm_state()["events"]]
    assert shown == ["run_started", "note"]
    assert get_store().get_events(1)[0]["kind"] == "training_step"


def test_the_state_goes_on_with_what_came_since_and_in_another_home(
    tmp_path: Path,
) -> None:
    realm_store.update_training(note="first")
    realm.training_step(step=1, loss=3.0)
    assert get_training_state()["step"] == 1
    realm.training_step(step=2, loss=2.0)
    assert (get_training_state()["step"], get_training_state()["note"]) == (2, "first")
    realm.shutdown()
    realm.configure(home=tmp_path / "other", shipper="thread")
    assert get_training_state().get("note") is None


def test_what_update_training_says_and_what_events_say_is_one_section() -> None:
    realm_store.update_training(step=10, loss=0.5)
    realm.training_step(step=11, loss=0.4)
    assert (get_training_state()["step"], get_training_state()["loss"]) == (11, 0.4)


def test_an_empty_home_has_the_empty_state() -> None:
    assert get_store().get_events() == []
    assert get_realm_state()["workers"] == {}
    assert get_store().get_section("no such section") == {}
