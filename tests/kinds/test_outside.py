"""Events that other software wrote: all they say is in the event, or the reason is given."""

from typing import Any

import pytest

from realm_telemetry.event import Event, InvalidEventError
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.kinds.outside import event_from_outside

NOW = 1_764_374_400_000_000_000


def read(shape: dict[str, Any]) -> Event:
    return event_from_outside({"kind": "note"} | shape, now_ns=NOW, producer="a" * 16, number=5)


@pytest.mark.parametrize(
    ("shape", "details"),
    [
        ({"step": 3, "loss": 0.5}, {"step": 3, "loss": 0.5}),
        ({"details": {"a": 1}, "b": None, "run": "r"}, {"a": 1, "b": None, "run": "r"}),
        ({"details": {"step": 1}, "step": 1}, {"step": 1}),
        ({"details": {"step": 1}, "step": 2}, {"step": 2, "details.step": 1}),
        (
            {"details": {"step": 1, "details.step": 0}, "step": 2},
            {"step": 2, "details.step": 0, "details.details.step": 1},
        ),
        ({"details": None, "x": 1}, {"x": 1}),
        # Without an id they say nothing that a log could know.
        ({"number": 7, "late": True, "cursor": 3}, {"number": 7, "late": True, "cursor": 3}),
        ({"resource": {"a": 1}, "icon": "mine"}, {"resource": {"a": 1}, "icon": "mine"}),
        ({"icon": "⚔️"}, {}),
        ({"id": None, "producer": None}, {"id": None, "producer": None}),
    ],
)
def test_fields_beside_the_details_join_them(
    shape: dict[str, Any], details: dict[str, Any]
) -> None:
    event = read(shape)
    assert event.details == details
    assert (event.producer, event.number, event.time_unix_nano) == ("a" * 16, 5, NOW)


@pytest.mark.parametrize(
    ("shape", "time", "details"),
    [
        ({"time_unix_nano": NOW}, NOW, {}),
        ({"time_unix_nano": str(NOW // 10**6)}, NOW, {}),
        ({"timestamp": "2025-11-29T00:00:00Z"}, NOW, {}),
        ({"timestamp": NOW / 10**9}, NOW, {}),
        ({"ts": NOW // 10**3}, NOW, {}),
        ({"timestamp": "2025-11-29T00:00:00Z", "ts": 7}, NOW, {"ts": 7}),
        ({"time_unix_nano": NOW, "timestamp": "soon"}, NOW, {"timestamp": "soon"}),
        ({"time_unix_nano": NOW, "timestamp": "2025-11-29T00:00:00.000000Z"}, NOW, {}),
        ({"time_unix_nano": 5, "timestamp": "1970-01-01T00:00:00.000000Z"}, 5, {}),
        ({"time_unix_nano": None, "timestamp": None, "ts": None}, NOW, {}),
    ],
)
def test_the_first_time_counts_and_another_is_a_detail(
    shape: dict[str, Any], time: int, details: dict[str, Any]
) -> None:
    event = read(shape)
    assert (event.time_unix_nano, event.details) == (time, details)


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        ({"time_unix_nano": 5}, "time_unix_nano"),
        ({"time_unix_nano": -1}, "time_unix_nano"),
        ({"timestamp": "2025-11-29T00:00:00"}, "timestamp"),
        ({"timestamp": "9999-01-01T00:00:00Z"}, "timestamp"),
        ({"ts": "step 5"}, "ts"),
        ({"details": "text"}, "details"),
        ({"webhooks": "https://example.org"}, "webhooks"),
        ({"webhooks": ["https://example.org"] * 65}, "webhooks"),
        ({"webhooks": [1]}, "webhooks"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_its_name(shape: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEventError, match=f"^{field}"):
        read(shape)


@pytest.mark.parametrize("count", [0, 1, 63, 64])
def test_webhooks_are_asked_for_and_never_a_detail(count: int) -> None:
    event = read({"webhooks": ["https://example.org"] * count})
    assert (len(event.webhooks), event.details) == (count, {})


@pytest.mark.parametrize("time", [-(2**63), 0, 5, NOW, 2**63 - 1])
def test_the_shape_of_a_log_comes_back_exactly(time: int) -> None:
    event = Event("note", "system", "info", "m", {"a": 1}, time, "b" * 16, 7, trace_flags=1)
    assert event_from_outside(event_to_dict(event, cursor=9), now_ns=NOW) == event
