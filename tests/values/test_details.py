"""The details of an event: the hot path, the thorough one, and the limit of their number."""

import msgspec
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.values.details import (
    MAX_DETAILS,
    TRUNCATED,
    clean_details,
    clean_fields,
    force_clean,
)

PLAIN = {"step": 183_000, "loss": 0.234, "path": "ckpt/183000", "best": True, "parent": None}


@pytest.mark.parametrize("clean", [clean_fields, clean_details])
def test_plain_details_are_passed_on_as_they_are(clean):
    details, truncated = clean(PLAIN)
    assert details is PLAIN
    assert not truncated


@pytest.mark.parametrize("clean", [clean_fields, clean_details, force_clean])
@pytest.mark.parametrize(
    ("value", "converted"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (numpy.float32(0.5), 0.5),
        (numpy.float64(0.5), 0.5),
        ([numpy.int64(1)], [1]),
    ],
)
def test_what_is_not_plain_is_converted_and_the_given_mapping_left_alone(clean, value, converted):
    given_details = {"before": 1, "value": value, "after": 2}
    details, truncated = clean(given_details)
    assert details == {"before": 1, "value": converted, "after": 2}
    assert type(details["value"]) is type(converted)
    assert given_details["value"] is value
    assert not truncated


def test_keys_are_made_safe():
    assert clean_fields({"": 1}) == ({"(empty)": 1}, False)
    assert clean_details({1: 1}) == ({"1": 1}, False)
    assert force_clean({"\ud800": "\ud800"}) == ({"\ufffd": "\ufffd"}, False)


@pytest.mark.parametrize("clean", [clean_fields, clean_details, force_clean])
@pytest.mark.parametrize("count", [0, 1, 95, 96])
def test_up_to_the_limit_all_details_are_kept(clean, count):
    given_details = {f"k{index}": index for index in range(count)}
    assert clean(given_details) == (given_details, False)


@pytest.mark.parametrize("clean", [clean_fields, clean_details, force_clean])
@pytest.mark.parametrize("count", [97, 127, 128, 129, 100_000])
def test_beyond_it_the_first_are_kept_and_the_others_named(clean, count):
    details, truncated = clean({f"k{index}": index for index in range(count)})
    assert truncated
    assert len(details) == MAX_DETAILS
    assert list(details)[:-1] == [f"k{index}" for index in range(95)]
    named = [f"k{index}" for index in range(95, count)]
    assert details[TRUNCATED] == (named if len(named) <= 32 else [*named[:32], "..."])


def test_a_value_that_is_cut_is_named():
    details, truncated = clean_details({"history": list(range(1_001)), "step": 1})
    assert truncated
    assert details == {"history": list(range(1_000)), "step": 1, TRUNCATED: ["history"]}


def test_the_mark_finds_room_among_as_many_details_as_are_allowed():
    given_details = {f"k{index}": index for index in range(95)} | {"history": [0] * 1_001}
    details, _ = clean_details({"history": [0] * 1_001, **given_details})
    assert len(details) == MAX_DETAILS
    assert set(details[TRUNCATED]) == {"history", "k94"}


class BrokenMapping(dict[str, object]):
    def __iter__(self):
        yield "a"
        raise RuntimeError


def test_a_mapping_that_breaks_keeps_what_could_be_read_and_is_marked():
    assert clean_details(BrokenMapping(a=1, b=2)) == ({"a": 1, TRUNCATED: ["(details)"]}, True)
    assert clean_details(7) == ({TRUNCATED: ["(details)"]}, True)


@given(st.dictionaries(st.text(), st.integers() | st.floats() | st.text() | st.none()))
def test_the_hot_path_and_the_thorough_one_agree(given_details):
    quick, _ = clean_details(given_details)
    assert force_clean(quick) == force_clean(given_details)


@given(st.dictionaries(st.text(), st.floats() | st.text(), max_size=120))
def test_clean_details_are_clean_already(given_details):
    details, _ = force_clean(given_details)
    assert force_clean(details)[0] == details
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(details)) == details
