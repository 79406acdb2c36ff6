"""The rules of every exporter, and life in a plain OpenTelemetry SDK."""

import logging
from importlib.metadata import entry_points
from typing import Any

import grpc
import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.resources import Resource
from realm_exporter_otlp import OtlpExporter

from realm_telemetry.otel import to_log_record
from realm_telemetry.plugins import installed
from realm_telemetry.testing import CASES, Case, Subject, sample_events
from tests.ports import free_port

from .conftest import Make
from .receivers import Answer, HttpReceiver, Receiver


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exporter_keeps_the_rule(
    case: Case, protocol: str, receiver: Receiver, make: Make
) -> None:
    """A receiver knows a record that comes again by its uid."""
    case(
        Subject(
            make=lambda: make(endpoint=receiver.endpoint, protocol=protocol),
            delivered=receiver.uids,
            make_broken=lambda: make(
                endpoint=f"http://127.0.0.1:{free_port()}", protocol=protocol, timeout_s=2
            ),
        )
    )


@pytest.fixture
def in_environment(receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "5")


@pytest.mark.usefixtures("in_environment")
def test_opentelemetry_finds_it_by_a_name_of_its_own(receiver: Receiver) -> None:
    """`otlp` and `otlp_proto_http` are OpenTelemetry's."""
    (point,) = entry_points(group="opentelemetry_logs_exporter", name="realm_otlp")
    exporter: Any = point.load()()
    assert isinstance(exporter, LogRecordExporter)
    assert not vars(exporter)["context"].inside_shipper
    assert exporter.export([]) is LogRecordExportResult.SUCCESS
    exporter.shutdown()
    names = {each.name for each in entry_points(group="opentelemetry_logs_exporter")}
    assert names >= {"otlp_proto_http", "otlp_proto_grpc", "realm_otlp"}


def test_the_names_of_ours_do_not_hide_opentelemetrys() -> None:
    ours = [each for each in installed() if each.name in ("otlp", "realm_otlp")]
    assert {(each.name, each.group, each.status) for each in ours} == {
        ("otlp", "realm_telemetry.exporters", "ok"),
        ("realm_otlp", "opentelemetry_logs_exporter", "ok"),
    }
    theirs = [each for each in installed() if each.name.startswith("otlp_proto")]
    assert {each.status for each in theirs} == {"ok"}


@pytest.mark.usefixtures("in_environment")
def test_any_loggers_records_arrive_from_a_plain_sdk(receiver: Receiver) -> None:
    """As they are, with names, resource and scope: they are no events of ours."""
    provider = LoggerProvider(Resource({"service.name": "foreign"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(OtlpExporter()))
    provider.get_logger("theirs", "1.2").emit(
        LogRecord(
            timestamp=1_764_374_400_000_000_007,
            severity_number=SeverityNumber.WARN2,
            severity_text="odd",
            body="disk is filling",
            attributes={"disk.path": "/data", "sizes": (1, 2)},
            event_name="disk.filling",
        )
    )
    assert provider.force_flush()
    provider.shutdown()
    (arrived,) = receiver.arrived
    found = arrived.attributes
    assert arrived.record.time_unix_nano == 1_764_374_400_000_000_007
    assert arrived.record.body.string_value == "disk is filling"
    assert arrived.record.event_name == "disk.filling"
    assert arrived.record.severity_number == SeverityNumber.WARN2.value
    assert arrived.record.severity_text == "odd"
    assert found == {"disk.path": "/data", "sizes": [1, 2]}
    assert arrived.resource["service.name"] == "foreign"
    assert arrived.scope == "theirs"


@pytest.mark.usefixtures("in_environment")
def test_records_lost_in_a_plain_sdk_are_logged_with_the_reason(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.script.append(Answer(rejected=1, words="too old"))
    exporter = OtlpExporter()
    records = [to_log_record(event) for event in sample_events(2)]
    assert exporter.export(records) is LogRecordExportResult.FAILURE
    exporter.shutdown()
    (reported,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert reported.message.startswith("otlp lost 1 records: ")
    assert "too old" in reported.message


def test_requests_are_not_logged_where_logging_is_exported(
    start_receiver: Any, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Each would bring forth the record that needs the next request."""
    caplog.set_level(logging.DEBUG)
    make(endpoint=start_receiver(HttpReceiver).endpoint).export_events(sample_events(1))
    assert [record.name for record in caplog.records if record.name.startswith("urllib3")] == []


def test_the_doctor_asks_the_receiver(protocol: str, receiver: Receiver, make: Make) -> None:
    """An empty request, which every receiver has to answer with success."""
    exporter = make(endpoint=receiver.endpoint, protocol=protocol)
    reported = list(OtlpExporter.check(exporter.context))
    assert reported == [("ok", f"{exporter._channel.target.shown} answers, {protocol}", "")]
    assert receiver.count() == 0


def test_the_doctor_names_what_is_wrong(protocol: str, receiver: Receiver, make: Make) -> None:
    receiver.script.append(Answer(401, words="no token", code=grpc.StatusCode.UNAUTHENTICATED))
    options = {"endpoint": receiver.endpoint, "protocol": protocol, "timeout_s": 600}
    levels, messages, fixes = zip(*OtlpExporter.check(make(**options).context), strict=True)
    assert levels == ("warning", "warning")
    assert "seconds" in messages[0]
    assert "no token" in messages[1]
    assert "OTEL_EXPORTER_OTLP_HEADERS" in fixes[1]
