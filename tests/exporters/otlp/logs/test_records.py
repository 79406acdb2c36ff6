"""What is sent of an event: the table in docs/semantic-conventions.md, byte for byte."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from realm_exporter_otlp.encoding import any_value, hex_bytes, resource_of
from realm_exporter_otlp.log_records import encode_events, log_record

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.otel import to_log_record

text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)


def hex_digits(count: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=count // 2, max_size=count // 2).filter(any).map(bytes.hex)


events = st.builds(
    Event,
    kind=text.filter(bool),
    channel=st.sampled_from(CHANNELS),
    severity=st.sampled_from(SEVERITIES),
    message=text,
    details=st.dictionaries(text, json_values, max_size=20),
    time_unix_nano=st.integers(0, 2**63 - 1),
    producer=hex_digits(16),
    number=st.integers(1, 2**64 - 1),
    hero_id=st.none() | text,
    campaign_id=st.none() | text,
    run_id=st.none() | text,
    source=st.none() | text,
    trace_id=st.none() | hex_digits(32),
    span_id=st.none() | hex_digits(16),
    trace_flags=st.integers(0, 255),
    rank=st.none() | st.integers(0, 2**32 - 1),
    observed_unix_nano=st.none() | st.integers(1, 2**63 - 1),
)


def event(**changes: Any) -> Event:
    plain = Event("note", "debug", "info", "hello", {"step": 1}, 1, "ab" * 8, 1)
    return msgspec.structs.replace(plain, **changes)


def named(record: LogRecord) -> dict[str, AnyValue]:
    return {pair.key: pair.value for pair in record.attributes}


def with_nulls(pairs: Any) -> None:
    """Give nulls a value that is empty: to 1.41 OpenTelemetry's encoder left it out."""
    for pair in pairs:
        pair.value.SetInParent()
        _nulls_inside(pair.value)


def _nulls_inside(value: AnyValue) -> None:
    with_nulls(value.kvlist_value.values)
    for item in value.array_value.values:
        _nulls_inside(item)


@settings(deadline=None)  # a busy machine is no defect
@given(events)
def test_a_record_is_what_opentelemetrys_own_encoder_makes_of_it(original: Event) -> None:
    """But for `event.name`, which is an attribute too."""
    theirs = encode_logs([to_log_record(original)]).resource_logs[0].scope_logs[0].log_records[0]
    ours = log_record(original)
    assert named(ours).pop("event.name").string_value == f"realm.{original.kind}"
    kept = [pair for pair in ours.attributes if pair.key != "event.name"]
    del ours.attributes[:]
    ours.attributes.extend(kept)
    with_nulls(theirs.attributes)
    assert ours == theirs


def test_a_record_has_the_fields_of_the_table() -> None:
    original = event(
        kind="checkpoint_saved",
        channel="checkpoint",
        severity="success",
        details={"step": 7, "loss": "NaN", "nested": {"a": [1, None, True, 2.5]}},
        time_unix_nano=1_764_374_400_123_456_789,
        observed_unix_nano=1_764_374_401_000_000_001,
        hero_id="dio",
        campaign_id="c1",
        run_id="r7",
        source="trainer",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        trace_flags=1,
    )
    record = log_record(original)
    assert record.time_unix_nano == 1_764_374_400_123_456_789
    assert record.observed_time_unix_nano == 1_764_374_401_000_000_001
    assert (record.severity_number, record.severity_text) == (10, "SUCCESS")
    assert record.event_name == "realm.checkpoint_saved"
    assert record.body.string_value == "hello"
    assert record.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert record.span_id.hex() == "b7ad6b7169203331"
    assert record.flags == 1
    found = named(record)
    nested = found.pop("realm.details.nested").kvlist_value.values[0]
    assert nested.key == "a"
    assert [each.WhichOneof("value") for each in nested.value.array_value.values] == [
        "int_value",
        None,
        "bool_value",
        "double_value",
    ]
    assert found.pop("realm.details.step").int_value == 7
    assert {key: value.string_value for key, value in found.items()} == {
        "realm.details.loss": "NaN",
        "realm.hero.id": "dio",
        "realm.campaign.id": "c1",
        "realm.run.id": "r7",
        "realm.source": "trainer",
        "realm.kind": "checkpoint_saved",
        "realm.channel": "checkpoint",
        "realm.severity": "success",
        "event.name": "realm.checkpoint_saved",
        "log.record.uid": original.id,
    }


@pytest.mark.parametrize(
    ("severity", "number", "words"),
    [
        ("info", 9, "INFO"),
        ("success", 10, "SUCCESS"),
        ("warning", 13, "WARN"),
        ("error", 17, "ERROR"),
    ],
)
def test_each_severity_has_its_number_and_text(severity: str, number: int, words: str) -> None:
    record = log_record(event(severity=severity))
    assert (record.severity_number, record.severity_text) == (number, words)


@pytest.mark.parametrize(
    ("given_value", "field", "sent"),
    [
        (2**63 - 1, "int_value", 2**63 - 1),
        (2**63, "string_value", "9223372036854775808"),
        (-(2**63), "int_value", -(2**63)),
        (-(2**63) - 1, "string_value", "-9223372036854775809"),
        (True, "bool_value", True),
        (0.0, "double_value", 0.0),
        ("\ud800", "string_value", "�"),
        (None, None, None),
    ],
)
def test_values_at_the_edges_are_sent_whole(given_value: Any, field: str | None, sent: Any) -> None:
    value = any_value(given_value)
    assert value.WhichOneof("value") == field
    assert field is None or getattr(value, field) == sent


def test_a_lone_surrogate_in_a_key_does_not_stop_the_batch() -> None:
    assert "realm.details.�" in named(log_record(event(details={"\udc80": 1})))


def test_a_time_before_1970_is_sent_as_unknown() -> None:
    """OTLP's times are unsigned, and 0 says unknown."""
    assert log_record(event(time_unix_nano=-1)).time_unix_nano == 0


@pytest.mark.parametrize("digits", [None, "", "xyz", "00" * 16, "ab" * 8, "ab" * 17])
def test_a_trace_id_that_is_none_is_left_out(digits: str | None) -> None:
    """Receivers refuse a whole request for an id of the wrong length."""
    assert hex_bytes(digits, 16) == b""


def test_records_are_grouped_by_neighbours_of_one_producer_in_their_order() -> None:
    """Not by producer alone: that would change the order."""
    one, two = "11" * 8, "22" * 8
    mixed = [event(producer=p, number=n) for n, p in enumerate((one, one, two, one), 1)]
    request = encode_events(mixed, lambda producer: {"service.name": f"of {producer[0]}"})
    groups = [
        ({pair.key: pair.value.string_value for pair in group.resource.attributes},
         [record.attributes[-1].value.string_value for record in group.scope_logs[0].log_records])
        for group in request.resource_logs
    ]  # fmt: skip
    assert groups == [
        ({"realm.producer.id": one, "service.name": "of 1"}, [e.id for e in mixed[:2]]),
        ({"realm.producer.id": two, "service.name": "of 2"}, [mixed[2].id]),
        ({"realm.producer.id": one, "service.name": "of 1"}, [mixed[3].id]),
    ]
    assert {group.scope_logs[0].scope.name for group in request.resource_logs} == {
        "realm_telemetry"
    }


def test_a_resource_keeps_numbers_and_lists() -> None:
    resource = resource_of("ab" * 8, {"process.pid": 7, "process.command_args": ["a", "b"]})
    found = {pair.key: pair.value for pair in resource.attributes}
    assert found["process.pid"].int_value == 7
    assert len(found["process.command_args"].array_value.values) == 2
