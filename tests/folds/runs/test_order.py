"""A run depends on the set of its events alone: shuffles and splits change nothing."""

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_telemetry.event import FIRST_CONTENT_NUMBER, Event
from realm_telemetry.folds.clock import stamp_of
from realm_telemetry.folds.runs import RunRecord, shown
from realm_telemetry.folds.runs.latest import Latest
from realm_telemetry.folds.runs.spans import Spans
from realm_telemetry.kinds.catalog import resolve

UNTIMED = settings(deadline=None)  # a busy machine is not a defect
NOW_NS = 2_000_000_000_000_000_000
SECOND = 1_000_000_000
FEW = st.sampled_from(["a", "b", "c", "d"])
KINDS = (
    *("run_started", "run_config", "training_started", "training_step", "training_paused"),
    *("training_completed", "training_failed", "checkpoint_saved", "run_stalled", "run_ended"),
    *("run_resumed_progress", "loss_not_finite", "loss_spiked", "uncaught_exception"),
    *("host_lost", "host_heard_again"),
    *("fatal_signal", "process_lost", "note", "exception", "eval_completed", "training_step"),
    "evaluation_finished",
)


def sixteen(letter: str) -> str:
    """A producer's id."""
    return letter * 16


DETAILS = st.fixed_dictionaries(
    {},
    optional={
        "step": st.integers(0, 9),
        "total_steps": st.integers(0, 9),
        "loss": st.one_of(st.floats(0, 3), st.sampled_from(["NaN", "Infinity"])),
        "status": st.sampled_from(["completed", "failed", "killed", "terminated"]),
        "reason": FEW,
        "error": st.sampled_from(["a", "connection closed", "c"]),
        "thread": st.sampled_from(["MainThread", "other"]),
        "traceback": FEW,
        "exception.type": FEW,
        "attempt": st.integers(1, 2),
        "world_size": st.integers(1, 4),
        "command": FEW,
        "path": FEW,
        "silent_s": st.floats(0, 9),
        "field": FEW,
        "value": FEW,
        "lr": st.one_of(st.floats(0, 1), FEW, st.just("NaN"), st.just(10**301)),
        "grads": st.dictionaries(FEW, st.integers(0, 9), max_size=2),
        "host": FEW,
        "runs": st.lists(
            st.fixed_dictionaries(
                {"run_id": st.just("r1"), "producers": st.lists(FEW.map(sixteen))}
            ),
            max_size=2,
        ),
    },
)


@st.composite
def events_of_a_run(draw: st.DrawFn) -> list[Event]:
    """Events with distinct ids of few processes and times."""
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=40))
    return [make_event(kind, number, draw) for number, kind in enumerate(kinds, 1)]


def make_event(kind: str, number: int, draw: Any) -> Event:
    channel, severity = resolve(kind)
    by_shipper = draw(st.booleans())
    return Event(
        kind,
        channel,
        severity,
        kind,
        draw(DETAILS),
        NOW_NS - draw(st.integers(0, 40)) * 3 * SECOND,
        draw(FEW) * 16,
        number + (FIRST_CONTENT_NUMBER if by_shipper else 0),
        run_id=draw(st.one_of(st.none(), st.just("r1"))),
        rank=draw(st.one_of(st.none(), st.integers(0, 2))),
    )


def small(limit: int | None) -> RunRecord:
    """A record whose bounds are low enough to be reached by a few events."""
    record = RunRecord()
    if limit is not None:
        for records in (record.processes, record.checkpoints, record.config):
            records.limit = limit
        record.pace = Spans(10 * SECOND, limit, first=1, last=1)
        record.exceptions = Spans(60 * SECOND, limit, first=2, last=0)
        record.numbers = Latest(limit)
    return record


def fold(events: list[Event], limit: int | None = None) -> RunRecord:
    record = small(limit)
    for event in events:
        record.apply(event, stamp_of(event), "r1")
    return record


LIMITS = st.sampled_from([1, 2, 3, None])


@UNTIMED
@given(events_of_a_run(), LIMITS, st.randoms(use_true_random=False))
def test_any_order_gives_the_same_record(
    events: list[Event], limit: int | None, chance: random.Random
) -> None:
    shuffled = chance.sample(events, len(events))
    assert fold(shuffled, limit).dump() == fold(events, limit).dump()


@UNTIMED
@given(events_of_a_run(), LIMITS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_any_split_merges_to_the_same_record(
    events: list[Event], limit: int | None, parts: int, chance: random.Random
) -> None:
    heaps: list[list[Event]] = [[] for _ in range(parts)]
    for event in events:
        chance.choice(heaps).append(event)
    merged = small(limit)
    for heap in heaps:
        merged.merge(fold(heap, limit))
    assert merged.dump() == fold(events, limit).dump()


@UNTIMED
@given(events_of_a_run())
def test_a_loaded_record_is_the_same_and_reading_it_changes_nothing(events: list[Event]) -> None:
    record = fold(events)
    loaded = RunRecord.load(record.dump())
    run = shown("r1", loaded)
    assert msgspec.json.decode(msgspec.json.encode(run)) == run == shown("r1", record)
    assert loaded.dump() == record.dump()


@UNTIMED
@given(st.lists(st.integers(0, 300), unique=True), st.randoms(use_true_random=False))
def test_of_each_span_the_ends_are_kept_and_of_all_spans_the_newest(
    times: list[int], chance: random.Random
) -> None:
    spans = Spans(10, 3, first=1, last=1)
    for time in chance.sample(times, len(times)):
        spans.add((time, "a", 1), time)
    expected: list[int] = []
    for span in sorted({time // 10 for time in times})[-3:]:
        inside = sorted(time for time in times if time // 10 == span)
        expected += [inside[0], *inside[1:][-1:]]
    assert [value for _, value in spans.read()] == expected
