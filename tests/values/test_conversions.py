"""Any Python value becomes a JSON value; no value's own code can do harm."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import os
import pathlib
import subprocess
import sys
import types
import uuid

import msgspec
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.values import conversions as walk_limits
from realm_telemetry.values.conversions import Walk, to_json_value


@dataclasses.dataclass
class Result:
    skill: str
    scores: object


class Struct(msgspec.Struct):
    step: int


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


Point = collections.namedtuple("Point", "x y")
UTC = datetime.UTC
MOMENT = datetime.datetime(2025, 11, 29, 10, 0, 0, 5, UTC)


class SubInt(int):
    def __str__(self):
        return "mine"


@pytest.mark.parametrize(
    ("value", "converted"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.5, 0.5),
        ("text", "text"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (SubInt(7), 7),
        (numpy.float32(0.5), 0.5),
        (numpy.float16(0.5), 0.5),
        (numpy.float64("nan"), "NaN"),
        (numpy.float32("-inf"), "-Infinity"),
        (numpy.longdouble(1.5), 1.5),
        (numpy.int64(7), 7),
        (numpy.uint64(2**64 - 1), str(2**64 - 1)),
        (numpy.bool_(True), True),
        (numpy.str_("x"), "x"),
        (numpy.datetime64("2025-11-29"), "2025-11-29"),
        (numpy.array(["2025-11-29"], dtype="M8[D]"), ["2025-11-29"]),
        (numpy.arange(3), [0, 1, 2]),
        (numpy.array([[1.0, numpy.nan]]), [[1.0, "NaN"]]),
        (numpy.array(3), 3),
        (numpy.array([None, "a"], dtype=object), [None, "a"]),
        (numpy.float32, "<class 'numpy.float32'>"),
        (MOMENT, "2025-11-29T10:00:00.000005+00:00"),
        (MOMENT.date(), "2025-11-29"),
        (MOMENT.time(), "10:00:00.000005"),
        (datetime.timedelta(minutes=1, milliseconds=500), 60.5),
        (pathlib.Path("ckpt/1"), "ckpt/1"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Word.YES, "yes"),
        (Result("sums", (1, 2)), {"skill": "sums", "scores": [1, 2]}),
        (Struct(4), {"step": 4}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.deque([1, 2]), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset("b"), ["b"]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.items(), [["a", 1]]),
        (b"ab", "YWI="),
        (bytearray(b"ab"), "YWI="),
        (memoryview(b"ab"), "YWI="),
        (decimal.Decimal("1.50"), "1.50"),
        (fractions.Fraction(1, 3), "1/3"),
        (uuid.UUID(int=3), "00000000-0000-0000-0000-000000000003"),
        (ValueError("no such skill"), "ValueError: no such skill"),
        (KeyError(), "KeyError"),
        (2j, "2j"),
        (int, "<class 'int'>"),
    ],
)
def test_conversions(value, converted):
    result = to_json_value(value)
    assert result == converted
    assert type(result) is type(converted)


@pytest.mark.parametrize(
    ("value", "converted"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, "9223372036854775808"),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, "-9223372036854775809"),
        (2**4_095 - 1, str(2**4_095 - 1)),
        (2**4_096, "<int of 4097 bits>"),
    ],
)
def test_integers_beyond_63_bits_become_text(value, converted):
    assert to_json_value(value) == converted


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("naïve 😀", "naïve 😀"),
        ("\ud800", "\ufffd"),
        ("a\udfffb", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
    ],
)
def test_lone_surrogates_are_replaced_and_pairs_joined(text, safe):
    assert to_json_value(text) == safe


def test_a_path_of_undecodable_bytes_is_made_safe():
    assert to_json_value(pathlib.Path(os.fsdecode(b"ckpt\xff"))) == "ckpt\ufffd"


def test_keys_become_text_that_is_neither_empty_nor_twice_there():
    converted = to_json_value({1: "a", "1": "b", "": "c", None: "d", (1, 2): "e", Colour.RED: "f"})
    assert converted == {
        "1": "a",
        "1 (1)": "b",
        "(empty)": "c",
        "None": "d",
        "[1, 2]": "e",
        "red": "f",
    }


def test_keys_that_become_equal_lose_no_value():
    alike = dict.fromkeys([chr(0xD800), chr(0xDC00), chr(0xFFFD)], 1)
    assert to_json_value(alike) == {"\ufffd": 1, "\ufffd (1)": 1, "\ufffd (2)": 1}


@pytest.mark.parametrize(("length", "kept"), [(255, 255), (256, 256), (257, 256)])
def test_long_keys_are_cut(length, kept):
    assert list(to_json_value({"k" * length: 1})) == ["k" * kept]


@pytest.mark.parametrize(
    ("shape", "read"), [((63,), True), ((64,), True), ((8, 8), True), ((65,), False)]
)
def test_small_arrays_are_read_and_larger_ones_described(shape, read):
    array = numpy.zeros(shape, dtype="float32")
    described = {"shape": list(shape), "dtype": "float32"}
    assert to_json_value(array) == (array.tolist() if read else described)


class Tensor:
    """Like a torch tensor; on a device, whatever reads it fails."""

    def __init__(self, device, shape=(2,)):
        self.shape = shape
        self.dtype = "torch.float32"
        self.device = device

    def tolist(self):
        assert self.device == "cpu", "the tensor was read back"
        return [1.0, 2.0]

    __repr__ = __str__ = __float__ = __int__ = __bool__ = __len__ = __iter__ = item = tolist


@pytest.mark.parametrize("device", ["cuda:0", "mps", "meta", "xla:1", None, object()])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_tensor_on_a_device_is_never_read_back(device, shape):
    described = {"shape": list(shape), "dtype": "torch.float32"}
    assert to_json_value(Tensor(device, shape)) == described
    assert to_json_value([{"loss": Tensor(device, shape)}]) == [{"loss": described}]
    assert list(to_json_value({Tensor(device, shape): 1}).values()) == [1]


def test_a_small_tensor_in_this_hosts_memory_is_read():
    assert to_json_value(Tensor("cpu")) == [1.0, 2.0]


def test_a_tensor_of_unknown_size_is_described():
    assert to_json_value(Tensor("cpu", (None, 3))) == {"shape": [], "dtype": "torch.float32"}


def broken(*_):
    raise RuntimeError("broken")


class BrokenText:
    __repr__ = __str__ = broken


class BrokenError(Exception):
    __str__ = broken


class BrokenAttribute:
    __getattr__ = broken


class BrokenClass:
    __class__ = property(broken)


class BrokenShape:
    dtype = "x"
    shape = property(broken)


class BrokenMapping(collections.UserDict[str, object]):
    __getitem__ = __iter__ = broken


class BrokenPath:
    __fspath__ = broken


@dataclasses.dataclass
class BrokenField:
    step: int = 1

    def __getattribute__(self, name):
        if name == "step":
            raise RuntimeError
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    "broken_class",
    [
        BrokenText,
        BrokenError,
        BrokenAttribute,
        BrokenClass,
        BrokenShape,
        BrokenMapping,
        BrokenPath,
        BrokenField,
    ],
)
def test_what_is_broken_is_shown_by_its_class(broken_class):
    value = broken_class()
    assert broken_class.__name__ in str(to_json_value(value))
    assert to_json_value({"before": 1, "broken": value, "after": 2})["after"] == 2


def test_what_is_inside_itself_ends():
    inner: list = [1]
    inner.append(inner)
    assert to_json_value(inner) == [1, "<list inside itself>"]
    twice = [1]
    assert to_json_value([twice, twice]) == [[1], [1]]


def nested(depth):
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(("depth", "cut"), [(15, False), (16, False), (17, True)])
def test_nesting_is_bounded(depth, cut):
    walk = Walk()
    text = msgspec.json.encode(to_json_value(nested(depth), walk)).decode()
    assert walk.cut is cut
    assert ("nested too deep" in text) is cut


@pytest.mark.parametrize(("length", "cut"), [(999, False), (1_000, False), (1_001, True)])
@pytest.mark.parametrize("make", [list, tuple, set, dict.fromkeys])
def test_a_container_is_cut_to_its_first_items(make, length, cut):
    walk = Walk()
    assert len(to_json_value(make(range(length)), walk)) == min(length, walk_limits.MAX_ITEMS)
    assert walk.cut is cut


@pytest.mark.parametrize(("rows", "cut"), [(99, False), (101, True)])
def test_the_values_of_one_detail_are_bounded(rows, cut):
    walk = Walk()
    converted = to_json_value([[0] * 100 for _ in range(rows)], walk)
    assert sum(map(len, converted)) <= walk_limits.MAX_NODES
    assert walk.cut is cut


@pytest.mark.parametrize(("length", "cut"), [(65_535, False), (65_536, False), (65_537, True)])
def test_the_text_of_one_detail_is_bounded(length, cut):
    walk = Walk()
    converted = to_json_value(["a" * (length - 10), "b" * 10], walk)
    assert len("".join(converted)) == min(length, walk_limits.MAX_TEXT_CHARS)
    assert walk.cut is cut


@pytest.mark.parametrize(("length", "cut"), [(3_071, False), (3_072, False), (3_073, True)])
def test_bytes_are_bounded(length, cut):
    walk = Walk()
    assert len(to_json_value(b"\xff" * length, walk)) == 4_096
    assert walk.cut is cut


class Long:
    def __init__(self, length):
        self.length = length

    def __repr__(self):
        return "r" * self.length


@pytest.mark.parametrize("length", [499, 500, 501])
def test_a_long_repr_is_cut(length):
    shown = to_json_value(Long(length))
    assert len(shown) == min(length, walk_limits.MAX_REPR_CHARS)
    assert shown.endswith("…") is (length > walk_limits.MAX_REPR_CHARS)


def test_an_endless_range_costs_no_more_than_what_is_kept():
    assert len(to_json_value(range(10**12))) == walk_limits.MAX_ITEMS


hashable = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
anything = st.recursive(
    hashable
    | st.characters(categories=["Cs"])
    | st.datetimes()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.complex_numbers()
    | st.builds(BrokenText)
    | st.builds(Tensor, st.sampled_from(["cpu", "cuda:0"])),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner)
        | st.builds(Result, st.text(), inner)
        | st.frozensets(hashable)
    ),
    max_leaves=20,
)


@given(anything)
def test_the_result_always_encodes_and_decodes_to_itself(value):
    converted = to_json_value(value)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(converted)) == converted
    assert msgspec.json.decode(msgspec.json.encode(converted)) == converted


@given(anything)
def test_a_json_value_is_left_as_it_is(value):
    converted = to_json_value(value)
    assert to_json_value(converted) == converted


@pytest.mark.processes
def test_no_array_library_is_imported():
    code = "import sys, realm_telemetry.values.details as v; v.to_json_value(object())"
    code += "; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert not {b"numpy", b"torch"} & set(modules.split())
