"""What happens to a lifecycle that does not end as it should, or of which only the end is seen."""

from typing import Any

import pytest
from realm_exporter_otlp.traces.fold import SpanFold
from realm_exporter_otlp.traces.runs import Run
from realm_exporter_otlp.traces.state import Limits, State

from realm_telemetry.event import Event

from .telling import EPOCH, SECOND, Process, by_name, exported, spans_of

DAY_S = 86_400


def test_a_process_that_dies_closes_its_open_spans_with_an_error() -> None:
    """And nobody else's; a training that goes on has the loss of its worker among its events."""
    trainer, worker = Process(1, run_id="r1"), Process(2, run_id="r1")
    spans = by_name(
        spans_of(
            trainer.tell(0, "training_started"),
            worker.tell(1, "job_started", job_id="a"),
            worker.tell(2, "eval_started", skill="add"),
            worker.tell(3, "process_lost", service="w", pid=7, last_kind="eval_started"),
            trainer.tell(4, "training_completed"),
        )
    )
    for name in ("job", "eval add"):
        assert spans[name].status == "error"
        assert "w was lost" in spans[name].status_message
        assert spans[name].attributes["realm.span.end"] == "process_lost"
        assert spans[name].end_unix_nano == EPOCH + 3 * SECOND
    assert spans["training"].status == "ok"
    assert [event.name for event in spans["training"].events] == ["process_lost"]


def test_a_lost_trainer_ends_its_training_and_the_next_one_begins_a_trace() -> None:
    """The run's next training is another attempt, not one beside it."""
    first, second = Process(1, run_id="r1"), Process(2, run_id="r1")
    lost, good = exported(
        [first.tell(0, "training_started")],
        [first.tell(1, "process_lost")],
        [second.tell(2, "training_started"), second.tell(3, "training_completed")],
    )
    assert lost.attributes["realm.span.end"] == "process_lost"
    assert good.parent_id == b""
    assert good.trace_id != lost.trace_id


def test_a_loss_after_the_end_of_the_training_is_a_span_without_length() -> None:
    """A worker of which nothing was open: nothing else would tell of it."""
    trainer, worker = Process(1, run_id="r1"), Process(2, run_id="r1")
    training, lost = spans_of(
        trainer.tell(0, "training_started"),
        trainer.tell(1, "training_completed"),
        worker.tell(2, "process_lost"),
    )
    assert (lost.name, lost.status, lost.parent_id) == ("process_lost", "error", training.span_id)


def test_another_start_of_the_same_job_closes_the_first() -> None:
    """Whoever starts it: the first attempt hangs somewhere, or died unseen."""
    first, second = spans_of(
        Process(1).tell(0, "job_started", job_id="a"),
        Process(2).tell(5, "job_started", job_id="a"),
        Process(2).tell(6, "job_completed", job_id="a"),
    )
    assert (first.status, first.attributes["realm.span.end"]) == ("error", "restarted")
    assert first.end_unix_nano == second.start_unix_nano == EPOCH + 5 * SECOND
    assert second.status == "ok"
    assert first.span_id != second.span_id


def test_a_job_that_goes_back_to_the_queue_ends_with_an_error() -> None:
    """Of a job that has failed already it is no second span."""
    worker = Process()
    retried, failed = spans_of(
        worker.tell(0, "job_started", job_id="a"),
        worker.tell(1, "job_retried", job_id="a", reason="its worker is gone"),
        worker.tell(2, "job_started", job_id="a"),
        worker.tell(3, "job_failed", job_id="a", error="E"),
        worker.tell(4, "job_retried", job_id="a"),
    )
    assert (retried.status, retried.attributes["realm.span.end"]) == ("error", "retried")
    assert failed.attributes["realm.span.end"] == "failed"


@pytest.mark.parametrize("nanoseconds", [-1, 0, 1])
def test_spans_of_a_process_that_is_silent_for_a_day_are_closed(nanoseconds: int) -> None:
    """By the log's arrival times; the end is the last that was heard of it, routine or not."""
    silent, other = Process(1), Process(2)
    spans = exported(
        [silent.tell(0, "job_started", job_id="a"), silent.tell(60, "worker_heartbeat")],
        [other.tell(10, "note", arrives=50 + DAY_S + nanoseconds / SECOND)],
    )
    if nanoseconds <= 0:
        assert spans == []
        return
    [span] = spans
    assert (span.status, span.attributes["realm.span.end"]) == ("error", "silent")
    assert span.end_unix_nano == EPOCH + 60 * SECOND


def test_a_process_that_speaks_again_after_a_day_does_not_undo_it() -> None:
    """Whether others spoke in between must not matter. Its late end is a span of its own."""
    process = Process()
    spans = exported(
        [process.tell(0, "job_started", job_id="a")],
        [process.tell(DAY_S + 1, "job_completed", job_id="a", duration_s=DAY_S + 1)],
    )
    assert [span.attributes["realm.span.end"] for span in spans] == ["silent", "completed"]
    assert spans[1].start_unix_nano == EPOCH


def test_a_training_closed_by_silence_does_not_go_on_with_the_next() -> None:
    """Another process that takes the run up again is its own trace, not one beside the first."""
    silent, next_one = Process(1, run_id="r1"), Process(2, run_id="r1")
    spans = exported(
        [silent.tell(0, "training_started")],
        [next_one.tell(DAY_S + 1, "training_started")],
        [next_one.tell(DAY_S + 2, "training_completed")],
    )
    assert [span.attributes["realm.span.end"] for span in spans] == ["silent", "completed"]
    assert spans[1].parent_id == b""


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_too_many_open_spans_close_those_of_the_quietest_process(extra: int) -> None:
    """Memory is bounded; what is closed for it is sent and says so."""
    quiet, busy = Process(1), Process(2)
    limits = Limits(open_spans=10)
    spans = spans_of(
        quiet.tell(0, "a_started"),
        *(busy.tell(1 + n, "job_started", job_id=str(n)) for n in range(9 + extra)),
        limits=limits,
    )
    if extra <= 0:
        assert spans == []
        return
    [span] = spans
    assert (span.name, span.status) == ("a", "unset")
    assert span.attributes["realm.span.end"] == "too_many_open"


@pytest.mark.parametrize(("seconds", "looks"), [(9.9, 1), (10.0, 1), (10.1, 2)])
def test_a_run_without_a_training_is_looked_for_every_ten_seconds(
    seconds: float, looks: int
) -> None:
    """An eval-only run must not cost a query an event."""
    looked: list[Event] = []

    def find(event: Event) -> Run:
        looked.append(event)
        return Run()

    worker = Process(1, run_id="r1")
    fold = SpanFold(State(), find)
    fold.spans_of([worker.tell(seconds * n / 20, "note") for n in range(21)])
    assert len(looked) == looks


def test_only_what_is_bounded_is_remembered() -> None:
    """Ten times the limits in lifecycles, runs and processes leave no more than the limits."""
    limits = Limits(open_spans=20, runs=10, ended=30, all_span_events=50)
    fold = SpanFold(State(limits))
    for number in range(1, 301):
        process = Process(number, run_id=f"r{number}")
        fold.spans_of(
            [
                process.tell(number, "training_started"),
                process.tell(number, "note"),
                process.tell(number, "job_started", job_id=str(number)),
                process.tell(number, "job_completed", job_id=str(number)),
            ]
        )
    state = fold.state
    # A job began above the limit, and ended.
    assert len(state.open) == 19
    assert set(state.seen) == {span.start.producer for span in state.open.values()}
    assert len(state._runs) == 10
    assert len(state._ended) == 30
    assert state._span_events == sum(len(span.events) for span in state.open.values()) == 19


@pytest.mark.parametrize(
    ("details", "length"),
    [
        ({"duration_s": 1.5}, 1_500_000_000),
        ({"duration_s": 0.000001}, 1_000),
        ({"duration_s": 3}, 3 * SECOND),
        ({}, 0),
        ({"duration_s": "NaN"}, 0),
        ({"duration_s": -1}, 0),
        ({"duration_s": None}, 0),
        ({"duration_s": 1e300}, 0),
    ],
)
def test_an_end_without_a_start_is_as_long_as_it_says(details: dict[str, Any], length: int) -> None:
    """It began before the log, or what it began with has been trimmed; it says so."""
    trainer = Process(run_id="r1")
    [span] = spans_of(trainer.tell(1_000_000, "job_completed", job_id="a", **details))
    assert span.end_unix_nano - span.start_unix_nano == length
    assert span.end_unix_nano == EPOCH + 1_000_000 * SECOND
    assert span.attributes["realm.span.start"] == "missing"
    assert (span.status, span.name) == ("ok", "job")


def test_an_end_that_comes_before_its_start_leaves_nothing_open() -> None:
    """In another batch; in the same one their times put them right."""
    start = Process(1).tell(0, "job_started", job_id="a")
    end = Process(2).tell(1, "job_completed", job_id="a", duration_s=1.0)
    fold = SpanFold(State())
    [span] = fold.spans_of([end])
    assert (fold.spans_of([start]), fold.state.open) == ([], {})
    assert (span.start_unix_nano, span.end_unix_nano) == (EPOCH, EPOCH + SECOND)
    assert len(spans_of(end, start)) == 1


def test_a_second_end_is_no_second_span() -> None:
    """A job that failed and is cancelled then; a checkpoint's lifecycle around its saving."""
    worker = Process()
    spans = spans_of(
        worker.tell(0, "job_started", job_id="a"),
        worker.tell(1, "job_failed", job_id="a", error="E"),
        worker.tell(2, "job_cancelled", job_id="a"),
        worker.tell(3, "checkpoint_started", step=5),
        worker.tell(4, "checkpoint_saved", step=5),
        worker.tell(5, "checkpoint_completed", step=5),
    )
    assert [span.attributes["realm.span.end"] for span in spans] == ["failed", "saved"]


def test_every_saving_of_a_checkpoint_is_a_span() -> None:
    """It seldom has a start, and a second attempt saves the same step again."""
    trainer = Process()
    spans = spans_of(
        trainer.tell(1, "checkpoint_saved", step=5, duration_s=0.5),
        trainer.tell(9, "checkpoint_saved", step=5),
    )
    assert [span.end_unix_nano - span.start_unix_nano for span in spans] == [SECOND // 2, 0]


def test_clocks_that_disagree_make_no_span_that_ends_before_it_starts() -> None:
    """Two hosts: the end comes from one whose clock is behind."""
    [span] = exported(
        [Process(1).tell(10, "job_started", job_id="a")],
        [Process(2).tell(9, "job_completed", job_id="a")],
    )
    assert span.start_unix_nano == span.end_unix_nano == EPOCH + 10 * SECOND


def test_a_clock_that_is_set_back_turns_nothing_around() -> None:
    """Of one process the numbers are the order."""
    worker = Process()
    start, end = (
        worker.tell(10, "job_started", job_id="a"),
        worker.tell(5, "job_completed", job_id="a"),
    )
    [span] = spans_of(end, start)
    assert span.attributes["realm.span.start.event_id"] == start.id


def test_times_before_1970_are_the_earliest_that_a_span_can_have() -> None:
    """OTLP's times are unsigned."""
    worker = Process()
    [span] = spans_of(
        worker.tell(-3e9, "job_started", job_id="a"),
        worker.tell(-3e9 + 1, "job_completed", job_id="a"),
    )
    assert (span.start_unix_nano, span.end_unix_nano) == (0, 0)


def test_what_is_open_when_memory_is_all_there_is_can_be_closed() -> None:
    """In a plain SDK, at its end: at the last that was heard of each."""
    worker = Process()
    fold = SpanFold(State())
    fold.spans_of([worker.tell(0, "job_started", job_id="a"), worker.tell(7, "note")])
    [span] = fold.close_all()
    assert (span.status, span.attributes["realm.span.end"]) == ("unset", "shutdown")
    assert span.end_unix_nano == EPOCH + 7 * SECOND
    assert fold.state.open == {}
