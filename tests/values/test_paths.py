"""Names of details: read, written, and looked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.values.paths import (
    MAX_PATH_CHARS,
    InvalidPathError,
    find,
    find_all,
    read_path,
    read_paths,
    split_path,
    write_path,
)

_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(_names, _names)
def test_every_name_that_was_written_is_read_back(name: str, other: str) -> None:
    assert read_path(write_path(name)) == name
    assert split_path(f"{write_path(name)}:a:b") == (write_path(name), "a:b")
    assert read_paths(f"{write_path(name)}, {write_path(other)}") == list(
        dict.fromkeys([name, other])
    )


@pytest.mark.parametrize("name", ["train/loss", "a b", "loss[0]", "größe", "$.x", "a'b"])
def test_a_name_without_separators_is_written_as_it_is(name: str) -> None:
    assert write_path(name) == name


@pytest.mark.parametrize("text", ["", "  ", '""', "x" * (MAX_PATH_CHARS + 1), '"\\x"'])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidPathError):
        read_path(text)


def test_a_name_of_the_longest_length_is_read() -> None:
    assert read_path("x" * MAX_PATH_CHARS) == "x" * MAX_PATH_CHARS


def test_a_value_without_a_colon_before_it_is_none() -> None:
    assert split_path("step") == ("step", None)
    assert split_path('"a:b"') == ('"a', 'b"')


def test_a_key_with_dots_comes_before_the_way_through_objects() -> None:
    details = {"a.b": 1, "a": {"b": 2, "c.d": 3}}
    assert find(details, "a.b") == 1
    assert list(find_all(details, "a.b")) == [1, 2]
    assert find(details, "a.c") is None
    assert find(details, "a.b.c") is None
    assert find({"a": {"b": 2}}, "a.b") == 2
