"""`realm.steps`, a loop over batches that counts its steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import realm_telemetry as realm
from realm_telemetry.event import InvalidEventError
from realm_telemetry.producer import appenders, step_loop
from realm_telemetry.producer.step_loop import StepLimit
from realm_telemetry.spool.frames import decode_event
from realm_telemetry.spool.reader import SpoolReader
from realm_telemetry.spool.writer import SpoolWriter


class Clock:
    """Time that a test moves."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(step_loop, "monotonic", clock)
    return clock


@pytest.fixture(autouse=True)
def run(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A configured process."""
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))
    monkeypatch.setattr(step_loop._Counted, "limit", None)
    realm.configure(home=tmp_path, shipper="none", run_id="r0")
    yield
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))


def recorded() -> list[dict[str, Any]]:
    """The details of all steps so far."""
    telemetry = realm.get_telemetry()
    assert telemetry is not None
    assert isinstance(telemetry.writer, SpoolWriter)
    frames = SpoolReader(telemetry.writer.directory).read(100_000)
    events = [decode_event(f.payload, telemetry.producer, f.number) for f in frames if f.number]
    return [event.details for event in events if event.kind == "training_step"]


def test_items_pass_untouched_and_steps_are_counted(clock: Clock) -> None:
    items = [object() for _ in range(25)]
    seen = []
    for item in realm.steps(items, every=10):
        seen.append(item)
        clock.now_s += 0.5
    assert seen == items
    assert [each["step"] for each in recorded()] == [10, 20, 25]
    assert {each["steps_per_second"] for each in recorded()} == {2.0}


def test_time_is_split_between_data_and_compute(clock: Clock) -> None:
    def loader() -> Iterator[int]:
        for number in range(4):
            clock.now_s += 3
            yield number
        clock.now_s += 50  # the end of an epoch, which is no step's

    for _ in realm.steps(loader(), every=2):
        clock.now_s += 1
    assert [(each["data_share"], each["compute_share"]) for each in recorded()] == [
        (0.75, 0.25)
    ] * 2


def test_a_second_epoch_goes_on_counting_and_a_number_may_be_given() -> None:
    for _ in range(2):
        for _ in realm.steps(range(3), every=1):
            pass
    assert step_loop._Counted.step == 6
    for _ in realm.steps(range(3), every=1, first=100):
        pass
    assert step_loop._Counted.step == 102


def test_a_value_that_is_logged_belongs_to_the_step_of_the_loop() -> None:
    for _ in realm.steps("abc", every=100, first=7):
        realm.log({"loss": 1.0})
    assert [each["step"] for each in recorded() if "loss" in each] == [7, 8, 9]
    assert realm.log({"loss": 1.0}).details["step"] == 10


def test_a_loop_inside_a_loop_gives_the_number_back() -> None:
    for _ in realm.steps(range(1), first=5):
        for _ in realm.steps(range(2), first=50):
            pass
        assert realm.log({"loss": 1.0}).details["step"] == 5


def test_a_fast_loop_makes_ten_events_a_second_at_most(clock: Clock) -> None:
    for _ in realm.steps(range(5_000), every=1):
        clock.now_s += 0.001
    seen = recorded()
    assert 5 * 9 <= len(seen) <= 5 * 10
    assert seen[-1]["step"] == 5_000
    assert seen[-1]["steps_per_second"] == pytest.approx(1000)


def test_many_short_loops_keep_to_the_limit_too(clock: Clock) -> None:
    for _ in range(1_000):
        for _ in realm.steps(range(2), every=1):
            clock.now_s += 0.001
    assert 2 * 9 <= len(recorded()) <= 2 * 10 + 1


def test_what_the_loader_raises_is_passed_on_and_the_steps_before_are_recorded() -> None:
    def broken() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        for _ in realm.steps(broken(), every=100):
            pass
    assert [each["step"] for each in recorded()] == [2]


def test_it_has_the_length_of_what_it_goes_over() -> None:
    assert len(realm.steps([1, 2, 3])) == 3
    with pytest.raises(TypeError, match="has no len"):
        len(realm.steps(iter([1])))


def test_a_loop_that_is_left_early_counts_what_was_done() -> None:
    for item in realm.steps(range(10), every=100):
        if item == 4:
            break
    assert [each["step"] for each in recorded()] == [4]


def test_nothing_of_a_batch_is_read() -> None:
    class Batch:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} was read")

    assert sum(1 for _ in realm.steps([Batch(), Batch()], every=1)) == 2


def test_an_odd_interval_is_a_mistake_of_the_program() -> None:
    with pytest.raises(InvalidEventError, match="from 1"):
        realm.steps([], every=0)


@pytest.mark.parametrize(("text", "per_second"), [("", 9), ("2", 1.8), ("0", 0), ("many", 9)])
def test_the_rate_is_a_variable(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, text: str, per_second: float
) -> None:
    monkeypatch.setenv("REALM_STEP_EVENTS_PER_S", text)
    limit = StepLimit()
    passed = 0
    for _ in range(10_000):
        passed += limit.passes()
        clock.now_s += 0.001
    assert passed == pytest.approx(10 * per_second, abs=1)
