"""Curves depend on the set of events alone: shuffles, splits and steps of the clock."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_telemetry.event import Event
from realm_telemetry.folds.curves import RunCurves, record
from realm_telemetry.folds.curves.strand import Column, Strand

UNTIMED = settings(deadline=None)  # a busy machine is not a defect
NOW_NS = 2_000_000_000_000_000_000
SECOND = 1_000_000_000
VALUES = st.one_of(
    st.floats(-3, 3).map(lambda value: value + 0.0),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "text", None, True]),
)
KINDS = st.sampled_from(["training_step", "evaluation_finished", "reward", "lr_changed"])
NAMES = st.sampled_from(["loss", "a", "train/acc", "long_name", "learning_rate", "nested"])


@st.composite
def events_of_a_run(draw: st.DrawFn) -> list[Event]:
    """Events of few processes, ranks, steps and names."""
    kinds = draw(st.lists(KINDS, max_size=60))
    return [make_event(kind, number, draw) for number, kind in enumerate(kinds, 1)]


def make_event(kind: str, number: int, draw: Any) -> Event:
    details: dict[str, Any] = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    if "nested" in details:
        details["nested"] = {"x": details["nested"]}
    step = draw(st.one_of(st.none(), st.integers(-5, 60), st.floats(0, 9), st.just("x")))
    if step is not None:
        details["step"] = step
    rank = draw(st.sampled_from([None, 0, 1, 2]))
    producer = f"{draw(st.integers(0, 2)):016x}"
    time_ns = NOW_NS + draw(st.integers(0, 90)) * SECOND
    return Event(
        kind, "training", "info", "", details, time_ns, producer, number, run_id="r1", rank=rank
    )


def fold(events: Sequence[Event]) -> RunCurves:
    found = RunCurves()
    for event in events:
        found.add(event)
    return found


@pytest.fixture(params=["wide", "narrow"], scope="module", autouse=True)
def bounds(request: pytest.FixtureRequest) -> Any:
    """Bounds as they are, and so low that a few events reach them."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "narrow":
            patch.setattr(record, "MAX_CURVES", 3)
            patch.setattr(record, "MAX_BUCKETS", 8)
            patch.setattr(record, "MIN_BUCKETS", 2)
            patch.setattr(record, "ALL_BUCKETS", 16)
            patch.setattr(record, "MAX_PROCESSES", 2)
            patch.setattr(record, "CHUNK", 4)
        yield


@UNTIMED
@given(events_of_a_run(), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_curves(events: list[Event], chance: random.Random) -> None:
    shuffled = chance.sample(events, len(events))
    assert fold(shuffled).dump() == fold(events).dump()


@UNTIMED
@given(events_of_a_run(), st.lists(st.integers(0, 60), max_size=4))
def test_parts_merge_into_the_whole_also_when_stored(events: list[Event], cuts: list[int]) -> None:
    whole, merged = fold(events).dump(), RunCurves()
    ends = [0, *sorted(cuts), len(events)]
    for begin, end in pairwise(ends):
        part = fold(events[begin:end])
        merged.merge(RunCurves.load(part.dump()) if end % 2 else part)
    assert merged.dump() == whole
    assert RunCurves.load(whole).dump() == whole


@UNTIMED
@given(events_of_a_run(), st.integers(0, 60), st.integers(0, 90))
def test_a_step_of_the_clock_lowers_each_event_alone_or_all_together(
    events: list[Event], at: int, limit_s: int
) -> None:
    """Rows before the step are lowered by it, wherever they are folded."""
    arrival = NOW_NS + limit_s * SECOND
    together = fold(events[:at])
    together.set_back(arrival)
    for event in events[at:]:
        together.add(event)
    alone = fold(events[at:])
    for event in reversed(events[:at]):
        one = fold([event])
        one.set_back(arrival)
        alone.merge(one)
    assert alone.dump() == together.dump()


def test_no_spike_of_a_million_steps_disappears() -> None:
    dice = random.Random(1)
    steps = 100_000
    values = [dice.random() for _ in range(steps)]
    values[12_345], values[77_777] = 1_000.0, -1_000.0
    strand = Strand()
    for start in range(0, steps, 200):
        part = range(start, start + 200)
        strand.add(Column(part, part, values[start : start + 200], part))
        strand.limit(512)
    found = strand.read()
    assert 256 <= len(found) <= 512
    assert (1_000.0, 12_345) in [bucket[8:10] for bucket in found]
    assert (-1_000.0, 77_777) in [bucket[6:8] for bucket in found]
    assert sum(bucket.points for bucket in found) == steps
    assert (found[0].first, found[-1].last) == (values[0], values[-1])
