"""Folds under wrong clocks: the newest value wins, in any order of folding."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import AHEAD_NS, UNDERWAY_NS, lowered, stamp_of
from realm_telemetry.folds.state import RealmState

SECOND = 1_000_000_000
NOW = 1_764_374_400 * SECOND
DAY = 86_400 * SECOND
PRODUCERS = ("00000000000000aa", "ffffffffffffffff")


class Row(NamedTuple):
    cursor: int
    event: Event
    set_back_unix_nano: int | None = None


def step(number: int, time: int, arrival: int | None, producer: str = PRODUCERS[0]) -> Event:
    details = {"step": number, "loss": 1.0 / number}
    return Event(
        "training_step", "training", "info", "", details, time, producer, number,
        run_id="r1", observed_unix_nano=arrival,
    )  # fmt: skip


def shown_step(state: RealmState) -> int:
    return int(state.section("training", NOW)["step"])


def test_a_wrong_clock_of_the_log_freezes_nothing() -> None:
    state = RealmState()
    wrong = NOW + 40 * DAY
    rows = [Row(1, step(1, NOW, NOW))]
    rows += [Row(n, step(n, wrong + n * SECOND, wrong + n * SECOND)) for n in range(2, 77)]
    state.take(rows)
    assert shown_step(state) == 76
    back = NOW + 77 * SECOND
    # Its own time is before its arrival, as always.
    state.take([Row(77, step(77, back - 5_000_000, back), back)])
    assert shown_step(state) == 77
    again = RealmState.load(state.dump())
    again.take([Row(78, step(78, back + SECOND, back + SECOND))])
    assert shown_step(again) == 78
    assert again.section("training", NOW)["best_loss"] == 1.0 / 78


def test_a_producers_clock_that_is_ahead_freezes_nothing() -> None:
    state = RealmState()
    state.take([Row(1, step(1, NOW + 40 * DAY, NOW))])
    state.take([Row(2, step(2, NOW + SECOND - 5_000_000, NOW + SECOND))])
    assert shown_step(state) == 2
    # One that stays ahead is shown, in its own order.
    for number in range(3, 6):
        arrival = NOW + number * SECOND
        state.take([Row(number, step(number, NOW + 40 * DAY + number, arrival, PRODUCERS[1]))])
    assert shown_step(state) == 5


@pytest.mark.parametrize(("ahead", "changed"), [(AHEAD_NS, False), (AHEAD_NS + 1, True)])
def test_clocks_may_differ_by_a_minute(ahead: int, changed: bool) -> None:
    stamp = stamp_of(step(1, NOW + ahead, NOW))
    assert (stamp[0] == NOW - UNDERWAY_NS) is changed
    assert stamp_of(step(1, NOW + ahead, None))[0] == NOW + ahead, "it has not arrived yet"


_stamps = st.tuples(
    st.integers(-(2**63), 2**63 - 1) | st.integers(NOW - 3, NOW + 3),
    st.sampled_from(PRODUCERS),
    st.integers(1, 2**64 - 1),
)


@given(_stamps, _stamps, st.integers(NOW - 4, NOW + 4))
def test_lowering_keeps_the_order(
    one: tuple[int, str, int], two: tuple[int, str, int], at: int
) -> None:
    arrival = at + UNDERWAY_NS
    low, high = sorted((one, two))
    assert (lowered(low, arrival) < lowered(high, arrival)) == (low < high)
    assert lowered(high, arrival)[0] <= at
    assert lowered((-0.5, *low), arrival) == (-0.5, *lowered(low, arrival))


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Rows of a log whose clock, and whose producers' clocks, are set now and then."""
    clock, rows = NOW, []
    wrong = dict.fromkeys(PRODUCERS, 0)
    for cursor in range(1, draw(st.integers(2, 30)) + 1):
        before = clock
        clock += draw(st.sampled_from([1, SECOND, 70 * SECOND, 40 * DAY, -90 * SECOND, -39 * DAY]))
        # No two of its steps lead to the same instant.
        clock += cursor
        producer = draw(st.sampled_from(PRODUCERS))
        wrong[producer] = draw(st.sampled_from([wrong[producer], 0, 50 * DAY, -DAY]))
        event = step(cursor, clock - draw(st.integers(0, 5)) + wrong[producer], clock, producer)
        if draw(st.booleans()):
            event = replace(
                event, kind="worker_heartbeat", channel="jobs", details={"worker_id": "w"}
            )
        rows.append(Row(cursor, event, clock if clock < before - 60 * SECOND else None))
    return rows


def in_order(rows: Sequence[Row]) -> RealmState:
    state = RealmState()
    state.take(rows)
    return state


@settings(deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_any_order_of_folding_gives_the_same_state(rows: list[Row], dice: random.Random) -> None:
    """Each row is lowered by the steps that came after it; then all are merged as they come."""
    parts = []
    for row in rows:
        part = RealmState()
        part.apply(row.event, row.cursor)
        for later in rows:
            if later.cursor > row.cursor and later.set_back_unix_nano is not None:
                part.set_back(later.set_back_unix_nano)
        parts.append(part)
    dice.shuffle(parts)
    merged = RealmState()
    for part in parts:
        merged.merge(part)
    assert merged.dump() == in_order(rows).dump()


@settings(deadline=None)
@given(histories(), st.data())
def test_a_snapshot_in_between_changes_nothing(rows: list[Row], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows)))
    state = RealmState.load(in_order(rows[:at]).dump())
    state.take(rows)
    assert state.dump() == in_order(rows).dump()
