"""No argument of the producer API raises what its own code raises, whatever that is."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

import realm_telemetry as realm
from realm_telemetry.values.clock import seconds


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
