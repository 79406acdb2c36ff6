"""However a stream is cut into batches, retried and restarted, the spans are the same."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realm_exporter_otlp.traces.fold import SpanFold
from realm_exporter_otlp.traces.ids import span_id, trace_id
from realm_exporter_otlp.traces.runs import Run, run_of
from realm_exporter_otlp.traces.spans import Span
from realm_exporter_otlp.traces.state import Limits, State

from realm_telemetry.event import Event

from .telling import Process

LIMITS = Limits(open_spans=6, span_events=3, all_span_events=12, silent_after_ns=200_000_000_000)

KINDS = (
    *("training_started", "training_completed", "training_failed", "training_paused"),
    *("job_started", "job_completed", "job_failed", "job_retried", "job_claimed"),
    *("eval_started", "eval_completed", "eval_regression", "checkpoint_saved"),
    *("distill_started", "distill_failed", "note", "training_step", "process_lost"),
)


@st.composite
def stories(draw: st.DrawFn) -> list[Event]:
    """Up to 60 events of four processes in two runs, and one without a run, in their order."""
    processes = [Process(n, run_id=f"r{n % 2}") for n in range(1, 5)] + [Process(5)]
    lost: set[str] = set()
    events: list[Event] = []
    at = 0.0
    for _ in range(draw(st.integers(1, 60))):
        process = draw(st.sampled_from(processes))
        if process.id in lost:
            continue
        at += draw(st.sampled_from([0.000001, 0.5, 3.0, 90.0]))
        kind = draw(st.sampled_from(KINDS))
        names: dict[str, Any] = {
            "job_id": draw(st.sampled_from("ab")),
            "skill": draw(st.sampled_from("xy")),
        }
        traced: dict[str, Any] = (
            {"trace_id": "a1" * 16, "span_id": "b2" * 8} if draw(st.booleans()) else {}
        )
        events.append(process.tell(at, kind, "", **names, **(traced if at < 5 else {})))
        if kind == "process_lost":
            lost.add(process.id)
    return events


def in_the_log(events: list[Event]) -> Callable[[Event], Run]:
    """Find runs among the events, as the exporter does in the log."""

    def find(event: Event) -> Run:
        return run_of(e for e in events[: events.index(event)] if e.run_id == event.run_id)

    return find


def split(events: list[Event], chance: random.Random) -> Iterator[list[Event]]:
    """Cut into batches of any size, each of them in any order."""
    position = 0
    while position < len(events):
        end = position + chance.randint(1, 20)
        batch = events[position:end]
        chance.shuffle(batch)
        yield batch
        position = end


def plain(spans: list[Span]) -> list[str]:
    return sorted(repr(span) for span in spans)


@given(stories(), st.integers(0, 2**32))
@settings(max_examples=settings().max_examples * 3 // 5, deadline=None)
def test_any_split_and_any_order_within_a_batch_give_the_same_spans(
    events: list[Event], seed: int
) -> None:
    """Whether all at once or one by one."""
    find = in_the_log(events)
    at_once = SpanFold(State(LIMITS), find).spans_of(events)
    cut = SpanFold(State(LIMITS), find)
    spans = [span for batch in split(events, random.Random(seed)) for span in cut.spans_of(batch)]
    assert plain(spans) == plain(at_once)


@given(stories(), st.integers(0, 2**32))
@settings(max_examples=settings().max_examples * 2 // 5, deadline=None)
def test_a_retry_and_a_restart_give_the_same_spans(events: list[Event], seed: int) -> None:
    """A failed batch begins again from the state before it; a restart folds what was before it."""
    find = in_the_log(events)
    expected = SpanFold(State(LIMITS), find).spans_of(events)
    chance = random.Random(seed)
    state, spans, position = State(LIMITS), [], 0
    for batch in split(events, chance):
        while chance.random() < 0.3:
            SpanFold(state.copy(), find).spans_of(batch)  # and then its request fails
        if chance.random() < 0.3:
            restarted = SpanFold(State(LIMITS), find)
            restarted.spans_of(events[:position])
            state = restarted.state
        fold = SpanFold(state.copy(), find)
        spans += fold.spans_of(batch)
        state = fold.state
        position += len(batch)
    assert plain(spans) == plain(expected)


@given(stories())
@settings(max_examples=settings().max_examples * 2 // 5, deadline=None)
def test_spans_are_well_formed(events: list[Event]) -> None:
    """Ids of their lengths and only once, ends after starts, parents in the same trace."""
    spans = SpanFold(State(LIMITS), in_the_log(events)).spans_of(events)
    assert len({span.span_id for span in spans}) == len(spans)
    traces = {span.span_id: span.trace_id for span in spans}
    for span in spans:
        assert (len(span.trace_id), len(span.span_id), len(span.parent_id) in (0, 8)) == (
            16,
            8,
            True,
        )
        assert any(span.trace_id)
        assert any(span.span_id)
        assert span.start_unix_nano <= span.end_unix_nano
        assert span.parent_id != span.span_id
        assert traces.get(span.parent_id, span.trace_id) == span.trace_id
        assert len(span.events) <= LIMITS.span_events + 1  # and the exception


def test_ids_are_those_of_the_documentation() -> None:
    """They are part of the contract: a replay by a later version must make the same trace."""
    event = Process(1).tell(0, "job_started", job_id="a")
    assert event.id == "00000000000000010000000000000001"
    assert trace_id(event).hex() == "81dccaa3bdaa366814b9d0b4f7bfb1c6"
    assert span_id(event).hex() == "8a5acdc14b912344"


@pytest.mark.parametrize("numbers", [range(1, 3000)])
def test_ids_of_neighbours_differ_in_the_bits_that_samplers_look_at(numbers: range) -> None:
    """Samplers take the low 7 bytes of a trace id for random; half of them is under the middle."""
    process = Process(1)
    low = [trace_id(process.tell(0, "note"))[-7] for _ in numbers]
    assert 0.45 < sum(byte < 128 for byte in low) / len(low) < 0.55
