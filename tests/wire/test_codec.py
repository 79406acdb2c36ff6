"""Event batches as bytes: lossless there and back, and precise about what is wrong."""

import contextlib
from typing import Any

import msgspec
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.wire import (
    MAX_BATCH_EVENTS,
    BatchAnswer,
    BatchProducer,
    Rejected,
    decode_answer,
    decode_batch,
    encode_answer,
    encode_batch,
    read_batch,
)
from realm_telemetry.wire.fields import parse_mended
from realm_telemetry.wire.v1 import event_pb2 as pb

text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
int64 = st.integers(-(2**63), 2**63 - 1)
maybe_text = st.none() | text


def hex_digits(count: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=count // 2, max_size=count // 2).map(bytes.hex)


events = st.builds(
    Event,
    kind=text.filter(bool),
    channel=st.sampled_from(CHANNELS),
    severity=st.sampled_from(SEVERITIES),
    message=text,
    details=st.dictionaries(text, json_values, max_size=96),
    time_unix_nano=int64,
    producer=hex_digits(16),
    number=st.integers(1, 2**64 - 1),
    hero_id=maybe_text,
    campaign_id=maybe_text,
    run_id=maybe_text,
    source=maybe_text,
    trace_id=st.none() | hex_digits(32),
    span_id=st.none() | hex_digits(16),
    trace_flags=st.integers(0, 255),
    rank=st.none() | st.integers(0, 2**32 - 1),
    webhooks=st.lists(text, max_size=3).map(tuple),
    observed_unix_nano=st.none() | int64,
)


def event(**changes: Any) -> Event:
    plain = Event("note", "debug", "info", "hello", {"step": 1}, 1, "00" * 8, 1)
    return msgspec.structs.replace(plain, **changes)


@given(st.lists(events, max_size=5))
def test_a_batch_comes_back_as_it_was(batch: list[Event]) -> None:
    assert decode_batch(encode_batch(batch)) == batch


def test_details_of_every_number_range_keep_value_and_type() -> None:
    details = {"big": 2**64 - 1, "least": -(2**63), "beyond": 2**53 + 1, "one": 1.0, "n": "NaN"}
    (back,) = decode_batch(encode_batch([event(details=details)]))
    assert back.details == details
    assert type(back.details["one"]) is float


def test_producers_travel_with_their_resource_and_receipt() -> None:
    producers = [
        BatchProducer("ab" * 8, "0123", {"service.name": "lab", "pid": 7}, True, -5, 10, 1, True),
        BatchProducer("cd" * 8),
    ]
    batch = read_batch(encode_batch([], producers))
    assert batch.producers == producers
    assert batch.events == []


def test_registered_kinds_travel_with_the_events() -> None:
    kinds = [
        KindSpec("ray_traced", "debug", "warning", "Ray {n}", True),
        KindSpec("ray_lost", "system", "info"),
    ]
    assert read_batch(encode_batch([event()], [], kinds)).kinds == kinds


def test_a_kind_that_could_not_be_registered_harms_no_event() -> None:
    kinds = [KindSpec("Ray Lost", "system", "info"), KindSpec("ray_lost", "nowhere", "info")]
    batch = read_batch(encode_batch([event()], [], kinds))
    assert (len(batch.events), batch.kinds) == (1, [])


def test_an_answer_comes_back_as_it_was() -> None:
    answer = BatchAnswer(3, 2, [Rejected("ab" * 16, "no such channel")], "f" * 32)
    assert decode_answer(encode_answer(answer)) == answer


def message(**changes: Any) -> pb.Event:
    plain: dict[str, Any] = {"number": 7, "kind": "note", "channel": "debug", "severity": "info"}
    return pb.Event(**(plain | changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": ""}, "kind"),
        ({"channel": "kitchen"}, "channel"),
        ({"severity": "fatal"}, "severity"),
        ({"number": 0}, "number"),
        ({"trace_id": b"short"}, "trace_id"),
        ({"span_id": b"short"}, "span_id"),
        ({"details_json": b"[1]"}, "details_json"),
        ({"details_json": b'{"a":'}, "details_json"),
        ({"details_json": b'{"a":' + b"[" * 100_000}, "details_json"),
        ({"webhooks": ["x"] * 65}, "webhooks"),
    ],
)
def test_an_event_with_an_impossible_value_is_rejected_by_id_and_field(
    changes: dict[str, Any], field: str
) -> None:
    body = pb.EventBatch(events=[message(), message(**changes)]).SerializeToString()
    batch = read_batch(body)
    assert len(batch.events) == 1
    assert batch.rejected[0].event_id.startswith("0" * 16)
    assert field in batch.rejected[0].reason
    with pytest.raises(InvalidEventError, match=field):
        decode_batch(body)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\xff" * 20,
        b"\x0b\x0c",
        b"\x09\x01",
        b"<html>502</html>",
        b"\x0a\x02\x32\x09",
    ],
)
def test_bytes_that_are_no_batch_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidEventError, match="not an EventBatch"):
        read_batch(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_a_clear_refusal(body: bytes) -> None:
    with contextlib.suppress(InvalidEventError, PayloadTooLargeError):
        read_batch(body)


@given(st.lists(events, min_size=1, max_size=3), st.data())
def test_a_cut_or_damaged_batch_never_raises_anything_else(
    batch: list[Event], data: st.DataObject
) -> None:
    body = bytearray(encode_batch(batch))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(InvalidEventError, PayloadTooLargeError):
        read_batch(bytes(body[: data.draw(st.integers(0, len(body)))]))


def test_fields_of_a_newer_sender_are_skipped() -> None:
    body = encode_batch([event()]) + b"\x9a\x06\x03new" + b"\x98\x06\x01" + b"\x99\x06" + b"\0" * 8
    assert decode_batch(body) == [event()]


def test_too_many_events_are_refused_when_encoding() -> None:
    with pytest.raises(PayloadTooLargeError, match="512"):
        encode_batch([event()] * (MAX_BATCH_EVENTS + 1))


def test_a_batch_over_the_byte_limit_is_refused_on_both_sides() -> None:
    body = encode_batch([event()])
    with pytest.raises(PayloadTooLargeError, match="limit is 10"):
        encode_batch([event()], max_bytes=10)
    with pytest.raises(PayloadTooLargeError, match="limit is 10"):
        read_batch(body, max_bytes=10)


def test_a_bomb_of_empty_entries_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(PayloadTooLargeError, match="entries"):
        read_batch(b"\x0a\x00" * 100_000)


def test_one_huge_event_is_refused_by_its_id_on_both_sides() -> None:
    huge = event(number=9, message="x" * 2**20)
    with pytest.raises(PayloadTooLargeError, match="0" * 31 + "9"):
        encode_batch([event(), huge])
    body = pb.EventBatch(events=[message(message="x" * 2**20)]).SerializeToString()
    with pytest.raises(PayloadTooLargeError, match="entry 1"):
        read_batch(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"details": {"a": object()}},
        {"message": "\ud800"},
        {"producer": "not hex"},
        {"number": 2**64},
        {"trace_id": "zz"},
        {"time_unix_nano": 2**63},
    ],
)
def test_an_event_that_cannot_be_encoded_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError, match=r"event .*cannot be encoded"):
        encode_batch([event(**changes)])


def test_garbage_is_not_an_answer() -> None:
    with pytest.raises(InvalidEventError, match="BatchAnswer"):
        decode_answer(b"<html>")


@pytest.mark.parametrize("more", [0, 1])
def test_only_so_many_fields_are_looked_at_to_mend_a_message(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    body = message(message="\N{BULLET}").SerializeToString()
    body = body.replace("\N{BULLET}".encode(), b"\xed\xa0\xbd")
    fields = len(message(message="x").ListFields())
    monkeypatch.setattr("realm_telemetry.wire.fields.MAX_MENDED", fields - more)
    if more:
        with pytest.raises(DecodeError, match="too many"):
            parse_mended(pb.Event, body)
    else:
        assert parse_mended(pb.Event, body).message == "\ufffd"


def test_a_batch_has_the_log_id_of_its_sender_or_none() -> None:
    assert read_batch(encode_batch([])).log_id == ""
    assert read_batch(encode_batch([], log_id="ab" * 16)).log_id == "ab" * 16
    assert len(read_batch(encode_batch([], log_id="x" * 1000)).log_id) == 64
