"""A real service, and OTLP requests built field by field."""

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from realm_telemetry.otel.otlp import LOGS, Reading, read_request
from realm_telemetry.service import RealmServer, ServiceSettings

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
NOW = 1_764_410_400_123_456_789


@contextmanager
def serving(home: Path, **options: Any) -> Iterator[RealmServer]:
    """Run a service in a thread, on ports that the system chooses."""
    ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
    server = RealmServer(ServiceSettings.for_home(home, **(ports | options)))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.started.wait(60)
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive(), "the service did not stop"


@contextmanager
def asking(server: RealmServer) -> Iterator[httpx.Client]:
    """A client of a running service."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealmServer]:
    """A service with default settings."""
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def client(server: RealmServer) -> Iterator[httpx.Client]:
    """A client of that service."""
    with asking(server) as made:
        yield made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service that is to refuse all it is sent, shared by a module's tests."""
    with serving(tmp_path_factory.mktemp("untouched")) as server, asking(server) as made:
        yield made


def any_value(value: Any) -> AnyValue:
    """A value as OTLP has it."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    for kind, field in ((str, "string"), (int, "int"), (float, "double"), (bytes, "bytes")):
        if isinstance(value, kind):
            given: dict[str, Any] = {f"{field}_value": value}
            return AnyValue(**given)
    made = AnyValue()
    if isinstance(value, Mapping):
        made.kvlist_value.SetInParent()
        for key, inner in value.items():
            made.kvlist_value.values.add(key=key, value=any_value(inner))
    elif isinstance(value, list):
        made.array_value.SetInParent()
        made.array_value.values.extend(any_value(inner) for inner in value)
    return made


def log_record(
    body: Any = "a line", attributes: Mapping[str, Any] | None = None, **fields: Any
) -> LogRecord:
    """A log record; without a body if that is None."""
    record = LogRecord(**({"time_unix_nano": NOW} | fields))
    if body is not None:
        record.body.CopyFrom(any_value(body))
    for key, value in (attributes or {}).items():
        record.attributes.add(key=key, value=any_value(value))
    return record


def logs_request(
    *records: LogRecord, resource: Mapping[str, Any] | None = None, scope: str = "app"
) -> ExportLogsServiceRequest:
    """A request of one resource and one scope."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    for key, value in (resource or {"service.name": "app"}).items():
        group.resource.attributes.add(key=key, value=any_value(value))
    scope_logs = group.scope_logs.add()
    scope_logs.scope.name = scope
    scope_logs.log_records.extend(records)
    return request


def as_json(request: Message) -> bytes:
    """A request in OTLP's JSON: ids are hex, enums numbers."""
    return json.dumps(_otlp_json(MessageToDict(request, use_integers_for_enums=True))).encode()


def _otlp_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_otlp_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item).hex() if key in ("traceId", "spanId") else _otlp_json(item)
        for key, item in value.items()
    }


def encoded(request: Message, media_type: str) -> bytes:
    """A request in one of the two encodings."""
    return as_json(request) if media_type == JSON else request.SerializeToString()


def send(
    client: httpx.Client,
    body: bytes | Message,
    media_type: str = PROTOBUF,
    path: str = "/v1/logs",
    **headers: str,
) -> httpx.Response:
    """Post a request."""
    content = body if isinstance(body, bytes) else encoded(body, media_type)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, content=content, headers={"content-type": media_type} | named)


def accepted(response: httpx.Response) -> ExportLogsServiceResponse:
    """A success answered in protobuf."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == PROTOBUF
    return ExportLogsServiceResponse.FromString(response.content)


def failed(response: httpx.Response, status: int) -> str:
    """The message of a failure, which is a google.rpc.Status in the request's encoding."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == response.request.headers["content-type"]
    if response.headers["content-type"] == PROTOBUF:
        status_message: str = Status.FromString(response.content).message
        return status_message
    message: str = response.json()["message"]
    return message


def read(request: Message, media_type: str = PROTOBUF) -> Reading:
    """What the service would make of a log request, without a service."""
    body = encoded(request, media_type)
    return read_request(LOGS, body, as_json=media_type == JSON, max_entries=50_000, now_ns=NOW)


def stored(client: httpx.Client) -> list[dict[str, Any]]:
    """What the log has, oldest first."""
    found: list[dict[str, Any]] = client.get("/api/battle_log?limit=1000").json()
    return sorted(found, key=lambda event: event["cursor"])
