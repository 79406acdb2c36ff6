"""OpenTelemetry processors change events in the shipper's lane, and never their identity."""

from typing import Any

import msgspec
import pytest
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from realm_telemetry.event import Event
from realm_telemetry.otel import apply_log_record_processor

EVENTS = [
    Event("note", "debug", "info", f"message {n}", {"path": "/home/dio", "n": [n]}, n, "ab" * 8, n)
    for n in (1, 2)
]


class Processor(LogRecordProcessor):
    """Base of the processors here: does nothing."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """See the record."""

    def shutdown(self) -> None:
        """Nothing to shut down."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class Redactor(Processor):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        attributes: Any = log_record.log_record.attributes
        attributes["realm.details.path"] = "***"
        attributes["host.name"] = "box"
        log_record.log_record.body = str(log_record.log_record.body).upper()


class Forger(Processor):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        attributes: Any = log_record.log_record.attributes
        attributes.clear()
        log_record.log_record.timestamp = None


class Failing(Processor):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        raise ValueError("a bug")


def test_a_processor_that_does_nothing_changes_nothing() -> None:
    full = msgspec.structs.replace(
        EVENTS[0], details={f"d{n}": n for n in range(96)}, webhooks=("https://hook",)
    )
    assert apply_log_record_processor(Processor(), [full, *EVENTS]) == [full, *EVENTS]


def test_what_a_processor_changes_and_adds_is_in_the_event() -> None:
    first, second = apply_log_record_processor(Redactor(), EVENTS)
    assert first.message == "MESSAGE 1"
    assert first.details == {"path": "***", "n": [1], "host.name": "box"}
    assert second.id == EVENTS[1].id


def test_a_processor_cannot_change_who_an_event_is() -> None:
    event = msgspec.structs.replace(EVENTS[0], webhooks=("https://hook",))
    (after,) = apply_log_record_processor(Forger(), [event])
    assert after.id == event.id
    assert after.webhooks == event.webhooks


def test_the_events_handed_in_stay_as_they_were() -> None:
    apply_log_record_processor(Redactor(), EVENTS)
    assert EVENTS[0].details["path"] == "/home/dio"


def test_what_a_processor_raises_reaches_the_shipper() -> None:
    with pytest.raises(ValueError, match="a bug"):
        apply_log_record_processor(Failing(), EVENTS)
