"""The exporters' base class in a plain OpenTelemetry SDK, and its life from open to shutdown."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource

from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.event import Event
from realm_telemetry.otel import EventExporter, to_log_record
from realm_telemetry.plugins import ExporterContext

EVENT = Event("note", "debug", "info", "hello", {"n": 1}, 5, "ab" * 8, 1)
RECORD = to_log_record(EVENT)


class Recording(EventExporter):
    """Keeps what it is given; raises what a test asks for, once each."""

    name = "recording"
    defaults: ClassVar[dict[str, Any]] = {"colour": "red", "size": 1.0}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[str] = []
        self.events: list[Event] = []
        self.failures: list[Exception] = []

    def open(self) -> None:
        self.calls.append("open")

    def deliver(self, events: Sequence[Event]) -> None:
        self.calls.append("deliver")
        if self.failures:
            raise self.failures.pop(0)
        self.events += events

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture(autouse=True)
def realm_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    return tmp_path


def context(tmp_path: Path, **options: Any) -> ExporterContext:
    return ExporterContext(home=tmp_path, log_path=tmp_path / "jobs.db", options=options)


def test_it_is_opened_by_the_first_events_and_closed_once() -> None:
    exporter = Recording()
    exporter.export_events([])
    exporter.export_events([EVENT])
    exporter.export_events([EVENT])
    exporter.shutdown()
    exporter.shutdown()
    assert exporter.calls == ["open", "deliver", "deliver", "close"]


def test_after_shutdown_events_are_refused_for_a_later_run() -> None:
    exporter = Recording()
    exporter.shutdown()
    with pytest.raises(ExportError, match="shut down") as caught:
        exporter.export_events([EVENT])
    assert caught.value.retryable
    assert exporter.export([RECORD]) is LogRecordExportResult.FAILURE


def test_an_operating_system_error_is_an_export_error_worth_another_try() -> None:
    exporter = Recording()
    exporter.failures = [OSError(28, "No space left on device")]
    with pytest.raises(ExportError, match="No space left") as caught:
        exporter.export_events([EVENT])
    assert caught.value.retryable


def test_the_plain_sdk_tries_again_for_a_short_while() -> None:
    exporter = Recording()
    exporter.failures = [ExportError("busy", retryable=True, retry_after_s=0.01)] * 2
    assert exporter.export([RECORD]) is LogRecordExportResult.SUCCESS
    assert exporter.events == [EVENT]


def test_the_plain_sdk_learns_why_a_batch_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Recording()
    exporter.failures = [ExportError("no such place", retryable=False)]
    assert exporter.export([RECORD]) is LogRecordExportResult.FAILURE
    assert "recording lost 1 records: no such place" in caplog.text
    assert exporter.force_flush() is False


def test_a_long_retry_after_is_not_slept_through() -> None:
    exporter = Recording()
    exporter.failures = [ExportError("later", retryable=True, retry_after_s=3600)]
    assert exporter.export([RECORD]) is LogRecordExportResult.FAILURE


def test_shutdown_ends_a_wait_between_tries() -> None:
    exporter = Recording()
    exporter.failures = [ExportError("busy", retryable=True, retry_after_s=4.0)] * 9
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(exporter.export([RECORD])))
    thread.start()
    while "deliver" not in exporter.calls:
        threading.Event().wait(0.001)
    exporter.shutdown()
    thread.join(2)
    assert results == [LogRecordExportResult.FAILURE]


@pytest.mark.parametrize("processor", [SimpleLogRecordProcessor, BatchLogRecordProcessor])
def test_it_works_in_a_plain_logger_provider(processor: Callable[[Any], Any]) -> None:
    exporter = Recording()
    resource = Resource({"service.name": "app", "service.instance.id": "7"})
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    provider.add_log_record_processor(processor(exporter))
    provider.get_logger("scope").emit(LogRecord(body="hello", attributes={"k": ["v"]}))
    assert provider.force_flush()
    provider.shutdown()
    (event,) = exporter.events
    assert (event.message, event.source) == ("hello", "scope")
    assert event.details == {"k": ["v"], "otel.resource": dict(resource.attributes)}
    assert exporter.calls[-1] == "close"


def test_options_are_checked_and_defaulted(tmp_path: Path) -> None:
    assert Recording.from_context(context(tmp_path, size=2)).options == {"colour": "red", "size": 2}
    with pytest.raises(ConfigError, match=r"options\.recording\.color.*Did you mean 'colour'"):
        Recording.from_context(context(tmp_path, color="blue"))
    with pytest.raises(ConfigError, match=r"colour: needs str, got 7"):
        Recording({"colour": 7})


def test_a_plain_sdk_reads_its_options_from_realm_toml(realm_home: Path) -> None:
    (realm_home / "realm.toml").write_text('[options.recording]\ncolour = "green"\n')
    exporter = Recording()
    assert exporter.options["colour"] == "green"
    assert not exporter.context.inside_shipper
    assert Recording({"colour": "blue"}).options["colour"] == "blue"
