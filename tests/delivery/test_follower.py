"""The follower: which rows are delivered, settled and condemned, step by step."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from realm_telemetry.delivery.follower import Follower
from realm_telemetry.delivery.outlet import BareFailureError
from realm_telemetry.delivery.retry import Backoff, Condemned, Policy
from realm_telemetry.errors import ExportError, NotYetError


class Row(NamedTuple):
    cursor: int


class Rows:
    """A source with rows 1 to `last`; every third cursor belongs to another pipeline."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.settled: list[int] = []

    def after(self, cursor: int, limit: int) -> tuple[list[Row], int]:
        found = [Row(each) for each in range(cursor + 1, self.last + 1) if each % 3][:limit]
        return found, found[-1].cursor if len(found) == limit else self.last

    def settle(self, cursor: int) -> None:
        self.settled.append(cursor)

    def close(self) -> None:
        pass


class Receiver:
    """Takes rows, unless its script, or its poison, says something else."""

    def __init__(self, *script: Exception | None, poison: Sequence[int] = ()) -> None:
        self.script = list(script)
        self.poison = set(poison)
        self.taken: list[int] = []
        self.refuses: Callable[[str], Exception] = lambda text: ExportError(text, retryable=False)

    def deliver(self, rows: Sequence[Row]) -> None:
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        if self.poison & {row.cursor for row in rows}:
            raise self.refuses("poison")
        self.taken += [row.cursor for row in rows]

    def id_of(self, row: Row) -> str:
        return f"id {row.cursor}"

    def close(self) -> None:
        pass


class Kept:
    """A keeper that only remembers."""

    def __init__(self) -> None:
        self.dead: list[int] = []
        self.refused = 0
        self.failures: list[str] = []
        self.cursor_when_dead: list[int] = []
        self.follower: Follower[Row] | None = None

    def keep_dead(self, condemned: Sequence[Condemned[Row]]) -> None:
        self.dead += [each.row.cursor for each in condemned]
        if self.follower is not None:
            self.cursor_when_dead.append(self.follower.cursor)

    def count_refused(self, count: int, reason: str) -> None:
        self.refused += count

    def failing(self, error: Exception) -> None:
        self.failures.append(str(error))

    def recovered(self) -> None:
        pass


def follow(
    last: int, receiver: Receiver, batch: int = 8, policy: Policy | None = None
) -> tuple[Follower[Row], Kept, Rows]:
    kept, source = Kept(), Rows(last)
    policy = policy or Policy(backoff=Backoff(jitter=lambda: 0.0), batch=batch, pace_s=0.0)
    follower = kept.follower = Follower(source, receiver, policy, kept, cursor=0)
    return follower, kept, source


def run(follower: Follower[Row], steps: int = 100) -> None:
    """Step until nothing is left, without waiting."""
    for _ in range(steps):
        if follower.step() is None:
            return
    raise AssertionError("the follower does not finish")


def wanted(last: int) -> list[int]:
    return [each for each in range(1, last + 1) if each % 3]


def test_rows_are_delivered_once_in_order_and_the_cursor_passes_what_is_not_ours() -> None:
    receiver = Receiver()
    follower, _, source = follow(30, receiver)
    run(follower)
    assert receiver.taken == wanted(30)
    assert follower.cursor == 30
    assert source.settled == sorted(source.settled)
    assert source.settled[-1] == 30


def test_nothing_left_and_a_pause_are_different() -> None:
    follower, _, source = follow(2, Receiver(None, ExportError("away", retryable=True)))
    assert follower.step() == 0.0
    assert follower.step() is None
    source.last = 4
    assert follower.step() == pytest.approx(0.125)
    assert follower.step() == 0.0


def test_a_pause_that_the_receiver_asks_for_is_kept() -> None:
    away = ExportError("busy", retryable=True, retry_after_s=7.0)
    follower, kept, _ = follow(4, Receiver(away, NotYetError(3.0)))
    assert follower.step() == 7.0
    assert follower.step() == 3.0
    assert kept.failures == ["busy"]


def test_a_dead_letter_is_kept_before_the_cursor_passes_it() -> None:
    receiver = Receiver(poison=[4])
    follower, kept, _ = follow(12, receiver)
    run(follower)
    assert kept.dead == [4]
    assert kept.cursor_when_dead == [0]
    assert sorted(receiver.taken) == [each for each in wanted(12) if each != 4]
    assert follower.cursor == 12


def test_an_outage_before_the_verdict_does_not_hold_a_full_batch_for_ever() -> None:
    """The rejected row is the only one left of its batch: it needs others beside it again."""
    poison = 11  # the last row of the first batch
    outage = ExportError("down for a moment", retryable=True)
    receiver = Receiver(poison=[poison])
    attempts = 0
    deliver = receiver.deliver

    def flaky(rows: Sequence[Row]) -> None:
        nonlocal attempts
        if [row.cursor for row in rows] == [poison]:
            attempts += 1
            if attempts == 2:  # just when the row is tried for the second time
                raise outage
        deliver(rows)

    receiver.deliver = flaky  # type: ignore[method-assign]
    follower, kept, _ = follow(30, receiver)
    run(follower)
    assert kept.dead == [poison]
    assert sorted(receiver.taken) == [each for each in wanted(30) if each != poison]


def test_rows_that_were_taken_in_a_bisection_are_not_sent_again_after_a_step() -> None:
    receiver = Receiver(poison=[1])
    receiver.refuses = BareFailureError
    follower, kept, _ = follow(12, receiver)
    run(follower)
    assert kept.dead == [1]
    assert len(receiver.taken) == len(set(receiver.taken))


def test_named_rows_are_dead_and_a_count_without_names_is_counted() -> None:
    error = ExportError("no", retryable=False, rejected_ids=["id 2"], rejected_count=3)
    follower, kept, _ = follow(5, Receiver(error))
    run(follower)
    assert (kept.dead, kept.refused, follower.cursor) == ([2], 3, 5)


def test_going_back_delivers_again() -> None:
    receiver = Receiver()
    follower, _, _ = follow(6, receiver)
    run(follower)
    follower.go_back(3)
    follower.go_back(5)
    assert follower.cursor == 3
    run(follower)
    assert receiver.taken == [*wanted(6), 4, 5]


def test_followers_of_one_receiver_share_its_failures() -> None:
    policy = Policy(backoff=Backoff(jitter=lambda: 1.0), pace_s=0.0)
    receiver = Receiver(*[ExportError("away", retryable=True)] * 2)
    one, _, _ = follow(2, receiver, policy=policy)
    other, _, _ = follow(2, receiver, policy=policy)
    assert one.step() == 0.25
    assert other.step() == 0.5
    assert one.step() == 0.0
    assert policy.backoff.failures == 0


def test_a_source_that_cannot_be_read_is_tried_again() -> None:
    follower, kept, source = follow(2, Receiver())
    working = source.after
    source.after = lambda cursor, limit: (_ for _ in ()).throw(OSError("gone"))  # type: ignore[method-assign]
    assert follower.step() == pytest.approx(0.125)
    source.after = working  # type: ignore[method-assign]
    run(follower)
    assert kept.failures == ["gone"]
    assert follower.cursor == 2
