"""Finding the records that keep a batch from being delivered."""

from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.delivery.retry import Backoff, bisect


class OtherSide:
    """Takes every part without poison; counts."""

    def __init__(self, poison):
        self.poison = set(poison)
        self.taken = []
        self.calls = 0

    def __call__(self, rows):
        self.calls += 1
        if self.poison & set(rows):
            return "poison"
        self.taken += rows
        return None


@given(size=st.integers(1, 512), poison=st.sets(st.integers(0, 511), max_size=12))
def test_every_row_is_taken_condemned_or_kept_and_never_two_of_these(size, poison):
    rows = list(range(size))
    other_side = OtherSide(poison)
    verdict = bisect(rows, other_side)
    condemned = [row for row, _ in verdict.condemned]
    assert sorted(other_side.taken + condemned + verdict.remaining) == rows
    assert set(condemned) <= poison


@given(poison=st.sets(st.integers(0, 511), min_size=1, max_size=3))
def test_a_few_bad_rows_among_many_are_found(poison):
    verdict = bisect(range(512), OtherSide(poison))
    assert {row for row, _ in verdict.condemned} == poison
    assert not verdict.remaining


def test_an_outage_costs_few_attempts_and_condemns_no_row():
    other_side = OtherSide(range(512))
    verdict = bisect(range(512), other_side)
    assert other_side.calls <= 31
    assert verdict.condemned == []
    assert sorted(verdict.remaining) == list(range(512))


def test_a_row_that_passes_on_its_second_attempt_is_not_condemned():
    failing = {1}

    def send(rows):
        if failing & set(rows):
            if list(rows) == [1]:
                failing.clear()
            return "not yet"
        return None

    assert bisect([0, 1, 2, 3], send) == ([], [])


def test_waits_double_up_to_the_cap_and_start_over_after_a_success():
    backoff = Backoff(first_s=1.0, cap_s=8.0, jitter=lambda: 1.0)
    assert [backoff.failed() for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, 8.0]
    backoff.succeeded()
    assert backoff.failed() == 1.0


def test_jitter_at_least_halves_nothing_below_half():
    assert Backoff(first_s=1.0, jitter=lambda: 0.0).failed() == 0.5


def test_retry_after_is_never_shortened_and_bounded_to_an_hour():
    backoff = Backoff(jitter=lambda: 0.0)
    assert backoff.failed(7.0) == 7.0
    assert backoff.failed(1e9) == 3600.0


def test_nobody_is_asked_again_at_once():
    """A 0, or a date that has passed, would make a sender ask without end."""
    backoff = Backoff(first_s=1.0, jitter=lambda: 0.0)
    assert [backoff.failed(asked) for asked in (0.0, 0.4, 0.5, 0.6)] == [0.5, 0.5, 0.5, 0.6]
