"""Several addresses of services with one log: which is asked, and which is left for later."""

from realm_telemetry.delivery.addresses import FIRST_PAUSE_S, LONGEST_PAUSE_S, Addresses
from realm_telemetry.testing import FakeClock

A, B, C = "http://a:1", "http://b:1", "http://c:1"


def order(addresses: Addresses) -> list[str]:
    turn = list(addresses.turn())
    assert [goes_on for _, goes_on in turn] == [True] * (len(turn) - 1) + [False]
    return [url for url, _ in turn]


def make(clock: FakeClock, *urls: str) -> Addresses:
    return Addresses(",".join(urls), clock.monotonic)


def test_one_address_is_asked_each_time_however_often_it_fails() -> None:
    addresses = make(FakeClock(), A)
    for _ in range(5):
        assert order(addresses) == [A]
        addresses.failed(A)
    assert not addresses.are_several


def test_the_one_that_answered_is_kept_to() -> None:
    addresses = make(FakeClock(), A, B, C)
    assert order(addresses) == [A, B, C]
    addresses.failed(A)
    addresses.answered(B)
    assert addresses.current == B
    clock_later = order(addresses)
    assert clock_later == [B, C, A]


def test_one_that_failed_comes_last_until_its_pause_is_over() -> None:
    clock = FakeClock()
    addresses = make(clock, A, B, C)
    addresses.failed(A)
    assert order(addresses) == [B, C, A]
    clock.advance(FIRST_PAUSE_S - 0.01)
    assert order(addresses) == [B, C, A]
    clock.advance(0.02)
    assert order(addresses) == [A, B, C], "it is the current one still"


def test_pauses_double_up_to_a_bound_and_an_answer_ends_them() -> None:
    clock = FakeClock()
    addresses = make(clock, A, B)
    for failures in range(1, 9):
        addresses.failed(A)
        pause_s = min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S)
        clock.advance(pause_s - 0.01)
        assert order(addresses) == [B, A]
        clock.advance(0.02)
        assert order(addresses) == [A, B]
    addresses.answered(A)
    addresses.failed(A)
    clock.advance(FIRST_PAUSE_S + 0.01)
    assert order(addresses) == [A, B]


def test_a_pause_that_was_asked_for_is_kept_and_all_are_asked_where_all_have_failed() -> None:
    clock = FakeClock()
    addresses = make(clock, A, B)
    addresses.failed(A, 20.0)
    addresses.failed(B)
    assert order(addresses) == [B, A]
    clock.advance(19.9)
    assert order(addresses) == [B, A]
    clock.advance(0.2)
    assert order(addresses) == [A, B]


def test_blanks_and_slashes_of_a_list_are_none_of_an_address() -> None:
    assert Addresses(f" {A}/ , {B},").all == [A, B]
