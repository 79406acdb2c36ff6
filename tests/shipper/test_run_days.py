"""Days of training, simulated: at most one false stall in a thousand days of each pattern."""

import random
from collections.abc import Callable, Iterator

import pytest

from realm_telemetry.shipper.notes import Notes
from realm_telemetry.shipper.watch import WatchSettings, _Pace

DAY_S = 86_400.0
THOUSAND = [pytest.mark.long, pytest.mark.endings, pytest.mark.timeout(900)]
SETTINGS = WatchSettings()
Interval = tuple[float, str]
"""Seconds until the next step, and the phase that they are spent in."""


def steady(chance: random.Random) -> Iterator[Interval]:
    while True:
        yield max(chance.gauss(5, 0.3), 0.1), ""


def jittery(chance: random.Random) -> Iterator[Interval]:
    while True:
        yield chance.lognormvariate(1.5, 0.5), ""


def hiccups(chance: random.Random) -> Iterator[Interval]:
    """A shared file system: one step in 200 waits, a few of them for a minute."""
    while True:
        waits = chance.random() < 0.005
        yield 6 + (min(chance.paretovariate(1.5) * 10, 90.0) if waits else 0.0), ""


def evaluations(chance: random.Random) -> Iterator[Interval]:
    """Every 200 steps, for ten minutes and more; reported as what they are."""
    while True:
        for _ in range(200):
            yield chance.gauss(5, 0.3), ""
        yield chance.uniform(500, 800), "eval"


def checkpoints(chance: random.Random) -> Iterator[Interval]:
    """Every 500 steps a checkpoint of one to two minutes that nobody reports."""
    while True:
        for _ in range(500):
            yield chance.gauss(6, 0.2), ""
        yield chance.uniform(60, 115), ""


def warming_up(chance: random.Random) -> Iterator[Interval]:
    """The first steps compile for minutes."""
    for _ in range(5):
        yield chance.uniform(60, 300), ""
    yield from steady(chance)


PATTERNS: list[Callable[[random.Random], Iterator[Interval]]] = [
    steady,
    jittery,
    hiccups,
    evaluations,
    checkpoints,
    warming_up,
]


def false_stalls(pattern: Callable[[random.Random], Iterator[Interval]], seed: int) -> int:
    """How often a day of a pattern would have been called a stall."""
    pace, now_s, found = _Pace(), 0.0, 0
    for interval_s, phase in pattern(random.Random(seed)):
        if interval_s >= SETTINGS.shortest_s:
            notes = Notes(open_lifecycles=[phase])
            found += interval_s >= pace.threshold_s(notes, SETTINGS)
        now_s += interval_s
        if now_s > DAY_S:
            return found
        pace.step(round(now_s * 1e9))
    raise AssertionError("a pattern never ends")


@pytest.mark.parametrize("days", [5, pytest.param(1000, marks=THOUSAND)])
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
def test_a_day_of_training_is_not_called_a_stall(
    pattern: Callable[[random.Random], Iterator[Interval]], days: int
) -> None:
    assert sum(false_stalls(pattern, seed) for seed in range(days)) <= days / 1000


def test_a_hang_in_each_pattern_is_found() -> None:
    """The simulation can fail: an hour without a step is a stall in all of them."""
    for pattern in PATTERNS:
        pace, now_s = _Pace(), 0.0
        for _, (interval_s, _phase) in zip(range(700), pattern(random.Random(1)), strict=False):
            now_s += interval_s
            pace.step(round(now_s * 1e9))
        notes = Notes()
        assert pace.threshold_s(notes, SETTINGS) <= 3600, pattern.__name__
