"""The exporter between a real log and a real receiver: what is sent, and what after a failure."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1 import trace_pb2
from realm_exporter_otlp.traces import history

from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.event import Event
from realm_telemetry.plugins import Batch, ExporterContext, load_exporter
from realm_telemetry.testing import CASES, Case, Subject

from .conftest import Log, Make, Receiver, plain
from .telling import EPOCH, SECOND, Process


def a_run() -> list[Event]:
    """A training with a job that fails, as two processes tell it."""
    trainer, worker = Process(1, run_id="r1"), Process(2, run_id="r1")
    return [
        trainer.tell(0, "training_started", model="m"),
        worker.tell(1, "job_started", job_id="a", job_type="eval"),
        trainer.tell(2, "lr_changed", learning_rate=0.1),
        worker.tell(3, "job_failed", job_id="a", error="no", error_type="OSError", traceback="T"),
        trainer.tell(4, "training_completed", loss=0.25),
    ]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_keeps_the_rules_of_all_exporters(case: Case, make: Make, log: Log) -> None:
    """Which events have been sent cannot be asked: they are in spans that have not ended."""
    case(Subject(make=make))


def test_spans_arrive_whole(make: Make, log: Log, receiver: Receiver) -> None:
    """Ids, times, status, attributes of their types, events, and each producer's resource."""
    resources = {Process(1).id: {"service.name": "trainer", "process.pid": 7}}
    batch = Batch(log.store(a_run()), lambda producer: resources.get(producer, {}))
    make().export_events(batch)
    assert receiver.paths == ["/v1/traces"]
    training, job = receiver.named()["training"], receiver.named()["job eval"]
    span = training.span
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (EPOCH, EPOCH + 4 * SECOND)
    assert (len(span.trace_id), len(span.span_id), span.parent_span_id) == (16, 8, b"")
    assert span.status.code == trace_pb2.Status.STATUS_CODE_OK
    assert span.kind == trace_pb2.Span.SPAN_KIND_INTERNAL
    assert training.resource["service.name"] == "trainer"
    assert training.attributes["realm.details.loss"] == 0.25
    [changed] = span.events
    assert (changed.name, changed.time_unix_nano) == ("lr_changed", EPOCH + 2 * SECOND)
    assert job.span.parent_span_id == span.span_id
    assert job.span.trace_id == span.trace_id
    assert (job.span.status.code, job.span.status.message) == (2, "no")
    assert plain(job.span.events[0].attributes)["exception.stacktrace"] == "T"
    assert job.resource == {"realm.producer.id": Process(2).id}


def test_nothing_is_sent_while_nothing_ends(make: Make, log: Log, receiver: Receiver) -> None:
    """A receiver that is away does not hold up what would not be sent to it anyway."""
    receiver.script.extend([503] * 5)
    make().export_events(log.store(a_run()[:3]))
    assert receiver.paths == []


def test_a_failed_request_is_made_again_from_the_state_before_it(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """Whichever way the batch is cut then."""
    events = log.store(a_run())
    exporter = make()
    exporter.export_events(events[:2])
    receiver.script.extend([503, 429])
    for part in (events[2:], events[2:4]):
        with pytest.raises(ExportError) as caught:
            exporter.export_events(part)
        assert caught.value.retryable
    assert receiver.arrived == []
    exporter.export_events(events[2:])
    assert [event.name for event in receiver.named()["training"].span.events] == ["lr_changed"]


@pytest.mark.parametrize("cut", range(1, 5))
@pytest.mark.parametrize("overlap", [0, 1])
def test_open_lifecycles_survive_a_restart(
    make: Make, log: Log, receiver: Receiver, cut: int, overlap: int
) -> None:
    """They are folded again out of the log, also where the last batch comes again."""
    events = log.store(a_run())
    whole = Process(9)
    make().export_events(events)
    expected = {each.span.SerializeToString() for each in receiver.arrived}
    assert len(expected) == 2
    receiver.requests.clear()
    make().export_events(events[:cut])
    make().export_events([*events[max(cut - overlap, 0) :], *log.store([whole.tell(9, "note")])])
    assert {each.span.SerializeToString() for each in receiver.arrived} == expected


def test_an_exporter_that_is_set_back_makes_the_same_spans_again(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """`realm replay --to otlp_traces` sets the cursor of a running shipper back."""
    events = log.store(a_run())
    exporter = make()
    exporter.export_events(events)
    exporter.export_events(events)
    exporter.export_events(events[3:])
    messages = [each.span.SerializeToString() for each in receiver.arrived]
    assert len(messages) == 6
    assert len(set(messages)) == 2


def test_only_events_of_the_own_pipeline_are_folded_again(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """Those of others have exporters of their own."""
    other, mine = Process(5), Process(6)
    log.store([other.tell(0, "job_started", job_id="a")], pipeline="p2")
    end = log.store([mine.tell(1, "job_completed", job_id="a")])
    make().export_events(end)
    assert receiver.named()["job"].attributes["realm.span.start"] == "missing"


@pytest.mark.parametrize(
    ("pipeline", "replayed", "begun"),
    [("p2", False, True), ("import", False, False), ("p2", True, False)],
)
def test_a_service_folds_all_pipelines_but_old_events(
    make: Make, log: Log, receiver: Receiver, pipeline: str, replayed: bool, begun: bool
) -> None:
    """Imported and replayed events are history: no exporter gets them."""
    start = Process(5).tell(0, "job_started", job_id="a")
    log.store([start], pipeline=pipeline, replayed=replayed)
    end = log.store([Process(6).tell(1, "job_completed", job_id="a")])
    make(pipeline="").export_events(end)
    assert ("realm.span.start" not in receiver.named()["job"].attributes) is begun


def test_a_job_finds_its_training_though_it_ended_before_the_restart(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """The log remembers the runs; so it does for a worker in another pipeline."""
    run = log.store(a_run())
    make().export_events(run)
    worker = Process(3, run_id="r1")
    late = [worker.tell(8, "job_started", job_id="z"), worker.tell(9, "job_completed", job_id="z")]
    make(pipeline="p2").export_events(log.store(late, pipeline="p2"))
    spans = receiver.named()
    assert spans["job"].span.parent_span_id == spans["training"].span.span_id
    assert spans["job"].span.trace_id == spans["training"].span.trace_id


def test_the_last_of_several_trainings_is_found_in_the_log(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """Also where one process began anew without an end."""
    trainer, worker = Process(1, run_id="r1"), Process(3, run_id="r1")
    log.store([trainer.tell(0, "training_started"), trainer.tell(1, "training_started")])
    make().export_events(log.store([trainer.tell(2, "training_completed")]))
    job = [worker.tell(3, "job_started", job_id="z"), worker.tell(4, "job_completed", job_id="z")]
    make(pipeline="p2").export_events(log.store(job, pipeline="p2"))
    spans = receiver.named()
    assert spans["job"].span.parent_span_id == spans["training"].span.span_id
    assert spans["training"].span.start_time_unix_nano == EPOCH + SECOND


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_a_training_that_arrives_after_a_job_has_started_is_not_its_parent(
    make: Make, log: Log, receiver: Receiver, restart: bool, together: bool
) -> None:
    """Whenever it is looked at: an eval of the job may have been sent by then."""
    trainer, worker = Process(1, run_id="r1"), Process(3, run_id="r1")
    events = log.store(
        [
            worker.tell(1, "job_started", job_id="a"),
            trainer.tell(0, "training_started", arrives=2),
            worker.tell(3, "job_completed", job_id="a"),
        ]
    )
    exporter = make()
    if not together:
        for event in events[:2]:
            exporter.export_events([event])
        events = events[2:]
    (make() if restart else exporter).export_events(events)
    assert receiver.named()["job"].span.parent_span_id == b""


def test_a_start_that_has_been_trimmed_leaves_the_end_s_duration(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """Retention, or a log that keeps no history."""
    worker = Process(2)
    start = log.store([worker.tell(0, "job_started", job_id="a")])
    make().export_events(start)
    with log.writer.transaction() as connection:
        connection.execute("DELETE FROM battle_log")
    make().export_events(log.store([worker.tell(5, "job_completed", job_id="a", duration_s=5.0)]))
    span = receiver.named()["job"].span
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (EPOCH, EPOCH + 5 * SECOND)


@pytest.mark.parametrize(("rows", "found"), [(4, False), (5, True), (6, True)])
def test_a_bounded_number_of_starts_and_ends_is_read_back(
    make: Make,
    log: Log,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    found: bool,
) -> None:
    """The newest of them; what began before is an end without a start."""
    monkeypatch.setattr(history, "MAX_ROWS", rows)
    trainer, worker = Process(1, run_id="r1"), Process(2)
    log.store([trainer.tell(0, "training_started"), worker.tell(0, "job_started", job_id="a")])
    for n in range(4):
        log.store([worker.tell(1 + n, "job_completed", job_id=str(n))])
        log.store([worker.tell(1 + n, "eval_completed", skill="x"), worker.tell(1 + n, "note")])
    make().export_events(
        log.store(
            [worker.tell(20, "job_completed", job_id="a"), trainer.tell(20, "training_completed")]
        )
    )
    spans = receiver.named()
    assert ("realm.span.start" not in spans["job"].attributes) is found
    assert "realm.span.start" not in spans["training"].attributes


@pytest.mark.parametrize(("hours", "why"), [(23.9, "completed"), (24.1, "silent")])
def test_who_was_silent_before_a_restart_is_found_silent_after_it(
    make: Make, log: Log, receiver: Receiver, hours: float, why: str
) -> None:
    """Routine events count as signs of life though they are not read back."""
    worker, other = Process(2), Process(3)
    log.store([worker.tell(0, "job_started", job_id="a")])
    log.store([worker.tell(3600 * 12, "worker_heartbeat", worker_id="w")])
    log.store([worker.tell(3600 * 30, "worker_heartbeat", worker_id="w")])
    log.store([other.tell(3600 * 31, "note")])
    exporter = make()
    exporter.export_events(log.store([other.tell(3600 * (30 + hours), "note")]))
    end = 3600 * (30 + hours) + 1
    exporter.export_events(log.store([worker.tell(end, "job_completed", job_id="a")]))
    first = receiver.arrived[0]
    assert first.attributes["realm.span.end"] == why
    assert first.span.start_time_unix_nano == EPOCH


def test_what_was_closed_for_silence_before_a_restart_stays_closed(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """It has been sent; a training among it is not one that the run's next would join."""
    silent, other = Process(2, run_id="r1"), Process(3, run_id="r1")
    day_s = 86_400
    begun = [silent.tell(0, "training_started"), silent.tell(1, "job_started", job_id="a")]
    exporter = make()
    exporter.export_events(log.store(begun))
    exporter.export_events(log.store([Process(4).tell(day_s + 2, "note")]))
    assert {each.attributes["realm.span.end"] for each in receiver.arrived} == {"silent"}
    receiver.requests.clear()
    after = [
        silent.tell(day_s + 3, "job_completed", job_id="a"),
        other.tell(day_s + 4, "training_started"),
        other.tell(day_s + 5, "training_completed"),
    ]
    make().export_events(log.store(after))
    spans = receiver.named()
    assert spans["job"].attributes["realm.span.start"] == "missing"
    assert spans["training"].span.parent_span_id == b""


def test_a_span_that_is_refused_costs_no_other(make: Make, log: Log, receiver: Receiver) -> None:
    """The request goes in halves, the refused span is counted, and the cursor goes on."""
    receiver.refused_names.add("job eval")
    events = log.store(a_run())
    exporter = make()
    exporter.export_events(log.store([Process(4).tell(-1, "checkpoint_saved", step=0)]))
    receiver.requests.clear()
    with pytest.raises(ExportError, match="refused 1 spans") as caught:
        exporter.export_events(events)
    assert (caught.value.retryable, caught.value.rejected_count) == (False, 1)
    # The one that it had taken came again, to see whether it takes anything.
    assert [each.span.name for each in receiver.arrived] == ["checkpoint", "training"]
    exporter.export_events(log.store([Process(4).tell(9, "checkpoint_saved", step=1)]))
    assert [each.span.name for each in receiver.arrived][2:] == ["checkpoint"]


@pytest.mark.parametrize("taken_before", [False, True])
def test_a_receiver_that_refuses_everything_is_waited_for(
    make: Make, log: Log, receiver: Receiver, taken_before: bool
) -> None:
    """Status 500 may mean a span or the receiver: nothing is given up while it takes nothing."""
    exporter = make()
    if taken_before:
        exporter.export_events(log.store([Process(4).tell(-1, "checkpoint_saved", step=0)]))
    events = log.store(a_run())
    receiver.script.extend([500, 500, 500, 500])
    for _ in range(2):
        with pytest.raises(ExportError) as caught:
            exporter.export_events(events)
        assert caught.value.retryable
    assert not receiver.script
    receiver.requests.clear()
    exporter.export_events(events)
    assert set(receiver.named()) == {"job eval", "training"}


def test_a_refused_span_is_found_among_many(make: Make, log: Log, receiver: Receiver) -> None:
    """All others are there, though some of them more than once."""
    receiver.refused_names.add("bad")
    worker = Process(2)
    kinds = [f"{'bad' if n in (5, 11) else f'good{n}'}_completed" for n in range(16)]
    events = log.store([worker.tell(n, kind, id=str(n)) for n, kind in enumerate(kinds)])
    with pytest.raises(ExportError, match="refused 2 spans") as caught:
        make().export_events(events)
    assert caught.value.rejected_count == 2
    assert len({each.span.span_id for each in receiver.arrived}) == 14
    assert len(receiver.arrived) == 14


def test_a_partial_success_is_reported(make: Make, log: Log, receiver: Receiver) -> None:
    """By the protocol nothing of it is sent again."""
    receiver.rejected, receiver.words = 1, "one is too old"
    with pytest.raises(ExportError, match="one is too old") as caught:
        make().export_events(log.store(a_run()))
    assert (caught.value.retryable, caught.value.rejected_count) == (False, 1)


def test_words_with_a_full_success_are_a_warning_once(
    make: Make, log: Log, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The protocol lets a receiver warn so."""
    receiver.words = "use gzip"
    exporter = make()
    with caplog.at_level(logging.WARNING):
        exporter.export_events(log.store(a_run()))
        exporter.export_events(log.store([Process(4).tell(9, "checkpoint_saved", step=1)]))
    assert [record.getMessage() for record in caplog.records] == [
        f"{receiver.endpoint}/v1/traces warns: use gzip"
    ]


def test_spans_over_the_size_of_a_request_go_in_several(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """And one that no request can carry is counted as refused."""
    worker = Process(2)
    saved = [worker.tell(n, "checkpoint_saved", step=n, path="x" * 400) for n in range(8)]
    saved.append(worker.tell(9, "checkpoint_saved", step=9, path="x" * 9000))
    with pytest.raises(ExportError, match="over max_request_bytes") as caught:
        make(max_request_bytes=2_000).export_events(log.store(saved))
    assert caught.value.rejected_count == 1
    assert len(receiver.arrived) == 8
    assert len(receiver.requests) > 2


def test_in_a_plain_sdk_open_spans_are_sent_at_the_end(make: Make, receiver: Receiver) -> None:
    """There is no log to find them in again."""
    exporter = make(inside_shipper=False)
    exporter.export_events(a_run()[:4])
    exporter.shutdown()
    spans = receiver.named()
    assert set(spans) == {"job eval", "training"}
    assert spans["training"].attributes["realm.span.end"] == "shutdown"
    assert spans["job eval"].span.parent_span_id == spans["training"].span.span_id


def test_in_a_shipper_nothing_open_is_sent_at_the_end(
    make: Make, log: Log, receiver: Receiver
) -> None:
    """The next shipper goes on with it."""
    exporter = make()
    exporter.export_events(log.store(a_run()[:2]))
    exporter.shutdown()
    assert receiver.arrived == []


@pytest.mark.parametrize("seconds", [0.0, 0.999, -5.0, 366 * 86_400.0 + 1])
def test_a_silence_that_makes_no_sense_is_refused(make: Make, seconds: float) -> None:
    """With the name of the option."""
    with pytest.raises(ConfigError, match="silent_after_s"):
        make(silent_after_s=seconds)


@pytest.mark.parametrize("seconds", [1.0, 366 * 86_400.0])
def test_the_shortest_and_longest_silence_are_taken(make: Make, seconds: float) -> None:
    """Both ends of what is allowed."""
    make(silent_after_s=seconds)


def test_a_log_that_is_not_there_is_waited_for(home: Path, make: Make) -> None:
    """With words for a person."""
    with pytest.raises(ExportError, match="jobs") as caught:
        make().export_events(a_run())
    assert caught.value.retryable


def test_it_says_what_it_thinks_of_the_receiver(home: Path, receiver: Receiver) -> None:
    """For `realm doctor`."""
    exporter: Any = type(
        load_exporter("otlp_traces", context(home, endpoint=receiver.endpoint, timeout_s=1.0))
    )
    checks = list(exporter.check(context(home, endpoint=receiver.endpoint)))
    assert [level for level, *_ in checks] == ["ok"]
    receiver.script.append(404)
    checks = list(exporter.check(context(home, endpoint=receiver.endpoint)))
    assert checks[0][0] == "warning"
    assert "404" in checks[0][1]


def context(home: Path, **options: Any) -> ExporterContext:
    return ExporterContext(
        home=home, log_path=home / "vault" / "jobs.db", options=options, environment={}
    )


def test_a_real_plain_sdk_sends_spans(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from OpenTelemetry's variables there."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from realm_exporter_otlp.traces import OtlpTracesExporter

    from realm_telemetry.otel import to_log_record

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(OtlpTracesExporter()))
    logger = provider.get_logger("realm")
    records: Sequence[Any] = [to_log_record(event) for event in a_run()]
    for record in records:
        logger.emit(record.log_record)
    provider.shutdown()
    spans = receiver.named()
    assert set(spans) == {"job eval", "training"}
    assert spans["job eval"].span.parent_span_id == spans["training"].span.span_id
