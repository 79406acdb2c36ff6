"""Times that other software wrote: read in any unit, or refused."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.event import InvalidEventError
from realm_telemetry.values.times import EARLIEST_NS, LATEST_NS, in_words, number_ns, read_time

TEN = 1_764_410_400_000_000_000
"""2025-11-29T10:00:00Z"""


def utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "nanos"),
    [
        (1764410400, TEN),
        (1764410400.25, TEN + 250_000_000),
        (1764410400.123456, TEN + 123_456_000),
        (1764410400123, TEN + 123_000_000),
        (1764410400123.5, TEN + 123_500_000),
        (1764410400123456, TEN + 123_456_000),
        (TEN + 123_456_789, TEN + 123_456_789),
        ("1764410400", TEN),
        (" 1764410400123 ", TEN + 123_000_000),
        ("1.764410400123e12", TEN + 123_000_000),
        ("1764410400.123456789", TEN + 123_456_789),
        ("2025-11-29T10:00:00Z", TEN),
        ("2025-11-29t10:00:00.123456789z", TEN + 123_456_789),
        ("2025-11-29T10:00:00.1234567891Z", TEN + 123_456_789),
        ("2025-11-29 11:00:00,5 +0100", TEN + 500_000_000),
        ("2025-11-29T11:00:00.5+01:00", TEN + 500_000_000),
        ("2025-11-29 10:00 UTC", TEN),
        ("20251129T100000Z", TEN),
        ("2025-11-29T10:00:00", TEN),
        ("2025-11-29", TEN - 36_000 * 10**9),
        ("20251129", TEN - 36_000 * 10**9),
        (EARLIEST_NS // 10**9, EARLIEST_NS),
        ("2000-01-01T00:00:00Z", EARLIEST_NS),
        (LATEST_NS, LATEST_NS),
        ("2262-04-11T23:47:16.854775807Z", LATEST_NS),
    ],
)
def test_a_time_is_read_in_any_unit_and_form(value: Any, nanos: int) -> None:
    assert read_time(value, "ts", utc) == nanos


@pytest.mark.parametrize(
    "value",
    [
        0, -1, -1764410400, 12345, 3.5, 1e300, float("nan"),
        float("inf"), float("-inf"), 5e-324, EARLIEST_NS // 10**9 - 1, LATEST_NS + 1, 2**64,
        "", "0", "-1764410400", "yesterday", "NaN", "9" * 5_000, "1e999999999", "1.5.5", "now",
        "1999-12-31T23:59:59.9Z", "2262-04-11T23:47:16.854775808Z", "9999-12-31T23:59:59",
        "0001-01-01T00:00:00", "2025-13-01", "2025-11-29T25:00:00Z", "202511291000",
        True, None, [], {},
    ],
)  # fmt: skip
def test_what_is_no_plausible_time_is_refused_by_the_fields_name(value: Any) -> None:
    with pytest.raises(InvalidEventError, match=r"^ts: .* is no time from 2000 to 2262") as error:
        read_time(value, "ts", utc)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("digits", [20, 4_300, 5_000])
def test_a_number_that_python_will_not_write_is_refused_like_others(digits: int) -> None:
    for number in (10**digits, -(10**digits)):
        with pytest.raises(InvalidEventError, match=r"^ts: .* is no time"):
            read_time(number, "ts")


def test_a_text_without_a_zone_is_refused_where_none_is_assumed() -> None:
    with pytest.raises(InvalidEventError, match="with its zone"):
        read_time("2025-11-29T10:00:00", "timestamp")
    assert read_time(1764410400, "timestamp") == TEN


@given(st.integers(EARLIEST_NS, LATEST_NS))
def test_no_number_has_two_meanings(nanos: int) -> None:
    """The ranges of the units do not overlap, so each reads back as what was meant."""
    for unit_ns in (1, 10**3, 10**6, 10**9):
        number = nanos // unit_ns
        if number * unit_ns >= EARLIEST_NS:
            assert number_ns(number) == number * unit_ns
            assert read_time(str(number), "ts") == number * unit_ns


@given(st.datetimes(datetime(2000, 1, 2), datetime(2262, 4, 10)), st.integers(-14 * 60, 14 * 60))
def test_every_iso_text_of_python_is_read_exactly(moment: datetime, minutes: int) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    since = there - datetime(1970, 1, 1, tzinfo=UTC)
    exact = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    assert read_time(there.isoformat(), "ts") == exact


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (560, "9 min 20 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h"),
        (3_630, "1 h"),
        (7_300, "2 h 1 min"),
        (86_399, "23 h 59 min"),
        (100_000, "1 d 3 h"),
        (1e9, "11,574 d 1 h"),
    ],
)
def test_a_span_of_time_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
