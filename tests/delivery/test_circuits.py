"""A host that gives no answer is left alone, then tried once."""

from realm_telemetry.delivery import circuits as circuits_module
from realm_telemetry.delivery.circuits import FAILURES, FIRST_PAUSE_S, LONGEST_PAUSE_S, Circuits
from realm_telemetry.testing import FakeClock

HOST = "hook.example:443"


def failing(circuits: Circuits, times: int, place: str = HOST) -> list[bool]:
    return [circuits.failed(place, f"no answer {number}") for number in range(times)]


def test_a_circuit_opens_at_so_many_failures_in_a_row() -> None:
    circuits = Circuits(FakeClock().monotonic)
    assert failing(circuits, FAILURES - 1) == [False] * (FAILURES - 1)
    assert circuits.room(HOST, 4) == 4
    assert circuits.failed(HOST, "no answer at last")
    assert circuits.room(HOST, 4) == 0
    (shown,) = circuits.open()
    assert (shown.place, shown.state, shown.failures) == (HOST, "open", FAILURES)
    assert (shown.wait_s, shown.reason) == (FIRST_PAUSE_S, "no answer at last")
    assert circuits.room("other.example:443", 4) == 4


def test_an_answer_between_failures_starts_the_count_anew() -> None:
    circuits = Circuits(FakeClock().monotonic)
    for _ in range(3):
        failing(circuits, FAILURES - 1)
        assert not circuits.answered(HOST)
    assert circuits.open() == []


def test_after_the_pause_one_attempt_decides() -> None:
    clock = FakeClock()
    circuits = Circuits(clock.monotonic)
    failing(circuits, FAILURES)
    clock.advance(FIRST_PAUSE_S - 0.001)
    assert circuits.room(HOST, 4) == 0
    clock.advance(0.001)
    assert circuits.room(HOST, 4) == 1
    assert [each.state for each in circuits.open()] == ["half open"]
    assert circuits.failed(HOST, "again")
    assert circuits.soonest_s() == 2 * FIRST_PAUSE_S
    clock.advance(2 * FIRST_PAUSE_S)
    assert circuits.answered(HOST)
    assert (circuits.room(HOST, 4), circuits.open(), circuits.soonest_s()) == (4, [], None)


def test_pauses_double_up_to_the_longest() -> None:
    clock = FakeClock()
    circuits = Circuits(clock.monotonic)
    failing(circuits, FAILURES - 1)
    pauses = []
    for _ in range(8):
        circuits.failed(HOST, "")
        pauses.append(circuits.soonest_s())
        clock.advance(LONGEST_PAUSE_S)
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]


def test_attempts_that_began_before_do_not_count_twice() -> None:
    circuits = Circuits(FakeClock().monotonic)
    assert failing(circuits, FAILURES + 5) == [False] * (FAILURES - 1) + [True] + [False] * 5
    assert circuits.soonest_s() == FIRST_PAUSE_S


def test_a_pause_that_a_host_asks_for_is_kept_though_others_answer() -> None:
    clock = FakeClock()
    circuits = Circuits(clock.monotonic)
    circuits.hold(HOST, 5.0, "rate limited")
    circuits.hold(HOST, 2.0, "rate limited")
    assert not circuits.answered(HOST)
    assert (circuits.room(HOST, 4), circuits.soonest_s()) == (0, 5.0)
    clock.advance(5.0)
    assert circuits.room(HOST, 4) == 1
    assert circuits.answered(HOST)
    assert circuits.room(HOST, 4) == 4


def test_hosts_that_are_remembered_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(circuits_module, "MAX_HOSTS", 3)
    circuits = Circuits(FakeClock().monotonic)
    for place in "abcd":
        failing(circuits, FAILURES, place)
    assert [each.place for each in circuits.open()] == ["b", "c", "d"]
