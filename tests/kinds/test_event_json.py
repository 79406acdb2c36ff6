"""The JSON shape of an event, there and back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.event import (
    CHANNELS,
    PROCESS_LOST_NUMBER,
    SEVERITIES,
    Event,
    InvalidEventError,
)
from realm_telemetry.kinds.catalog import CHANNEL_ICONS, event_from_dict, event_to_dict

INT64 = st.integers(-(2**63), 2**63 - 1)
OPTIONAL_TEXT = st.none() | st.text(max_size=8)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | INT64
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def hex_digits(count):
    return st.text("0123456789abcdef", min_size=count, max_size=count)


EVENTS = st.builds(
    Event,
    kind=st.text(min_size=1, max_size=20),
    channel=st.sampled_from(CHANNELS),
    severity=st.sampled_from(SEVERITIES),
    message=st.text(),
    details=st.dictionaries(st.text(min_size=1), JSON_VALUES, max_size=5),
    time_unix_nano=INT64,
    producer=hex_digits(16),
    number=st.integers(1, PROCESS_LOST_NUMBER),
    hero_id=OPTIONAL_TEXT,
    campaign_id=OPTIONAL_TEXT,
    run_id=OPTIONAL_TEXT,
    source=OPTIONAL_TEXT,
    trace_id=st.none() | hex_digits(32),
    span_id=st.none() | hex_digits(16),
    trace_flags=st.integers(0, 255),
    observed_unix_nano=st.none() | INT64,
    rank=st.none() | st.integers(0, 2**32 - 1),
)
PLAIN = {
    "kind": "checkpoint_saved",
    "time_unix_nano": "1764374400000000000",
    "id": "0123456789abcdef0000000000000007",
    "details": {"step": 7, "loss": 0.5},
}


@given(EVENTS)
def test_an_event_comes_back_as_it_was(event):
    assert event_from_dict(event_to_dict(event)) == event


@given(EVENTS)
def test_an_event_comes_back_through_json_text(event):
    assert event_from_dict(msgspec.json.decode(msgspec.json.encode(event_to_dict(event)))) == event


def test_the_shape_is_complete_and_in_order():
    event = event_from_dict(PLAIN | {"hero_id": "dio", "observed_unix_nano": 1764374400_000000001})
    assert event_to_dict(event, cursor=12) == {
        "id": "0123456789abcdef0000000000000007",
        "cursor": 12,
        "timestamp": "2025-11-29T00:00:00.000000Z",
        "time_unix_nano": "1764374400000000000",
        "observed_unix_nano": "1764374400000000001",
        "kind": "checkpoint_saved",
        "channel": "checkpoint",
        "severity": "success",
        "icon": CHANNEL_ICONS["checkpoint"],
        "message": "Checkpoint 7 saved (loss: 0.5000)",
        "details": {"step": 7, "loss": 0.5},
        "source": None,
        "hero_id": "dio",
        "campaign_id": None,
        "run_id": None,
        "rank": None,
        "producer": "0123456789abcdef",
        "number": 7,
        "trace_id": None,
        "span_id": None,
        "trace_flags": 0,
        "late": False,
    }


def test_the_cursor_is_there_only_if_known():
    assert "cursor" not in event_to_dict(event_from_dict(PLAIN))


def test_webhooks_are_never_shown():
    event = msgspec.structs.replace(event_from_dict(PLAIN), webhooks=("https://secret.example",))
    assert b"secret" not in msgspec.json.encode(event_to_dict(event))


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("2025-11-29T00:00:00Z", 1764374400_000000000),
        ("2025-11-29T00:00:00.000001Z", 1764374400_000001000),
        ("2025-11-29T01:00:00+01:00", 1764374400_000000000),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_a_timestamp_stands_in_for_a_missing_time(text, nanos):
    data = {key: value for key, value in PLAIN.items() if key != "time_unix_nano"}
    assert event_from_dict(data | {"timestamp": text}).time_unix_nano == nanos


def test_ids_come_from_the_caller_where_the_event_has_none():
    data = {key: value for key, value in PLAIN.items() if key != "id"}
    event = event_from_dict(data, producer="f" * 16, number=3)
    assert (event.producer, event.number) == ("f" * 16, 3)
    assert event_from_dict(PLAIN, producer="f" * 16, number=3).number == 7


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": None}, "kind"),
        ({"kind": ""}, "kind"),
        ({"kind": 7}, "kind"),
        ({"channel": "nowhere"}, "channel"),
        ({"severity": "fatal"}, "severity"),
        ({"severity": 9}, "severity"),
        ({"message": 7}, "message"),
        ({"details": []}, "details"),
        ({"details": {1: 2}}, "details"),
        ({"time_unix_nano": None}, "time_unix_nano"),
        ({"time_unix_nano": 1.5}, "time_unix_nano"),
        ({"time_unix_nano": True}, "time_unix_nano"),
        ({"time_unix_nano": "1e9"}, "time_unix_nano"),
        ({"time_unix_nano": str(2**63)}, "time_unix_nano"),
        ({"time_unix_nano": None, "timestamp": "yesterday"}, "timestamp"),
        ({"time_unix_nano": None, "timestamp": "2025-11-29T00:00:00"}, "timestamp"),
        ({"observed_unix_nano": "soon"}, "observed_unix_nano"),
        ({"id": "0x23456789abcdef0000000000000007"}, "id"),
        ({"id": "123"}, "id"),
        ({"id": None}, "id"),
        ({"id": None, "producer": "f" * 16}, "id"),
        ({"id": None, "producer": "F", "number": 1}, "producer"),
        ({"id": None, "producer": "f" * 16, "number": 0}, "number"),
        ({"id": None, "producer": "f" * 16, "number": 2**64}, "number"),
        ({"hero_id": 3}, "hero_id"),
        ({"campaign_id": 3}, "campaign_id"),
        ({"run_id": 3}, "run_id"),
        ({"source": 3}, "source"),
        ({"trace_id": "xyz"}, "trace_id"),
        ({"span_id": "z" * 16}, "span_id"),
        ({"trace_flags": 256}, "trace_flags"),
        ({"rank": -1}, "rank"),
        ({"rank": 2**32}, "rank"),
        ({"rank": True}, "rank"),
        ({"trace_flags": "²"}, "trace_flags"),
    ],
)
def test_what_is_not_an_event_is_refused_by_the_field_at_fault(change, field):
    with pytest.raises(InvalidEventError, match=rf"^{field}\b"):
        event_from_dict(PLAIN | change)


@pytest.mark.parametrize("data", [None, [], "x", 7])
def test_what_is_not_an_object_is_refused(data):
    with pytest.raises(InvalidEventError, match="must be an object"):
        event_from_dict(data)
