"""JSON as other software writes it."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.event import InvalidEventError
from realm_telemetry.values.json_text import read_json, read_object, text_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"cut \ud83d"', "cut \ufffd"),
        (r'"\ude00\ud83d\ud83d\ude00"', "\ufffd\ufffd\U0001f600"),
        (r'"C:\\ud83d"', r"C:\ud83d"),
        (r'{"\udc00key": 1}', {"\ufffdkey": 1}),
        ("[NaN, Infinity, -Infinity]", ["NaN", "Infinity", "-Infinity"]),
        ("\ufeff[1]", [1]),
        ('"a\x01\n\x00b"', "a\x01\n\x00b"),
        ('"line\u2028end"', "line\u2028end"),
        ("[1e999, -1e999]", ["1e999", "-1e999"]),
        ("9" * 5_000, "9" * 5_000),
        ("-" + "9" * 5_000, "-" + "9" * 5_000),
        ("[18446744073709551615, NaN]", [2**64 - 1, "NaN"]),
        ("[18446744073709551616, NaN]", ["18446744073709551616", "NaN"]),
        ("[-9223372036854775808, NaN]", [-(2**63), "NaN"]),
        ("[-9223372036854775809, NaN]", ["-9223372036854775809", "NaN"]),
        ('{"a": 1, "a": 2}', {"a": 2}),
        (' {"a": 1}\r\n', {"a": 1}),
    ],
)
def test_what_other_software_writes_is_read(text: str, value: Any) -> None:
    assert read_json(text) == value
    assert read_json(text.encode()) == value


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(encoding: str) -> None:
    assert read_json('{"name": "Jörg"}'.encode(encoding)) == {"name": "Jörg"}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"J\xf6rg"', "J\ufffdrg"),
        (b'"\xed\xa0\xbd"', "\ufffd"),
        (b'"\xed\xa0\xbd\xed\xb8\x80"', "\U0001f600"),
        (b'{"\xff": 1}', {"\ufffd": 1}),
    ],
)
def test_bytes_that_are_not_utf_8_are_replaced(data: bytes, value: Any) -> None:
    assert read_json(data) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "truncated|malformed"),
        (b"{} x", "trailing"),
        (b'{"a": 1}\n{"a": 2}', "trailing"),
        (b"01", "number"),
        (b"nan", "truncated"),
        (b'{"a": ', "truncated"),
        (b"[" * 100_000, "deep"),
        (b"[NaN," * 100_000, "deep|malformed"),
        (b"[" * 5_000 + b"NaN" + b"]" * 5_000, "deep"),
        (bytes(64), "malformed"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidEventError, match=reason):
        read_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"events":["' + b'\\"' * 500_000,
        b'{"events":["' + b'\\"' * 500_000 + b"\\",
        b'["' + b"\\\\" * 400_000,
        b'"' * 1_000_000,
        b'"\\' * 400_000,
        b"\\" * 1_000_000,
        b'{"a":' * 900 + b'"' + b'\\"' * 400_000,
    ],
    ids=["quotes", "an open escape", "backslashes", "empty texts", "both", "no text", "deep"],
)
def test_a_hostile_megabyte_is_refused_within_a_moment(data: bytes) -> None:
    began = time.process_time()
    with pytest.raises(InvalidEventError):
        read_json(data)
    assert time.process_time() - began < 3  # in proportion to the square it would be minutes


@pytest.mark.parametrize("text", ['"[[', '"\\"[[', '["a\\\\"]["', '"\\\\[['])
def test_brackets_in_a_text_that_does_not_end_are_not_counted(text: str) -> None:
    with pytest.raises(InvalidEventError) as raised:
        read_json(text + "[" * 2_000)
    assert "deep" not in str(raised.value)


def test_an_expected_type_is_held_on_the_forgiving_way_too() -> None:
    decoder = msgspec.json.Decoder(dict[str, list[str]])
    assert read_json(b'{"a": ["\\ud83d", NaN]}', decoder) == {"a": ["\ufffd", "NaN"]}
    with pytest.raises(InvalidEventError, match="Expected `array`"):
        read_json(b'{"a": NaN}', decoder)


@pytest.mark.parametrize("text", ["[]", '"a"', "1", "1.5", "true", "null", "NaN"])
def test_only_an_object_is_an_object(text: str) -> None:
    with pytest.raises(InvalidEventError, match="expected a JSON object"):
        read_object(text)


@given(JSON)
def test_all_that_python_writes_is_read_and_can_be_stored(value: Any) -> None:
    """Its json writes NaN, infinities, halves of emojis and numbers of any length."""
    msgspec.json.encode(read_json(json.dumps(value)))


@given(st.binary(max_size=200))
def test_no_bytes_do_any_harm(data: bytes) -> None:
    text_of(data).encode()
    try:
        value: Any = read_json(data)
    except InvalidEventError:
        return
    msgspec.json.encode(value)
