"""rotel, a collector that nobody here wrote, between OpenTelemetry's SDK and the service."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import rotel
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from realm_telemetry.service import RealmServer
from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import log_record, logs_request, send, serving, stored

pytestmark = pytest.mark.processes

AGENT = Path(rotel.__file__).parent / "rotel-agent"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def collector(service_url: str, *options: str) -> Iterator[str]:
    """A running rotel that forwards to the service over OTLP/HTTP; gives its address."""
    http, grpc = free_port(), free_port()
    arguments = [
        str(AGENT), "start",
        "--otlp-http-endpoint", f"127.0.0.1:{http}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
        "--exporter", "otlp",
        "--otlp-exporter-endpoint", service_url,
        "--otlp-exporter-protocol", "http",
        *options,
    ]  # fmt: skip
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(http))
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait(60)


def emit(url: str, first: int, last: int) -> None:
    """Send numbered lines with OpenTelemetry's SDK."""
    exporter = OTLPLogExporter(endpoint=f"{url}/v1/logs")
    provider = LoggerProvider(Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("shop")
    for number in range(first, last + 1):
        body, warn = f"line {number}", SeverityNumber.WARN
        logger.emit(body=body, severity_number=warn, attributes={"number": number})
    provider.shutdown()


def numbers(client: httpx.Client) -> list[int]:
    return sorted(event["details"]["number"] for event in stored(client))


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_what_a_collector_forwards_arrives_whole_also_after_its_restart(
    server: RealmServer, client: httpx.Client, compression: str
) -> None:
    option = ("--otlp-exporter-compression", compression)
    with collector(server.url, *option) as url:
        emit(url, 1, 30)
        wait_until(lambda: len(stored(client)) == 30)
    with collector(server.url, *option) as url:
        emit(url, 31, 60)
        wait_until(lambda: len(stored(client)) == 60)
    assert numbers(client) == list(range(1, 61))
    event = stored(client)[0]
    assert (event["severity"], event["source"]) == ("warning", "shop")
    assert event["details"]["otel.resource"]["service.name"] == "shop"
    assert len(client.get("/api/events").json()["events"]) == 50


def test_what_comes_through_two_collectors_and_directly_is_stored_once(
    server: RealmServer, client: httpx.Client
) -> None:
    """The same records on three ways: a resend as bad as it gets."""
    records = [log_record(f"{n}", {"number": n}) for n in range(40)]
    with collector(server.url) as one, collector(server.url) as two:
        for url, size in ((one, 40), (two, 1), (server.url, 9)):
            with httpx.Client(base_url=url) as sender:
                for start in range(0, 40, size):
                    request = logs_request(*records[start : start + size])
                    assert send(sender, request).status_code == 200
        counted = 'outcome="duplicate"} 80\n'
        wait_until(lambda: counted in client.get("/metrics").text)
    assert numbers(client) == list(range(40))


def test_a_collector_sends_again_what_came_while_the_service_was_away(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with collector(url, "--otlp-exporter-retry-initial-backoff", "100ms") as collected:
        emit(collected, 1, 20)
        with serving(tmp_path, port=port), httpx.Client(base_url=url) as client:
            wait_until(lambda: len(stored(client)) == 20)
            emit(collected, 21, 30)
            wait_until(lambda: len(stored(client)) == 30)
            assert numbers(client) == list(range(1, 31))
