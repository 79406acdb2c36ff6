"""One bad value costs no other, whatever holds them; nothing is read that waits or never ends."""

import argparse
import collections
import dataclasses
import itertools
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import pytest
from omegaconf import OmegaConf

from realm_telemetry.values import conversions
from realm_telemetry.values.conversions import Walk, to_json_value
from realm_telemetry.values.details import TRUNCATED, force_clean


class Panic(BaseException):
    """As Rust code raises through PyO3."""


class Lazy(dict[str, object]):
    """A mapping whose entry `bad` cannot be read."""

    def __getitem__(self, key: str) -> object:
        if key == "bad":
            raise Panic("not loaded")
        return super().__getitem__(key)


class NoLength(Lazy):
    def __len__(self) -> int:
        raise RuntimeError


BAD = "<item of Lazy that cannot be read: Panic>"


def test_a_bad_entry_costs_no_other() -> None:
    mapping = {"a": 1, "bad": 2, "c": 3}
    assert to_json_value(Lazy(mapping)) == {"a": 1, "bad": BAD, "c": 3}
    assert force_clean(Lazy(mapping)) == ({"a": 1, "bad": BAD, "c": 3}, False)
    assert force_clean(NoLength(mapping))[0]["c"] == 3


def test_a_configuration_keeps_what_can_be_read() -> None:
    config = OmegaConf.create(
        {
            "model": {"name": "???", "width": 64, "betas": [0.9, "???", 0.999]},
            "root": "${oc.env:NOT_SET_ANYWHERE}",
            "shape": [1, 2],
            "dtype": "float32",
        }
    )
    read = to_json_value(config)
    assert read["model"]["width"] == 64
    assert read["model"]["betas"][0::2] == [0.9, 0.999]
    assert "MissingMandatoryValue" in read["model"]["name"]
    assert "MissingMandatoryValue" in read["model"]["betas"][1]
    assert "Interpolation" in read["root"]
    assert (read["shape"], read["dtype"]) == ([1, 2], "float32")


@dataclasses.dataclass
class Slotted:
    __slots__ = ("a", "b")
    a: int
    b: int


@attrs.define
class Attrs:
    a: int
    b: object = None


class Model(types.SimpleNamespace):
    pass


class WithProperty:
    """A dataclass's shape, with a field that is a property that raises."""

    __dataclass_fields__ = {  # noqa: RUF012 - as dataclasses make it
        name: next(iter(dataclasses.fields(Slotted))) for name in ("a", "b")
    }
    a = 1

    @property
    def b(self) -> int:
        raise ValueError


class Rows(Sequence[Any]):
    """A sequence that is no list; reading item 1 fails."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: Any) -> Any:
        if at == 1:
            raise OSError
        return [10, 11, 12][at]


@pytest.mark.parametrize(
    ("value", "converted"),
    [
        (argparse.Namespace(a=1, shape=2, dtype=3), {"a": 1, "shape": 2, "dtype": 3}),
        (types.SimpleNamespace(a=1), {"a": 1}),
        (Model(a=1), {"a": 1}),
        (Slotted(1, 2), {"a": 1, "b": 2}),
        (Attrs(1), {"a": 1, "b": None}),
        (WithProperty(), {"a": 1, "b": "<item of WithProperty that cannot be read: ValueError>"}),
        (Rows(), [10, "<item of Rows that cannot be read: OSError>", 12]),
        (collections.UserList([1]), [1]),
        (collections.UserString("x"), "x"),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"b": 2, "a": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_and_sequences_of_any_class(value: object, converted: object) -> None:
    assert to_json_value(value) == converted


def test_a_pydantic_model_is_known_by_its_base() -> None:
    base = type("BaseModel", (), {"__module__": "pydantic.main"})
    model = type("Config", (base,), {})()
    model.lr, model.__pydantic_extra__ = 0.1, {"more": 1}
    assert to_json_value(model)["lr"] == 0.1
    assert to_json_value(model)["more"] == 1


class Frame:
    shape = (1_000_000, 2)

    @property
    def columns(self) -> list[str]:
        return ["a", "b"]

    def __repr__(self) -> str:
        raise AssertionError("the frame was read")


def test_a_data_frame_is_described() -> None:
    assert to_json_value(Frame()) == {"shape": [1_000_000, 2], "columns": ["a", "b"]}


def test_a_generator_is_not_consumed() -> None:
    generator = iter(x for x in (1, 2))
    assert "generator" in to_json_value(generator)
    assert next(generator) == 1


class Endless(Mapping[str, int]):
    def __iter__(self) -> Iterator[str]:
        return (str(number) for number in itertools.count())

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, key: str) -> int:
        return int(key)


def test_an_endless_mapping_is_cut_and_marked() -> None:
    walk = Walk()
    assert len(to_json_value(Endless(), walk)) == conversions.MAX_ITEMS
    assert walk.cut
    details, cut = force_clean({"config": Endless()})
    assert cut
    assert details[TRUNCATED] == ["config"]


class Slow(Mapping[str, int]):
    def __iter__(self) -> Iterator[str]:
        return iter([str(number) for number in range(500)])

    def __len__(self) -> int:
        return 500

    def __getitem__(self, key: str) -> int:
        time.sleep(0.02)
        return int(key)


def test_slow_values_are_cut_once_their_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversions, "MAX_READING_S", 0.1)
    details, cut = force_clean({"slow": Slow(), "also": Slow(), "plain": 1})
    assert cut
    assert 1 <= len(details["slow"]) < 100
    assert details["plain"] == 1
    assert details[TRUNCATED] == ["slow", "also"]


def test_a_mapping_that_fails_midway_keeps_its_beginning_and_is_marked() -> None:
    class Failing(dict[str, int]):
        def __iter__(self) -> Iterator[str]:
            yield "a"
            raise Panic

    details, _ = force_clean({"config": Failing(a=1, b=2)})
    assert details == {"config": {"a": 1}, TRUNCATED: ["config"]}


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_program_passes_through(ending: type[BaseException]) -> None:
    class Ending:
        def __repr__(self) -> str:
            raise ending

    with pytest.raises(ending):
        to_json_value([Ending()])
