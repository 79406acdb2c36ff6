"""Replay sends the log to a service, and duplicates nothing."""

from pathlib import Path
from typing import Any

import pytest

import realm_telemetry as realm
from realm_telemetry.client import RealmClient, ServiceUnreachableError
from realm_telemetry.compat import event_bus
from realm_telemetry.compat.event_bus import replay_events
from realm_telemetry.compat.realm_store import get_events, update_training
from realm_telemetry.testing.running_service import running_service

checkpoint_saved = vars(event_bus)["checkpoint_saved"]


def shown_by(url: str) -> tuple[list[str], Any]:
    """Ids of the events that a service has, and its section training."""
    with RealmClient(url) as client:
        ids = [row.event.id for row in client.query()]
        return ids, client.state("training")


def emit_some(url: str) -> None:
    realm.configure(service_name="lab", shipper="thread", service_url=url)
    for step in range(1, 4):
        checkpoint_saved(step=step, loss=1 / step)
    update_training(step=3, loss=0.3)


def test_another_service_shows_the_same_after_a_replay(home: Path, tmp_path: Path) -> None:
    with running_service(tmp_path / "second") as service:
        url = service.url
        emit_some(url)
        assert replay_events(since="2025-11-29T00:00:00Z") == 4
        first = shown_by(url)
        assert replay_events() == 4
        again = shown_by(url)
    assert len(first[0]) == 4
    assert first[0] == again[0]
    assert (first[1]["step"], first[1]["loss"]) == (3, 0.3)


def test_the_service_of_this_log_gets_nothing_twice(home: Path) -> None:
    with running_service(home) as service:
        url = service.url
        emit_some(url)
        assert len(get_events()) == 3
        assert replay_events(since="2025-11-29T00:00:00Z") == 4
        assert len(shown_by(url)[0]) == 4


def test_what_came_before_is_left_out() -> None:
    checkpoint_saved(step=1, loss=1.0)
    assert replay_events(since="2999-01-01") == 0


def test_a_service_elsewhere_that_is_down_is_shown_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_SERVICE_URL", "http://127.0.0.1:9")
    checkpoint_saved(step=1, loss=1.0)
    with pytest.raises(ServiceUnreachableError):
        replay_events()


def test_an_empty_home_has_nothing_to_replay() -> None:
    assert replay_events() == 0
