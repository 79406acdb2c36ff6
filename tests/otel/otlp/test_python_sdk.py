"""OpenTelemetry's own Python SDK as client: its logging handler, its exporter, its traces."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from realm_telemetry.service import RealmServer
from tests.waiting import wait_until

from .conftest import stored

RESOURCE = Resource.create({"service.name": "shop", "service.instance.id": "s-1"})


@contextmanager
def sdk(
    server: RealmServer, *, resource: Resource = RESOURCE, **options: Any
) -> Iterator[LoggerProvider]:
    """An SDK that sends to the service, flushed at the end."""
    exporter = OTLPLogExporter(endpoint=f"{server.url}/v1/logs", **options)
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    try:
        yield provider
    finally:
        provider.shutdown()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_records_arrive_whole_and_in_both_views(
    server: RealmServer, client: httpx.Client, compression: Compression
) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    with sdk(server, compression=compression) as provider:
        logger = provider.get_logger("shop.cart", "1.0")
        with tracer.start_as_current_span("checkout") as span:
            logger.emit(
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                body="card refused",
                attributes={"amount": 12.5, "tries": (1, 2), "by": {"bank": "b", "code": 51}},
                event_name="card.refused",
            )
        for number in range(2_000):
            logger.emit(body=f"line {number}", severity_number=SeverityNumber.INFO)
    assert client.get("/api/battle_log?limit=1").headers["x-total-count"] == "2001"
    (event,) = client.get("/api/battle_log?kind=card_refused").json()
    assert (event["severity"], event["message"]) == ("warning", "card refused")
    assert event["details"]["by"] == {"bank": "b", "code": 51}
    assert (event["details"]["amount"], event["details"]["tries"]) == (12.5, [1, 2])
    assert event["details"]["otel.resource"]["service.instance.id"] == "s-1"
    assert event["details"]["otel.scope.version"] == "1.0"
    context = span.get_span_context()
    assert event["trace_id"] == f"{context.trace_id:032x}"
    assert event["span_id"] == f"{context.span_id:016x}"
    live = client.get("/api/events?kind=card_refused").json()["events"]
    assert [each["id"] for each in live] == [event["id"]]


def test_a_bridge_of_logging_shows_the_logger_the_line_and_the_exception(
    server: RealmServer, client: httpx.Client
) -> None:
    """As `logging` with OpenTelemetry's handler does it: the attributes are its conventions."""
    with sdk(server) as provider:
        logger = logging.Logger("shop.stock")
        logger.addHandler(Bridge(provider))
        try:
            raise KeyError("apple")
        except KeyError:
            logger.exception("no %s left", "apples")
    (event,) = stored(client)
    assert (event["kind"], event["channel"]) == ("log_record", "system")
    assert (event["severity"], event["source"]) == ("error", "shop.stock")
    assert event["message"] == "no apples left"
    assert event["details"]["exception.type"] == "KeyError"
    assert "test_python_sdk.py" in event["details"]["exception.stacktrace"]


class Bridge(logging.Handler):
    """The least that a handler of OpenTelemetry's does; theirs moves between releases."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._provider.get_logger(record.name).emit(
            timestamp=int(record.created * 1e9),
            severity_number=SeverityNumber.ERROR,
            severity_text=record.levelname,
            body=record.getMessage(),
            attributes={
                "exception.type": type(error).__name__,
                "exception.message": str(error),
                "exception.stacktrace": logging.Formatter().formatException(record.exc_info),  # type: ignore[arg-type]
            },
        )


def test_the_events_of_spans_arrive_and_the_spans_do_not(
    server: RealmServer, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{server.url}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("shop.cart")
    with pytest.raises(ValueError, match="no stock"), tracer.start_as_current_span("checkout"):
        raise ValueError("no stock")
    provider.shutdown()
    (event,) = stored(client)
    assert (event["kind"], event["severity"]) == ("exception", "error")
    assert event["message"] == "ValueError: no stock"
    assert event["details"]["otel.span.name"] == "checkout"


def test_a_program_that_names_its_run_in_its_resource_has_that_run(
    server: RealmServer, client: httpx.Client
) -> None:
    """As OTEL_RESOURCE_ATTRIBUTES=realm.run.id=r42 does; an exception is why it failed."""
    resource = RESOURCE.merge(Resource({"realm.run.id": "lab/r42", "realm.rank": 1}))
    with sdk(server, resource=resource) as provider:
        logger = provider.get_logger("train")
        for step in range(1, 4):
            logger.emit(event_name="training_step", attributes={"step": step, "loss": 1.0 / step})
        error = {"exception.type": "ValueError", "exception.message": "no data"}
        logger.emit(event_name="exception", severity_number=SeverityNumber.ERROR, attributes=error)
        logger.emit(event_name="training_failed", attributes={"error": "no data"})
    wait_until(lambda: client.get("/api/runs/lab%2Fr42").status_code == 200)
    run = client.get("/api/runs/lab%2Fr42").json()
    assert (run["status"], run["step"]) == ("failed", 3)
    assert run["exception"]["error_type"] == "ValueError"
    assert list(run["ranks"]) == ["1"]
