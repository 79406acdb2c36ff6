"""The log's clock is wrong for a while: what is kept of it, and what retention then believes."""

from pathlib import Path

import pytest

from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.records import Limits
from realm_telemetry.log.sqlite.retention import (
    HELD_FOR_NS,
    KEPT_JUMPS,
    STEP_NS,
    Retention,
    TrustedClock,
    since_boot_ns,
)

from .conftest import HOUR, NOW, SECOND, Clock, make_event

DAY = 24 * HOUR


def marks(reader: LogReader, cursor: int = 0) -> dict[int, int]:
    """The rows that the clock went back before, and their arrivals."""
    return {
        row.cursor: row.set_back_unix_nano
        for row in reader.now.after(cursor)
        if row.set_back_unix_nano is not None
    }


@pytest.mark.parametrize(
    ("step_ns", "kept"),
    [(0, False), (-60 * SECOND, False), (-60 * SECOND - 1, True), (-40 * DAY, True), (DAY, False)],
)
def test_a_step_back_of_over_a_minute_is_kept(
    writer: LogWriter, reader: LogReader, clock: Clock, step_ns: int, kept: bool
) -> None:
    writer.append([make_event(1)])
    clock.now_ns += step_ns
    writer.append([make_event(2), make_event(3)])
    writer.append([make_event(4)])
    assert marks(reader) == ({2: clock.now_ns} if kept else {})
    assert marks(reader, 1) == marks(reader)
    assert marks(reader, 2) == {}


def test_a_repeated_batch_keeps_no_step(writer: LogWriter, reader: LogReader, clock: Clock) -> None:
    writer.append([make_event(1)])
    clock.now_ns -= DAY
    writer.append([make_event(1)])
    assert marks(reader) == {}
    writer.append([make_event(1), make_event(2)])
    (cursor,) = marks(reader)
    row = reader.now.get(cursor)
    assert row is not None
    assert row.event.number == 2


def test_another_writer_notices_the_step(path: Path, clock: Clock) -> None:
    with LogWriter(path, clock_ns=clock) as one, LogReader(path) as reader:
        one.append([make_event(1)])
        with LogWriter(path, clock_ns=lambda: clock.now_ns - DAY) as two:
            two.append([make_event(2)])
        assert list(marks(reader)) == [2]


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize(("step_ns", "kept"), [(70 * SECOND, False), (-HOUR, True)])
def test_a_writer_that_waits_for_its_turn_reads_the_clock_again(
    path: Path, clock: Clock, step_ns: int, others: bool, kept: bool
) -> None:
    """It is stopped after it looked at the clock, for instance; another writer may commit then."""
    looks: list[int] = []

    def stopped() -> int:
        looks.append(clock.now_ns)
        if len(looks) == 1:
            if others:
                clock.now_ns += 70 * SECOND
                two.append([make_event(2)])
            clock.now_ns += step_ns
        return looks[-1]

    with LogWriter(path, clock_ns=clock) as two, LogReader(path) as reader:
        two.append([make_event(1)])
        with LogWriter(path, clock_ns=stopped) as one:
            result = one.append([make_event(3)])
        two.append([make_event(4)])
        last = reader.now.after(0)[-2:]
        assert [row.event.observed_unix_nano for row in last] == [clock.now_ns] * 2
        assert result.observed_unix_nano == clock.now_ns
        assert marks(reader) == ({result.first_cursor: clock.now_ns} if kept else {})


def test_a_short_wait_does_not_change_the_arrival(path: Path) -> None:
    """Rows are made before their turn."""
    waits = (0, SECOND, 2 * SECOND, 3 * SECOND + 1, 4 * SECOND)
    ticks = iter([NOW + wait for wait in waits])
    with LogWriter(path, clock_ns=lambda: next(ticks)) as writer:
        assert writer.append([make_event(1)]).observed_unix_nano == NOW
        assert writer.append([make_event(2)]).observed_unix_nano == NOW + 4 * SECOND


def test_an_address_is_kept_as_long_as_the_row_of_a_writer_that_waited(
    path: Path, clock: Clock
) -> None:
    looks: list[int] = []

    def stopped() -> int:
        looks.append(clock.now_ns)
        if len(looks) == 2:  # once the address is kept
            clock.now_ns += 2 * DAY
        return looks[-1]

    hook = "https://example.org/hook"
    with LogWriter(path, clock_ns=stopped) as writer, LogReader(path) as reader:
        writer.append([make_event(1, webhooks=(hook,))])
        writer.forget_addresses()
        assert [row.event.webhooks for row in reader.now.after(0, webhooks=True)] == [(hook,)]


def test_steps_before_rows_that_are_gone_are_on_the_next_one(
    writer: LogWriter, reader: LogReader, clock: Clock
) -> None:
    for number in range(1, 4):
        writer.append([make_event(number)])
        clock.now_ns -= HOUR
    writer.append([make_event(4)])
    with writer.transaction() as connection:
        connection.execute("DELETE FROM battle_log WHERE id IN (2, 3)")
    assert marks(reader) == {4: clock.now_ns}
    followed = reader.now.follow(1, pipeline="")
    assert followed.rows == []


class Passing:
    """A clock that nobody sets, and the wall clock beside it."""

    def __init__(self) -> None:
        self.passed_ns = 0
        self.wrong_ns = 0

    def pass_(self, ns: int) -> None:
        self.passed_ns += ns

    def wall(self) -> int:
        return NOW + self.passed_ns + self.wrong_ns

    def passed(self) -> int:
        return self.passed_ns

    def trusted(self, begin: int | None = NOW) -> TrustedClock:
        return TrustedClock(self.wall, self.passed, begin)


def test_a_step_forward_is_not_believed_for_a_day() -> None:
    passing = Passing()
    clock = passing.trusted()
    passing.wrong_ns = STEP_NS
    assert clock() == NOW + STEP_NS, "clocks are corrected by as much"
    passing.wrong_ns = 40 * DAY
    assert clock() == NOW + STEP_NS
    passing.pass_(75 * SECOND)
    assert clock() == NOW + STEP_NS + 75 * SECOND
    passing.pass_(HELD_FOR_NS - 75 * SECOND - 1)
    assert clock() == NOW + STEP_NS + HELD_FOR_NS - 1
    passing.pass_(1)
    assert clock() == passing.wall()


def test_a_clock_that_comes_right_is_believed_at_once() -> None:
    passing = Passing()
    clock = passing.trusted()
    passing.wrong_ns = 40 * DAY
    passing.pass_(75 * SECOND)
    assert clock() == NOW + 75 * SECOND
    passing.wrong_ns = 0
    passing.pass_(SECOND)
    assert clock() == passing.wall() == NOW + 76 * SECOND
    passing.wrong_ns = -HOUR
    assert clock() == passing.wall()


@pytest.mark.parametrize(("ahead", "believed"), [(HELD_FOR_NS, True), (HELD_FOR_NS + 1, False)])
def test_at_the_start_the_clock_is_held_against_the_newest_arrival(
    ahead: int, believed: bool
) -> None:
    passing = Passing()
    clock = passing.trusted(NOW - ahead)
    assert clock() == (NOW if believed else NOW - ahead)
    passing.pass_(HELD_FOR_NS)
    assert clock() == passing.wall()
    assert Passing().trusted(None)() == NOW


def test_the_time_since_boot_goes_on() -> None:
    first = since_boot_ns()
    assert 0 < first <= since_boot_ns()


def test_75_seconds_of_a_wrong_clock_trim_nothing(path: Path) -> None:
    passing = Passing()
    with LogWriter(path, clock_ns=passing.wall) as writer, LogReader(path) as reader:
        limits = Limits(max_age_ns=30 * DAY)
        writer.append([make_event(1)])
        retention = Retention(writer, limits, clock_ns=passing.wall, passed_ns=passing.passed)
        passing.wrong_ns = 40 * DAY
        writer.append([make_event(2)])
        for _ in range(75):
            passing.pass_(SECOND)
            assert not retention.due()
            assert retention.step().removed == 0
        passing.wrong_ns = 0
        writer.append([make_event(3)])
        assert retention.step().removed == 0
        assert len(reader.now.after(0)) == 3
        # Rows that arrived under the wrong clock are as old as those around them.
        passing.pass_(30 * DAY + SECOND)
        assert [retention.step().removed for _ in range(2)] == [3, 0]


def test_rows_of_the_wrong_clock_do_not_hold_up_the_bound_of_bytes(
    writer: LogWriter, clock: Clock
) -> None:
    clock.now_ns += 40 * DAY
    writer.append([make_event(number) for number in range(1, 5)])
    clock.now_ns -= 40 * DAY
    writer.append([make_event(5)])
    clock.now_ns += 2 * DAY
    retention = Retention(writer, Limits(max_bytes=1, least_age_ns=DAY), clock_ns=clock)
    assert sum(retention.step().removed for _ in range(5)) == 5


def test_steps_before_the_oldest_row_are_kept_up_to_a_number(
    writer: LogWriter, reader: LogReader, clock: Clock
) -> None:
    steps = KEPT_JUMPS + 20
    writer.append([make_event(0)])
    arrivals = []
    for number in range(1, steps + 1):
        clock.now_ns += 20 * DAY if number == steps - 4 else HOUR
        writer.append([make_event(2 * number)])
        clock.now_ns -= 2 * SECOND + HOUR // 2
        writer.append([make_event(2 * number + 1)])
        arrivals.append(clock.now_ns)
    assert list(marks(reader).values()) == arrivals
    clock.now_ns += 5 * DAY
    retention = Retention(writer, Limits(max_age_ns=10 * DAY), clock_ns=clock)
    while retention.step().more:
        pass
    left = marks(reader, 2 * steps - 9)
    assert list(left.values()) == arrivals[-5:], "those between rows that are left stay"
    assert marks(reader)[reader.now.min_cursor() + 1] == arrivals[steps - 5 - KEPT_JUMPS]
    with writer.transaction() as connection:
        kept = connection.execute("SELECT arrival_unix_nano FROM realm_clock_jumps").fetchall()
    assert [row[0] for row in kept] == arrivals[-5 - KEPT_JUMPS :]
