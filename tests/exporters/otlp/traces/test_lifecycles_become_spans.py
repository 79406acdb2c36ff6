"""A start and an end that share their key are one span; what is in between belongs to it."""

from typing import Any

import pytest
from realm_exporter_otlp.traces.lifecycles import LIFECYCLES, phase_of
from realm_exporter_otlp.traces.spans import MAX_ATTRIBUTES, MAX_EVENT_DETAILS, MAX_EVENT_TEXT
from realm_exporter_otlp.traces.state import Limits

from realm_telemetry.kinds.table import KIND_METADATA, ROUTINE_KINDS

from .telling import EPOCH, SECOND, Process, by_name, exported, spans_of


def test_a_job_is_one_span_with_its_events_times_and_details() -> None:
    """Both times to the nanosecond, details of both ends, the end's winning."""
    worker = Process(run_id="r1", hero_id="dio")
    start = worker.tell(1.000000001, "job_started", job_id="a", job_type="eval", attempt=1)
    end = worker.tell(3.5, "job_completed", job_id="a", attempt=2, accuracy=0.5)
    [span] = spans_of(start, end)
    assert span.name == "job eval"
    assert span.start_unix_nano == EPOCH + SECOND + 1
    assert span.end_unix_nano == EPOCH + 3 * SECOND + SECOND // 2
    assert (span.status, span.parent_id, span.producer) == ("ok", b"", worker.id)
    assert span.attributes == {
        "realm.run.id": "r1",
        "realm.hero.id": "dio",
        "realm.lifecycle": "job",
        "realm.span.start.event_id": start.id,
        "realm.span.end": "completed",
        "realm.span.end.event_id": end.id,
        "realm.details.job_id": "a",
        "realm.details.job_type": "eval",
        "realm.details.attempt": 2,
        "realm.details.accuracy": 0.5,
    }


def test_a_failed_job_has_status_error_and_the_exception() -> None:
    """The exception is a span event by OpenTelemetry's conventions, and is not repeated."""
    worker = Process()
    [span] = spans_of(
        worker.tell(0, "job_started", job_id="a"),
        worker.tell(2, "job_failed", job_id="a", error="no", error_type="OSError", traceback="T"),
    )
    assert (span.status, span.status_message) == ("error", "no")
    [exception] = span.events
    assert exception.name == "exception"
    assert exception.time_unix_nano == EPOCH + 2 * SECOND
    assert exception.attributes == {
        "exception.type": "OSError",
        "exception.message": "no",
        "exception.stacktrace": "T",
    }
    assert "realm.details.error" not in span.attributes


def test_a_failure_without_an_error_says_its_message() -> None:
    """There is no exception to show then."""
    worker = Process()
    [span] = spans_of(
        worker.tell(0, "job_started", job_id="a"),
        worker.tell(2, "job_failed", "It went wrong", job_id="a"),
    )
    assert (span.status, span.status_message, span.events) == ("error", "It went wrong", ())


def test_a_cancelled_job_is_neither_good_nor_bad() -> None:
    """Somebody wanted it so; the attribute says how it ended."""
    worker = Process()
    [span] = spans_of(
        worker.tell(0, "job_started", job_id="a"), worker.tell(2, "job_cancelled", job_id="a")
    )
    assert (span.status, span.attributes["realm.span.end"]) == ("unset", "cancelled")


def test_a_job_may_be_ended_by_another_process() -> None:
    """A scheduler or `realm emit` in a shell script: the job's id is enough."""
    [span] = spans_of(
        Process(1).tell(0, "job_started", job_id="a"),
        Process(2).tell(2, "job_completed", job_id="a"),
    )
    assert (span.producer, span.status) == (Process(1).id, "ok")


def test_a_run_is_a_tree_of_training_jobs_evals_and_checkpoints() -> None:
    """The training is the root, whichever process a job or checkpoint comes from."""
    trainer, worker = Process(1, run_id="r1"), Process(2, run_id="r1")
    spans = by_name(
        spans_of(
            trainer.tell(0, "training_started", model="m"),
            trainer.tell(1, "checkpoint_saved", step=10, loss=0.5),
            worker.tell(2, "job_started", job_id="a"),
            worker.tell(3, "eval_started", skill="add", level=1),
            worker.tell(4, "eval_completed", skill="add", level=1, accuracy=1.0),
            worker.tell(5, "job_completed", job_id="a"),
            trainer.tell(6, "training_completed"),
        )
    )
    training = spans["training"]
    assert training.parent_id == b""
    assert spans["checkpoint"].parent_id == training.span_id
    assert spans["job"].parent_id == training.span_id
    assert spans["eval add"].parent_id == spans["job"].span_id
    assert {span.trace_id for span in spans.values()} == {training.trace_id}


@pytest.mark.parametrize("end", ["evaluation_finished", "evaluation_completed"])
def test_an_evaluation_of_the_loop_is_a_child_of_its_training(end: str) -> None:
    """However it was emitted: by the two kinds, or by `lifecycle("evaluation")`."""
    trainer = Process(1, run_id="r1")
    spans = by_name(
        spans_of(
            trainer.tell(0, "training_started"),
            trainer.tell(1, "evaluation_started", step=10),
            trainer.tell(3, end, step=10, accuracy=0.5),
            trainer.tell(4, "training_completed"),
        )
    )
    assert spans["evaluation"].parent_id == spans["training"].span_id
    assert spans["evaluation"].status == "ok"


def test_children_are_there_before_the_training_ends() -> None:
    """A long training can be watched: its children name it as parent though it is not sent yet."""
    trainer = Process(run_id="r1")
    early = exported(
        [trainer.tell(0, "training_started"), trainer.tell(1, "checkpoint_saved", step=1)]
    )
    assert [span.name for span in early] == ["checkpoint"]
    late = exported([trainer.tell(0, "training_started")], [trainer.tell(9, "training_completed")])
    assert len(late) == 1
    assert len(early[0].parent_id) == 8


def test_a_job_after_the_end_of_its_training_is_still_its_child() -> None:
    """The last checkpoints are measured when the training is over."""
    trainer, worker = Process(1, run_id="r1"), Process(2, run_id="r1")
    spans = by_name(
        exported(
            [trainer.tell(0, "training_started"), trainer.tell(1, "training_completed")],
            [worker.tell(2, "job_started", job_id="a")],
            [worker.tell(3, "job_completed", job_id="a")],
        )
    )
    assert spans["job"].parent_id == spans["training"].span_id


def test_a_second_training_of_a_run_is_a_trace_of_its_own() -> None:
    """And what comes then belongs to it, by the time at which it began."""
    first, second, worker = (Process(number, run_id="r1") for number in (1, 2, 3))
    spans = spans_of(
        first.tell(0, "training_started"),
        first.tell(1, "training_failed", error="no"),
        second.tell(2, "training_started"),
        worker.tell(3, "job_started", job_id="a"),
        worker.tell(4, "job_completed", job_id="a"),
        second.tell(5, "training_completed"),
    )
    failed, job, good = spans
    assert failed.trace_id != good.trace_id
    assert (job.trace_id, job.parent_id) == (good.trace_id, good.span_id)


def test_processes_that_train_together_are_one_trace() -> None:
    """The first to begin is the root; the others are its children, however they end."""
    ranks = [Process(number, run_id="r1") for number in (1, 2, 3)]
    spans = spans_of(
        *(rank.tell(at, "training_started", rank=at) for at, rank in enumerate(ranks)),
        *(rank.tell(9 - at, "training_completed", rank=at) for at, rank in enumerate(ranks)),
    )
    by_rank = {span.attributes["realm.details.rank"]: span for span in spans}
    assert by_rank[0].parent_id == b""
    assert {by_rank[1].parent_id, by_rank[2].parent_id} == {by_rank[0].span_id}


def test_two_jobs_of_one_process_stand_side_by_side() -> None:
    """A worker with threads: a job is never the child of another one."""
    worker = Process(run_id="r1")
    spans = spans_of(
        worker.tell(0, "training_started"),
        worker.tell(1, "job_started", job_id="a"),
        worker.tell(2, "job_started", job_id="b"),
        worker.tell(3, "eval_started", skill="add", suite="a"),
        worker.tell(4, "eval_completed", skill="add", suite="a"),
        worker.tell(5, "job_completed", job_id="a"),
        worker.tell(6, "job_completed", job_id="b"),
        worker.tell(7, "training_completed"),
    )
    evaluation, a, b, training = spans
    assert a.parent_id == b.parent_id == training.span_id
    assert evaluation.parent_id == a.span_id


def test_evals_of_the_same_skill_differ_by_level_suite_and_process() -> None:
    """Each end finds its own start."""
    one, two = Process(1, run_id="r1"), Process(2, run_id="r1")
    places = [(one, 1, "s"), (one, 2, "s"), (one, 1, "t"), (two, 1, "s")]
    starts = [
        p.tell(n, "eval_started", skill="x", level=v, suite=s) for n, (p, v, s) in enumerate(places)
    ]
    ends = [p.tell(9, "eval_completed", skill="x", level=v, suite=s) for p, v, s in places]
    spans = spans_of(*starts, *ends)
    pairs = {span.attributes["realm.span.start.event_id"]: span for span in spans}
    for start, end in zip(starts, ends, strict=True):
        assert pairs[start.id].attributes["realm.span.end.event_id"] == end.id


def test_an_eval_may_be_ended_by_another_process_if_its_own_has_none() -> None:
    """A pool of processes: the one that collects the result tells it."""
    [span] = spans_of(
        Process(1, run_id="r1").tell(0, "eval_started", skill="x", level=1),
        Process(2, run_id="r1").tell(1, "eval_completed", skill="x", level=1),
    )
    assert (span.producer, span.status) == (Process(1).id, "ok")


def test_a_lifecycle_of_ones_own_without_an_id_is_not_ended_by_another_process() -> None:
    """Many processes upload something; which upload ended only its own process knows."""
    one, two = Process(1), Process(2)
    spans = spans_of(
        one.tell(0, "upload_started"),
        two.tell(1, "upload_completed"),
        one.tell(2, "upload_failed", error="E"),
    )
    assert [(span.producer, span.status) for span in spans] == [(two.id, "ok"), (one.id, "error")]


def test_what_a_process_does_for_another_run_is_not_in_the_span_of_the_first() -> None:
    """A worker that serves several runs at once."""
    worker = Process(1)
    spans = spans_of(
        worker.tell(0, "job_started", job_id="a", run_id="r1"),
        worker.tell(1, "note", run_id="r2"),
        worker.tell(2, "eval_started", skill="x", run_id="r2"),
        worker.tell(3, "eval_completed", skill="x", run_id="r2"),
        worker.tell(4, "note", "without any run"),
        worker.tell(5, "job_completed", job_id="a", run_id="r1"),
    )
    evaluation, job = spans
    assert evaluation.parent_id == b""
    assert [event.attributes["realm.message"] for event in job.events] == ["without any run"]


def test_other_events_are_span_events_of_the_innermost_span() -> None:
    """With their own names and times; a pause and its end are two of them."""
    trainer, worker = Process(1, run_id="r1"), Process(2, run_id="r1")
    spans = by_name(
        spans_of(
            trainer.tell(0, "training_started"),
            trainer.tell(1, "training_paused", reason="thermal"),
            trainer.tell(2, "training_resumed"),
            worker.tell(3, "job_claimed", job_id="a"),
            worker.tell(4, "job_started", job_id="a"),
            worker.tell(5, "note", "Hm", job_id="a"),
            trainer.tell(5.5, "note", "From the trainer", job_id="a"),
            worker.tell(6, "job_completed", job_id="a"),
            trainer.tell(7, "training_completed"),
        )
    )
    names = [event.name for event in spans["training"].events]
    assert names == ["training_paused", "training_resumed", "job_claimed"]
    paused = spans["training"].events[0]
    assert paused.time_unix_nano == EPOCH + SECOND
    assert paused.attributes["realm.details.reason"] == "thermal"
    assert [event.attributes["realm.message"] for event in spans["job"].events] == [
        "Hm",
        "From the trainer",
    ]


def test_routine_events_are_in_no_span() -> None:
    """They are thousands, and logs and metrics have them."""
    trainer = Process()
    for kind in ROUTINE_KINDS:
        [span] = spans_of(
            trainer.tell(0, "training_started"),
            trainer.tell(1, kind),
            trainer.tell(2, "training_completed"),
        )
        assert (span.events, span.dropped_events) == ((), 0)


def test_an_event_after_its_training_has_been_sent_is_a_span_without_length() -> None:
    """A span event cannot be added any more; one that is an error is a span that is one."""
    trainer = Process(run_id="r1")
    spans = exported(
        [trainer.tell(0, "training_started"), trainer.tell(1, "training_completed")],
        [
            trainer.tell(2, "title_earned", title="Sage"),
            trainer.tell(3, "error_occurred", error="E"),
        ],
    )
    training, title, error = spans
    assert (title.name, title.parent_id) == ("title_earned", training.span_id)
    assert title.start_unix_nano == title.end_unix_nano == EPOCH + 2 * SECOND
    assert title.attributes["realm.span.start"] == "none"
    assert (title.status, error.status, error.status_message) == ("unset", "error", "Error: E")


def test_an_event_that_belongs_nowhere_is_no_span() -> None:
    """A note of a process without any lifecycle is a log record, and that is all."""
    assert spans_of(Process(1).tell(0, "note"), Process(2, run_id="r9").tell(1, "note")) == []


def test_a_lifecycle_of_ones_own_is_a_span_and_holds_others() -> None:
    """`lifecycle("distill")`; without an id it is its process's only one of that name."""
    process = Process()
    spans = by_name(
        spans_of(
            process.tell(0, "distill_started", teacher="t"),
            process.tell(1, "eval_started", skill="add"),
            process.tell(2, "eval_completed", skill="add"),
            process.tell(3, "distill_failed", error="E", error_type="ValueError"),
        )
    )
    assert spans["eval add"].parent_id == spans["distill"].span_id
    assert spans["distill"].status == "error"
    assert spans["distill"].attributes["realm.lifecycle"] == "distill"


def test_a_training_is_a_root_also_inside_a_lifecycle_of_ones_own() -> None:
    """What belongs to a run must find its root by the run alone."""
    process = Process(run_id="r1")
    spans = by_name(
        spans_of(
            process.tell(0, "campaign_started", campaign_id="c"),
            process.tell(1, "training_started"),
            process.tell(2, "training_completed"),
            process.tell(3, "campaign_completed", campaign_id="c"),
        )
    )
    assert spans["training"].parent_id == b""
    assert spans["training"].trace_id != spans["campaign"].trace_id


def test_a_lifecycle_in_the_program_s_own_span_is_its_child() -> None:
    """And what is inside ours is in the same trace, also in other processes of the run."""
    trace, above = "a1" * 16, "b2" * 8
    trainer, worker = Process(1, run_id="r1"), Process(2, run_id="r1")
    spans = by_name(
        spans_of(
            trainer.tell(0, "training_started", trace_id=trace, span_id=above, trace_flags=1),
            worker.tell(1, "job_started", job_id="a"),
            worker.tell(2, "job_completed", job_id="a"),
            trainer.tell(3, "training_completed"),
        )
    )
    assert spans["training"].parent_id == bytes.fromhex(above)
    assert spans["job"].parent_id == spans["training"].span_id
    assert {span.trace_id.hex() for span in spans.values()} == {trace}
    assert {span.flags for span in spans.values()} == {1}


@pytest.mark.parametrize("trace", ["0" * 32, "a1" * 15, "zz" * 16, ""])
def test_a_trace_id_that_is_none_is_not_taken(trace: str) -> None:
    """Zeros, a wrong length and what is not hexadecimal (W3C Trace Context, 3.2.2.3)."""
    worker = Process()
    [span] = spans_of(
        worker.tell(0, "job_started", job_id="a", trace_id=trace, span_id="b2" * 8),
        worker.tell(1, "job_completed", job_id="a"),
    )
    assert span.parent_id == b""
    assert len(span.trace_id) == 16


@pytest.mark.parametrize("count", [127, 128, 129])
def test_a_span_keeps_its_last_128_events_and_counts_the_others(count: int) -> None:
    """As the SDK's spans do."""
    trainer = Process()
    notes = [trainer.tell(1 + n / 1000, "note", f"{n}") for n in range(count)]
    start = Process().tell(0, "training_started")
    [span] = spans_of(start, *notes, trainer.tell(9, "training_completed"))
    assert len(span.events) == min(count, 128)
    assert span.dropped_events == max(count - 128, 0)
    assert span.events[-1].attributes["realm.message"] == f"{count - 1}"


@pytest.mark.parametrize(("count", "kept"), [(4, 4), (5, 5), (6, 5)])
def test_all_open_spans_together_keep_a_bounded_number_of_events(count: int, kept: int) -> None:
    """Above it new ones are left out and counted; there is room again once a span ends."""
    one, two, three = Process(1), Process(2), Process(3)
    spans = by_name(
        spans_of(
            one.tell(0, "a_started"),
            one.tell(0.5, "note", "first"),
            two.tell(1, "b_started"),
            *(two.tell(2 + n, "note") for n in range(count - 1)),
            one.tell(50, "a_completed"),
            three.tell(51, "c_started"),
            three.tell(52, "note"),
            three.tell(53, "c_completed"),
            two.tell(60, "b_completed"),
            limits=Limits(all_span_events=5),
        )
    )
    assert len(spans["a"].events) + len(spans["b"].events) == kept
    assert spans["b"].dropped_events == count - kept
    assert len(spans["c"].events) == 1


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_attributes_are_capped_and_the_rest_counted(over: int) -> None:
    """A span has 128 attributes; what a span event keeps is small."""
    worker = Process()
    own = 4  # lifecycle, both event ids, and how it ended
    details: dict[str, Any] = {f"d{n}": n for n in range(MAX_ATTRIBUTES - own + over)}
    few: dict[str, Any] = {f"d{n}": n for n in range(MAX_EVENT_DETAILS + over)}
    [span] = spans_of(
        worker.tell(0, "a_started"),
        worker.tell(1, "note", "x" * (MAX_EVENT_TEXT + over), **few),
        worker.tell(2, "a_completed", **details),
    )
    assert len(span.attributes) == MAX_ATTRIBUTES + min(over, 0)
    assert span.dropped_attributes == max(over, 0)
    [event] = span.events
    assert len(event.attributes) == 4 + MAX_EVENT_DETAILS + min(over, 0)
    assert event.dropped_attributes == max(over, 0)
    assert len(event.attributes["realm.message"]) == MAX_EVENT_TEXT + min(over, 0)


def test_every_built_in_kind_of_a_lifecycle_is_in_the_table() -> None:
    """A kind that the catalog adds to one must not be forgotten here."""
    phases = {kind for kind in KIND_METADATA if phase_of(kind) is not None}
    edges = ("_started", "_completed", "_finished", "_failed", "_cancelled")
    expected = {kind for kind in KIND_METADATA if kind.endswith(edges)}
    expected -= {"server_started", "run_started"}
    assert phases == expected - {"assertion_failed"} | {"job_retried", "checkpoint_saved"}
    assert set(LIFECYCLES) == {"training", "job", "eval", "evaluation", "checkpoint"}
