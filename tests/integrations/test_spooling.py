"""What our distro's processor makes of the records of other loggers."""

import threading
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

import realm_telemetry as realm
from realm_telemetry.otel import from_log_record, to_log_record
from realm_telemetry.otel.auto.configurator import SpoolingProcessor

from .conftest import Spooled


def logger(resource: dict[str, Any] | None = None, **options: Any) -> Any:
    provider = LoggerProvider(Resource(resource or {}), shutdown_on_exit=False, **options)
    provider.add_log_record_processor(SpoolingProcessor())
    return provider.get_logger("other.library", "2.0")


def test_it_is_the_event_of_the_table_read_backwards(spooled: Spooled) -> None:
    """But for its id, which is a number of this producer's."""
    span = SpanContext(7 << 64 | 7, 9, is_remote=True, trace_flags=TraceFlags(1))
    record = LogRecord(
        timestamp=5,
        context=set_span_in_context(NonRecordingSpan(span), Context()),
        severity_number=SeverityNumber.ERROR2,
        body={"a": [1, None, 2.5]},
        attributes={"key": "k", "deep": {"x": [True]}},
        event_name="app.Thing",
    )
    logger().emit(record)
    (event,) = spooled()
    assert (event.kind, event.severity, event.time_unix_nano) == ("app_thing", "error", 5)
    assert (event.trace_id, event.span_id, event.trace_flags) == (
        f"{7 << 64 | 7:032x}",
        f"{9:016x}",
        1,
    )
    assert event.details["deep"] == {"x": [True]}
    assert event.details["otel.severity_number"] == 18
    assert (event.message, event.number) == ('{"a":[1,null,2.5]}', 1)


def test_an_event_of_ours_comes_back_as_it_was(spooled: Spooled) -> None:
    """Exported by another program as a log record; only the id is new."""
    sent = realm.emit("checkpoint_saved", step=7, loss=0.5, path="c", hero_id="dio")
    logger().emit(to_log_record(sent).log_record)
    first, second = spooled()
    assert first == sent
    assert second.number == 2
    for name in ("kind", "channel", "severity", "message", "details", "hero_id", "source"):
        assert getattr(second, name) == getattr(sent, name)


def test_of_the_resource_only_what_the_producer_does_not_say_is_repeated(spooled: Spooled) -> None:
    telemetry = realm.get_telemetry()
    assert telemetry is not None
    host = telemetry.resource()["host.name"]
    logger({"host.name": host, "cluster": "a", "service.name": "x"}).emit(LogRecord(body="b"))
    (event,) = spooled()
    assert event.details == {"otel.scope.version": "2.0", "otel.resource": {"cluster": "a"}}


@pytest.mark.parametrize(
    ("count", "kept", "cut"), [(90, 91, False), (95, 96, False), (96, 96, True)]
)
def test_more_details_than_an_event_holds_are_cut_and_named(
    count: int, kept: int, cut: bool, spooled: Spooled
) -> None:
    attributes = {f"a{index}": index for index in range(count)}
    logger(log_record_limits=LogRecordLimits(max_attributes=500)).emit(
        LogRecord(body="b", attributes=attributes)
    )
    (event,) = spooled()
    assert len(event.details) == kept
    assert ("realm.truncated" in event.details) == cut


def test_a_body_too_large_for_an_event_is_cut_and_named(spooled: Spooled) -> None:
    logger().emit(LogRecord(body="x" * 100_000))
    (event,) = spooled()
    assert event.details["realm.truncated"] == ["(message)"]
    assert event.message.endswith("x…")


def test_text_that_does_not_encode_is_made_safe(spooled: Spooled) -> None:
    logger().emit(LogRecord(body="lone \ud800", attributes={"k": "\udfff"}))
    (event,) = spooled()
    assert event.message.startswith("lone ")


def test_what_a_thread_of_ours_logs_is_not_kept(spooled: Spooled) -> None:
    """A delivery inside this process must not bring forth the next."""
    thread = threading.Thread(
        target=lambda: logger().emit(LogRecord(body="request")), name="realm-telemetry-otlp"
    )
    thread.start()
    thread.join()
    theirs = threading.Thread(
        target=lambda: logger().emit(LogRecord(body="kept")), name="realm-worker-1"
    )
    theirs.start()
    theirs.join()
    assert [event.message for event in spooled()] == ["kept"]


def test_the_run_of_the_program_is_on_its_records(spooled: Spooled, monkeypatch: Any) -> None:
    monkeypatch.setattr("realm_telemetry.producer.emission.base.run_id", "r9")
    logger().emit(LogRecord(body="b"))
    assert spooled()[0].run_id == "r9"


def test_reading_it_again_gives_the_same(spooled: Spooled) -> None:
    logger().emit(LogRecord(body="b", attributes={"k": 1}))
    (event,) = spooled()
    assert from_log_record(to_log_record(event)) == event
