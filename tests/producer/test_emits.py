"""@emits over every sort of function."""

import asyncio
import dataclasses
import functools
import inspect
from typing import NamedTuple

import msgspec
import pytest

from realm_telemetry.producer import instrument
from realm_telemetry.producer.instrument import emits


@dataclasses.dataclass
class Score:
    accuracy: float


class ScoreStruct(msgspec.Struct):
    accuracy: float


class ScoreTuple(NamedTuple):
    accuracy: float


def only(events):
    [event] = events
    return event


def details(event):
    """The details without the duration, which must be there."""
    found = dict(event.details)
    assert found.pop("duration_s") >= 0
    return found


def test_a_function_emits_when_it_returns(emitted):
    @emits("checkpoint_saved")
    def save(step, loss, path="ckpt", *, best=False):
        assert not emitted
        return "result"

    assert save(183_000, loss=0.234) == "result"
    event = only(emitted)
    assert event.kind == "checkpoint_saved"
    assert event.message == "Checkpoint 183,000 saved (loss: 0.2340)"
    assert details(event) == {"step": 183_000, "loss": 0.234, "path": "ckpt", "best": False}


def test_arguments_beyond_the_named_ones(emitted):
    @emits("note")
    def call(first, /, *rest, key=1, **more):
        return rest, more

    assert call(1, 2, 3, extra=4) == ((2, 3), {"extra": 4})
    assert details(only(emitted)) == {"first": 1, "key": 1, "extra": 4}


def test_arguments_that_are_none_are_left_out(emitted):
    @emits("note")
    def call(step, path=None):
        pass

    call(1)
    assert details(only(emitted)) == {"step": 1}


@pytest.mark.parametrize(
    "result", [{"accuracy": 0.5}, Score(0.5), ScoreStruct(0.5), ScoreTuple(0.5)]
)
def test_what_a_returned_mapping_or_record_holds_joins_the_details(emitted, result):
    @emits("note")
    def evaluate(skill):
        return result

    assert evaluate("sums") is result
    assert details(only(emitted)) == {"skill": "sums", "accuracy": 0.5}


@pytest.mark.parametrize("result", [None, 7, "text", [1], (1, 2), Score])
def test_other_results_do_not(emitted, result):
    emits("note")(lambda: result)()
    assert details(only(emitted)) == {}


def test_include_picks_from_arguments_and_result(emitted):
    @emits("note", include=("step", "accuracy"))
    def call(step, secret):
        return {"accuracy": 0.5, "other": 1}

    call(1, "s3cret")
    assert only(emitted).details == {
        "step": 1,
        "accuracy": 0.5,
        "duration_s": pytest.approx(0, abs=1),
    }


def test_message_and_further_fields(emitted):
    @emits("note", message="Saved {step:,} to {place}", place="disk")
    def call(step):
        pass

    call(1_000)
    call("NaN")
    assert [event.message for event in emitted] == ["Saved 1,000 to disk", "Saved NaN to disk"]


def test_hero_and_campaign_are_the_events_own(emitted):
    @emits("note", campaign_id="c1")
    def call(hero_id, kind, message, channel, severity, source):
        pass

    call("dio", 1, 2, 3, 4, 5)
    event = only(emitted)
    assert (event.hero_id, event.campaign_id, event.kind) == ("dio", "c1", "note")
    assert details(event) == {"kind": 1, "message": 2, "channel": 3, "severity": 4, "source": 5}


def test_a_function_that_raises_emits_nothing_and_its_exception_is_the_very_same(emitted):
    error = ValueError("bad")

    @emits("note")
    def call():
        raise error

    with pytest.raises(ValueError, match="bad") as caught:
        call()
    assert caught.value is error
    assert error.__context__ is None
    assert emitted == []


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_on_error_tells_of_the_exception(emitted, error):
    @emits("training_completed", on_error="training_failed")
    def train(step):
        raise error

    with pytest.raises(type(error)) as caught:
        train(7)
    assert caught.value is error
    event = only(emitted)
    assert event.kind == "training_failed"
    name = type(error).__name__
    text = f"{name}: {error}" if str(error) else name
    recorded = details(event)
    assert recorded.pop("traceback").startswith("Traceback (most recent call last)")
    assert recorded == {"step": 7, "error": text, "error_type": name}
    assert event.message == f"Training failed: {text} (step 7)"


def test_a_coroutine_emits_when_it_is_done(emitted):
    @emits("note", on_error="error_occurred")
    async def call(step):
        await asyncio.sleep(0)
        if step > 1:
            raise ValueError("bad")
        return {"ok": True}

    assert inspect.iscoroutinefunction(call)
    assert asyncio.run(call(1)) == {"ok": True}
    assert details(emitted[0]) == {"step": 1, "ok": True}
    with pytest.raises(ValueError, match="bad"):
        asyncio.run(call(2))
    assert emitted[1].kind == "error_occurred"


def test_a_cancelled_coroutine_stays_cancelled(emitted):
    @emits("note", on_error="error_occurred")
    async def wait():
        await asyncio.sleep(60)

    async def run():
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert only(emitted).details["error_type"] == "CancelledError"


def test_a_generator_emits_when_it_is_exhausted_and_passes_all_through(emitted):
    @emits("note")
    def count(limit):
        heard = []
        for number in range(limit):
            try:
                heard.append((yield number))
            except KeyError:
                heard.append("thrown")
        return {"heard": heard}

    assert inspect.isgeneratorfunction(count)
    numbers = count(3)
    assert next(numbers) == 0
    assert numbers.send("sent") == 1
    assert numbers.throw(KeyError()) == 2
    assert emitted == []
    with pytest.raises(StopIteration) as stopped:
        next(numbers)
    assert stopped.value.value == {"heard": ["sent", "thrown", None]}
    assert details(only(emitted)) == {"limit": 3, "heard": ["sent", "thrown", None]}


def test_a_generator_closed_early_emits_nothing(emitted):
    @emits("note", on_error="error_occurred")
    def count():
        yield 1
        yield 2

    numbers = count()
    next(numbers)
    numbers.close()
    assert emitted == []


def test_an_async_generator_emits_when_it_is_exhausted_and_passes_all_through(emitted):
    heard = []

    @emits("note")
    async def count(limit):
        for number in range(limit):
            try:
                heard.append((yield number))
            except KeyError:
                heard.append("thrown")

    async def run():
        numbers = count(3)
        assert await anext(numbers) == 0
        assert await numbers.asend("sent") == 1
        assert await numbers.athrow(KeyError()) == 2
        assert emitted == []
        assert [number async for number in numbers] == []

    assert inspect.isasyncgenfunction(count)
    asyncio.run(run())
    assert heard == ["sent", "thrown", None]
    assert details(only(emitted)) == {"limit": 3}


def test_an_async_generator_closed_early_is_closed_inside_and_emits_nothing(emitted):
    closed = []

    @emits("note", on_error="error_occurred")
    async def count():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def run():
        numbers = count()
        await anext(numbers)
        await numbers.aclose()

    asyncio.run(run())
    assert closed == [True]
    assert emitted == []


def test_an_async_generator_that_raises(emitted):
    @emits("note", on_error="error_occurred")
    async def count():
        yield 1
        raise ValueError("bad")

    async def run():
        async for _ in count():
            pass

    with pytest.raises(ValueError, match="bad"):
        asyncio.run(run())
    assert only(emitted).kind == "error_occurred"


class Model:
    @emits("note")
    def method(self, step):
        return self

    @classmethod
    @emits("note")
    def of_class(cls, step):
        return cls

    @staticmethod
    @emits("note")
    def static(step):
        return step

    @property
    @emits("note")
    def size(self):
        return 7


def test_methods_of_every_sort(emitted):
    model = Model()
    assert model.method(1) is model
    assert model.of_class(1) is Model.of_class(1) is Model
    assert model.static(1) == Model.static(1) == 1
    assert [details(event) for event in emitted] == [{"step": 1}] * 5
    assert model.size == 7
    assert details(emitted[-1]) == {}


@pytest.mark.parametrize("descriptor", [staticmethod, classmethod, property])
def test_the_wrong_order_of_decorators_is_an_error_that_says_so(descriptor):
    name = descriptor.__name__
    with pytest.raises(TypeError, match=f"Put @{name} first and @emits below it"):
        emits("note")(descriptor(lambda: None))


@pytest.mark.parametrize("target", [Model, "note", None])
def test_what_is_no_function_is_refused(target):
    with pytest.raises(TypeError, match="decorates functions and methods"):
        emits("note")(target)


def test_a_bare_decorator_is_an_error_that_says_so():
    with pytest.raises(TypeError, match=r'A name has to be given: @emits\("checkpoint_saved"\)'):
        emits(print)


def test_a_numbered_hero_is_the_events_own(emitted):
    @emits("note")
    def call(hero_id, campaign_id):
        return None

    call(7, 0)
    assert (emitted[0].hero_id, emitted[0].campaign_id) == ("7", "0")
    assert details(emitted[0]) == {}


def test_name_signature_and_docstring_stay():
    @emits("note")
    def documented(step: int, *, path: str = "x") -> bool:
        """What it does."""
        return True

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "What it does."
    assert str(inspect.signature(documented)) == "(step: int, *, path: str = 'x') -> bool"


def test_partials_and_other_decorators_keep_their_names(emitted):
    def double(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            return 2 * function(*args, **kwargs)

        return call

    @emits("note")
    @double
    def call(step):
        return step

    assert call(2) == 4
    assert emits("note")(functools.partial(call, 3))() == 6
    assert emits("note")(max)(1, 2) == 2
    assert details(emitted[0]) == {"step": 2}


def test_telemetrys_own_trouble_never_escapes(monkeypatch, capfd):
    def broken(*args, **kwargs):
        raise RuntimeError("telemetry is broken")

    monkeypatch.setattr(instrument, "emit", broken)

    @emits("note", on_error="error_occurred")
    def call(fail):
        if fail:
            raise ValueError("bad")
        return 7

    assert call(False) == 7
    with pytest.raises(ValueError, match="bad") as caught:
        call(True)
    assert caught.value.__context__ is None


class Unreadable(dict[str, object]):
    def __iter__(self):
        raise RuntimeError("unreadable")


def test_a_result_that_cannot_be_read_is_returned_all_the_same(emitted):
    result = Unreadable()
    assert emits("note")(lambda: result)() is result
