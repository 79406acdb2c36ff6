"""An event takes at most 64 KiB; what is cut is marked."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_telemetry.event import PROCESS_LOST_NUMBER, Event
from realm_telemetry.values.details import (
    MAX_DETAILS,
    MAX_EVENT_BYTES,
    TRUNCATED,
    fit_event,
    make_safe,
    to_json_value,
)


def event(message="m", details=None, **changes):
    return Event(
        kind=changes.pop("kind", "note"),
        channel="debug",
        severity="info",
        message=message,
        details=details or {},
        time_unix_nano=1,
        producer="0123456789abcdef",
        number=PROCESS_LOST_NUMBER,
        **changes,
    )


def size(of):
    return len(msgspec.msgpack.encode(of))


def event_of_size(wanted):
    spare = wanted - size(event(details={"text": "x" * 60_000, "step": 1}))
    made = event(details={"text": "x" * (60_000 + spare), "step": 1})
    assert size(made) == wanted
    return made


@pytest.mark.parametrize("wanted", [MAX_EVENT_BYTES - 1, MAX_EVENT_BYTES])
def test_up_to_the_limit_an_event_is_the_very_same(wanted):
    made = event_of_size(wanted)
    assert fit_event(made) is made


def test_one_byte_over_the_limit_the_largest_detail_is_cut_and_marked():
    fitted = fit_event(event_of_size(MAX_EVENT_BYTES + 1))
    assert size(fitted) <= MAX_EVENT_BYTES
    assert fitted.details == {"text": "x" * 8_192 + "…", "step": 1, TRUNCATED: ["text"]}


def test_details_are_cut_largest_first_and_no_more_than_needed():
    given_details = {"small": "s" * 9_000, "large": "l" * 50_000, "middle": "m" * 20_000}
    fitted = fit_event(event(details=given_details))
    assert fitted.details[TRUNCATED] == ["large"]
    assert fitted.details["middle"] == given_details["middle"]
    assert fitted.details["small"] == given_details["small"]


def test_what_is_not_text_is_cut_to_the_beginning_of_its_json():
    fitted = fit_event(event(details={"history": list(range(100_000, 130_000))}))
    assert fitted.details["history"].startswith("[100000,100001,")
    assert len(fitted.details["history"]) == 8_193


def test_details_are_shortened_before_the_message_and_stay_longer_than_its_end():
    fitted = fit_event(event("m" * 200_000, {"step": 7, "text": "x" * 500}))
    assert size(fitted) <= MAX_EVENT_BYTES
    assert fitted.details["step"] == 7
    assert fitted.details["text"] == "x" * 128 + "…"
    assert fitted.message.endswith("m…")
    assert len(fitted.message) > 50_000
    assert fitted.details[TRUNCATED] == ["text", "(message)"]


def test_a_message_is_cut_between_characters():
    fitted = fit_event(event("€" * 100_000))
    assert set(fitted.message) == {"€", "…"}


def test_ninety_six_large_details_fit():
    fitted = fit_event(event(details={f"k{index}": "x" * 10_000 for index in range(MAX_DETAILS)}))
    assert size(fitted) <= MAX_EVENT_BYTES
    assert len(fitted.details) <= MAX_DETAILS
    assert fitted.details[TRUNCATED][-1] == "..."


def test_giant_keys_fit():
    fitted = fit_event(event("short", {"k" * 70_000: 1, "step": 2}))
    assert size(fitted) <= MAX_EVENT_BYTES
    assert fitted.message == "short"
    assert fitted.details == {"step": 2, TRUNCATED: ["k" * 64]}


def test_kind_and_id_are_never_cut():
    fitted = fit_event(event("m" * 70_000, {"a": "x" * 70_000}, kind="k" * 1_000))
    assert (fitted.kind, fitted.id) == ("k" * 1_000, "0123456789abcdef" + "f" * 16)


def test_a_giant_context_is_cut():
    fitted = fit_event(event(hero_id="h" * 70_000))
    assert fitted.hero_id == "h" * 256
    assert size(fitted) <= MAX_EVENT_BYTES


def test_cutting_twice_keeps_the_names_of_the_first_time():
    once = fit_event(event(details={"a": "x" * 70_000}))
    again = fit_event(msgspec.structs.replace(once, details=once.details | {"b": "y" * 70_000}))
    assert again.details[TRUNCATED] == ["a", "b"]


def test_an_unsafe_event_is_made_fit_to_encode():
    unsafe = event("\ud800", {"\ud800": float("nan"), "big": 2**64}, hero_id=7, source="\udc00")
    safe = make_safe(unsafe)
    assert (safe.message, safe.hero_id, safe.source) == ("\ufffd", "7", "\ufffd")
    assert safe.details == {"\ufffd": "NaN", "big": str(2**64)}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(safe), type=Event) == safe


texts = st.text(max_size=4) | st.integers(0, 80_000).map(lambda length: "€" * length)


@settings(max_examples=settings().max_examples)
@given(texts, st.dictionaries(texts, texts | st.lists(texts, max_size=3), max_size=100))
def test_every_event_fits_and_keeps_its_kind_and_id(message, details):
    made = make_safe(event(message, to_json_value(details)))
    assert size(made) <= MAX_EVENT_BYTES
    assert len(made.details) <= MAX_DETAILS
    assert (made.kind, made.id) == ("note", "0123456789abcdef" + "f" * 16)
    assert fit_event(made) is made
