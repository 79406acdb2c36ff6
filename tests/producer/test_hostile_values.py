"""No argument of the producer API raises what its own code raises, whatever that is."""

import datetime
import decimal
import enum
import itertools
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import realm_telemetry as realm
from realm_telemetry.errors import MAX_WARNING_CHARS, ConfigError
from realm_telemetry.values.clock import seconds
from realm_telemetry.values.conversions import MAX_TEXT_CHARS, to_json_value
from realm_telemetry.values.settings import MAX_ENTRIES, MAX_PATH_BYTES


class Panic(BaseException):
    """As Rust code raises through PyO3."""


NAMES = [
    "__class__",
    "__str__",
    "__repr__",
    "__len__",
    "__iter__",
    "__index__",
    "__bool__",
    "__eq__",
    "__hash__",
    "__int__",
    "__float__",
    "__getitem__",
    "__contains__",
    "__format__",
    "__lt__",
    "__gt__",
    "__fspath__",
    "__array__",
    "__call__",
    "__add__",
    "__radd__",
    "__sub__",
    "__rsub__",
]


def raises(error: BaseException) -> Callable[..., Any]:
    def method(*_: Any) -> Any:
        raise error

    return method


ANSWERS: dict[str, Callable[..., Any]] = {
    "raising": raises(RuntimeError("no")),
    "panicking": raises(Panic("no")),
    "endless": lambda *_: itertools.count(),
    "negative": lambda *_: -1,
}


def hostile(base: type, answer: str) -> Any:
    """A value whose every method answers like this."""
    method = ANSWERS[answer]
    methods: dict[str, Any] = dict.fromkeys(NAMES, method)
    methods["__class__"] = property(method)
    return type(f"{base.__name__}_{answer}", (base,), methods)()


def unreadable(base: type) -> Any:
    return type("Unreadable", (base,), {"__getattribute__": ANSWERS["panicking"]})()


def values() -> list[Any]:
    bases = (object, str, int, float, dict, list, tuple, bytes, Exception)
    inside: list[Any] = []
    inside.append(inside)
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    return [
        *(hostile(base, answer) for base in bases for answer in ANSWERS),
        *(unreadable(base) for base in bases),
        *(
            float("nan"),
            10**5000,
            b"\xff",
            "\ud800",
            "a\0b",
            None,
            set(),
            type,
            ...,
            memoryview(b"a"),
        ),
        *(inside, deep, {1: 2, "1": 3, (1,): 4, None: 5}, (each for each in range(3))),
    ]


def block(value: Any = None, **bound: Any) -> None:
    with realm.bound(**bound), realm.lifecycle("job", x=value) as job:
        job.set(y=value)


def decorated(value: Any, **settings: Any) -> None:
    @realm.emits("note", **settings)
    def work(x: Any) -> Any:
        return x

    @realm.lifecycle("job")
    def job(x: Any) -> Any:
        return x

    work(value)
    job(value)


def failing(value: Any) -> None:
    @realm.emits("note", on_error=value)
    def work() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        work()


def loop(**settings: Any) -> None:
    for _ in realm.steps([1, 2], **settings):
        realm.log({"a": 1})


emit: Callable[..., Any] = realm.emit
DOORS: dict[str, Callable[[Any], object]] = {
    "kind": lambda value: emit(value, "m"),
    "kind by name": lambda value: emit(kind=value),
    "kind twice": lambda value: emit("note", kind=value),
    "message": lambda value: emit("note", value),
    "message twice": lambda value: emit("note", "m", message=value),
    "channel": lambda value: emit("note", channel=value),
    "severity": lambda value: emit("note", severity=value),
    "details": lambda value: emit("note", details=value),
    "ids": lambda value: emit("note", hero_id=value, campaign_id=value, source=value),
    "webhooks": lambda value: emit("note", webhooks=value),
    "a webhook": lambda value: emit("note", webhooks=[value]),
    "fields": lambda value: emit("checkpoint_saved", step=value, loss=value, path=value),
    "run": lambda value: emit("training_started", run_id=value, message=value, rank=value),
    "typed": lambda value: realm.training_step(step=value, loss=value, message=value),
    "log": realm.log,
    "logged": lambda value: realm.log({"acc": value}, step=value),
    "progress": realm.progress,
    "every": lambda value: loop(every=value),
    "first": lambda value: loop(first=value),
    "bound": lambda value: block(hero_id=value, run_id=value, source=value, x=value),
    "lifecycle": block,
    "decorated": decorated,
    "emits message": lambda value: decorated(1, message=value),
    "emits include": lambda value: decorated(1, include=value),
    "emits on_error": failing,
    "flush": lambda value: realm.flush(value if type(value) in (dict, set) else 0),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_argument_harms_the_program(
    producer: realm.Telemetry, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """It raises, never ends, or is of a type that it says it is not."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    for value in values():
        DOORS[door](value)
    assert realm.emit("note", "goes on").number > 0


def test_an_argument_given_twice_is_a_detail(producer: realm.Telemetry) -> None:
    """`kind="oom"` beside a kind by position is what happened, and no TypeError."""
    event = emit("job_failed", kind="oom", details={"a": 1})
    assert (event.kind, event.details) == ("job_failed", {"a": 1, "kind": "oom"})
    event = emit("note", "said", message="meant")
    assert (event.message, event.details) == ("said", {"message": "meant"})


@pytest.mark.parametrize(
    ("given", "waits"),
    [(None, 2.0), ("x", 2.0), (float("nan"), 2.0), (-1, 0.0), (1e300, 366 * 86_400)],
)
def test_a_timeout_that_is_none_never_waits_for_ever(given: Any, waits: float) -> None:
    assert seconds(given) == waits


HUGE = "x" * (MAX_TEXT_CHARS + 1)


class Huge:
    """All that it says of itself is more than a detail may have."""

    shape = itertools.count()
    dtype = "f4"

    def __str__(self) -> str:
        return HUGE

    __repr__ = __fspath__ = __str__


class Moment(datetime.datetime):
    def isoformat(self, *_: Any) -> str:
        return HUGE


class Odd(datetime.datetime):
    def isoformat(self, *_: Any) -> str:
        return [self]  # type: ignore[return-value]


class Number(decimal.Decimal):
    def __str__(self) -> str:
        return HUGE


class Text(str):
    """As `str()` may return one."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: Any) -> str:
        return HUGE


class Wrapped:
    def __str__(self) -> str:
        return Text(HUGE)

    __repr__ = __str__


class Endless(enum.Enum):
    ITSELF = 1

    @property
    def value(self) -> Any:
        return self


class Name(uuid.UUID):
    def __str__(self) -> Any:
        return self


class Scalar:
    """As `numpy.longdouble`, whose list is itself."""

    shape = ()
    dtype = "f16"

    def tolist(self) -> Any:
        return self

    def __float__(self) -> float:
        return float("nan")


class Times:
    """As NumPy's array of times."""

    shape = (2,)
    dtype = type("dtype", (), {"kind": "M"})()
    ravel = staticmethod(itertools.count)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Huge(), {"shape": [], "dtype": "f4"}),
        (Moment(2020, 1, 1), HUGE[:-1]),
        (Odd(2020, 1, 1), "<Odd that cannot be shown>"),
        (Number(1), HUGE[:-1]),
        (Wrapped(), HUGE[:499] + "…"),
        (Endless.ITSELF, "<Endless that cannot be shown>"),
        (Name(int=1), "<Name that cannot be shown>"),
        (Scalar(), "NaN"),
        (type("C" * 70_000, (), {"__repr__": raises(KeyError())})(), f"<{'C' * 256} that cannot"),
    ],
)
def test_what_a_value_says_of_itself_has_a_limit(
    producer: realm.Telemetry, value: Any, kept: Any
) -> None:
    event = realm.emit("note", "m", x=value, last=1)
    got = event.details["x"]
    assert got[:266] == kept[:266] if isinstance(got, str) else got == kept
    assert isinstance(got, dict) or len(got) <= MAX_TEXT_CHARS
    assert (event.number > 0, event.details["last"]) == (True, 1)


def test_an_array_of_times_that_never_ends_is_cut() -> None:
    assert len(to_json_value(Times())) <= 1_000


def test_a_mistake_with_a_huge_value_is_a_short_warning(
    producer: realm.Telemetry, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    realm.emit("note", "m", channel=HUGE)
    assert 100 < len(capfd.readouterr().err) < MAX_WARNING_CHARS + 100


class EndlessTable(dict[str, Any]):
    def __iter__(self) -> Any:
        return map(str, itertools.count())

    def __getitem__(self, _: str) -> Any:
        return 1


class EndlessList(list[Any]):
    def __iter__(self) -> Any:
        return itertools.count()


class Where(os.PathLike[str]):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __fspath__(self) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def settings() -> list[Any]:
    """What may be given for any argument of `configure`, beside `values`."""
    deep: dict[str, Any] = {}
    deep["a"] = deep
    return [
        *(EndlessTable(a=1), EndlessList(["a"]), deep, {"a": {"a": Huge()}}, {"\0": "\0"}),
        *(Where(RuntimeError()), Where(Panic()), Where("a\0b"), Where(b"\xff"), Where("\ud800")),
        *(Where("x" * 100_000), Path("../x/../../y"), "/proc/1/root", "/dev/zero", "~nobody0/x"),
        *("http://a\r\nX: y", "http://\0", "http://[::1", "\ud800", HUGE, ["x"] * 100_000),
        *(10**100, -1, float("inf"), itertools.count(), open, [[["a"]]], [None], [Huge()], [HUGE]),
        *({1: 2}, {"battle_log": 5}, {"battle_log": {"x": Huge()}}, 1 + 2j, b"x"),
    ]


ARGUMENTS = (
    *("service_name", "exporters", "processors", "home", "service_url", "token"),
    pytest.param("shipper", marks=pytest.mark.processes),
    *("resource", "run_id", "exit_wait", "durability", "spool", "max_spool_bytes", "redact"),
    "options",
)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_configure_raises_that_a_setting_is_wrong_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    refused = 0
    for value in values() + settings():
        arguments = {"home": tmp_path / "home", "shipper": "none", name: value}
        try:
            realm.configure(**arguments)
        except ConfigError as error:
            refused += len(str(error)) < 2 * MAX_PATH_BYTES + 1_000
        else:
            assert realm.emit("note", "goes on").number > 0
            realm.shutdown(0)
    assert refused > 0


@pytest.mark.parametrize("count", [MAX_ENTRIES - 1, MAX_ENTRIES, MAX_ENTRIES + 1])
def test_a_list_of_a_setting_has_a_limit(tmp_path: Path, count: int) -> None:
    names = [f"pin{number}" for number in range(count)]
    if count <= MAX_ENTRIES:
        realm.configure(home=tmp_path, shipper="none", redact=names)
        return
    with pytest.raises(ConfigError, match=f"at most {MAX_ENTRIES} entries and has {count}"):
        realm.configure(home=tmp_path, shipper="none", redact=names)


def test_other_settings_than_the_first_may_not_be_comparable(
    producer: realm.Telemetry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exporter = type("Odd", (), {"__eq__": raises(Panic()), "__hash__": None})()
    realm.configure(home=tmp_path, shipper="thread", exporters=[exporter])
    realm.configure(home=tmp_path, shipper="thread", exporters=[exporter, exporter])
    assert realm.emit("note", "goes on").number > 0
