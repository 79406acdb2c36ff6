"""POST /v1/logs: what is answered, and which event a log record becomes."""

import base64
import gzip
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from realm_telemetry.service import RealmServer

from .conftest import (
    JSON,
    NOW,
    PROTOBUF,
    accepted,
    as_json,
    asking,
    encoded,
    failed,
    log_record,
    logs_request,
    read,
    send,
    serving,
    stored,
)

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}

EVERYTHING = log_record(
    {"msg": "disk is full", "free": [0, 1.5, True, {"unit": "GiB"}]},
    {"text": "t", "int": -(2**63), "float": 1.0, "bool": False, "bytes": b"\x00\xff", "null": None,
     "nan": float("nan"), "list": ["a", 1], "map": {"k": {"deep": [[]]}}},
    observed_time_unix_nano=NOW + 5,
    severity_number=14,
    severity_text="Warning",
    trace_id=bytes(range(16)),
    span_id=bytes(range(8)),
    flags=0x101,
    dropped_attributes_count=3,
    event_name="app.Disk-Full",
)  # fmt: skip


@pytest.mark.parametrize("encoding", sorted(PACKERS))
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_a_request_is_answered_in_its_own_encoding(
    client: httpx.Client, media_type: str, encoding: str
) -> None:
    body = PACKERS[encoding](encoded(logs_request(log_record()), media_type))
    response = send(client, body, media_type, content_encoding=encoding)
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert response.content == (b"{}" if media_type == JSON else b"")
    assert [event["message"] for event in stored(client)] == ["a line"]


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_nothing_of_a_record_is_lost(client: httpx.Client, media_type: str) -> None:
    request = logs_request(EVERYTHING, resource={"service.name": "app", "tags": ["a"]})
    group = request.resource_logs[0]
    group.schema_url, group.resource.dropped_attributes_count = "https://r", 1
    group.scope_logs[0].schema_url = "https://s"
    scope = group.scope_logs[0].scope
    scope.version, scope.dropped_attributes_count = "1.2", 2
    scope.attributes.add(key="k").value.string_value = "v"
    assert send(client, request, media_type).status_code == 200
    (event,) = stored(client)
    assert event["kind"] == "app_disk_full"
    assert (event["channel"], event["severity"]) == ("system", "warning")
    assert (event["message"], event["source"]) == ("disk is full", "app")
    assert event["time_unix_nano"] == str(NOW)
    assert event["trace_id"] == "000102030405060708090a0b0c0d0e0f"
    assert (event["span_id"], event["trace_flags"]) == ("0001020304050607", 1)
    assert event["details"] == {
        "text": "t",
        "int": -(2**63),
        "float": 1.0,
        "bool": False,
        "bytes": "AP8=",
        "null": None,
        "nan": "NaN",
        "list": ["a", 1],
        "map": {"k": {"deep": [[]]}},
        "otel.body": {"msg": "disk is full", "free": [0, 1.5, True, {"unit": "GiB"}]},
        "otel.event_name": "app.Disk-Full",
        "otel.severity_number": 14,
        "otel.severity_text": "Warning",
        "otel.observed_time_unix_nano": str(NOW + 5),
        "otel.flags": 0x101,
        "otel.dropped_attributes_count": 3,
        "otel.resource": {"service.name": "app", "tags": ["a"]},
        "otel.resource.schema_url": "https://r",
        "otel.resource.dropped_attributes_count": 1,
        "otel.scope.version": "1.2",
        "otel.scope.schema_url": "https://s",
        "otel.scope.attributes": {"k": "v"},
        "otel.scope.dropped_attributes_count": 2,
    }


def test_both_encodings_of_a_record_are_the_same_event(client: httpx.Client) -> None:
    """So that a client which changes its protocol and sends again stores nothing twice."""
    request = logs_request(EVERYTHING, log_record())
    send(client, request, JSON)
    send(client, request, PROTOBUF)
    assert len(stored(client)) == 2


@pytest.mark.parametrize(
    ("number", "channel", "severity"),
    [
        (0, "system", "info"),
        (1, "debug", "info"),
        (8, "debug", "info"),
        (9, "system", "info"),
        (12, "system", "info"),
        (13, "system", "warning"),
        (16, "system", "warning"),
        (17, "system", "error"),
        (24, "system", "error"),
        (99, "system", "error"),
    ],
)
def test_an_unknown_record_has_its_channel_by_severity(
    number: int, channel: str, severity: str
) -> None:
    (event,) = read(logs_request(log_record(severity_number=number))).events
    assert (event.kind, event.channel, event.severity) == ("log_record", channel, severity)


def test_a_record_is_in_both_views(client: httpx.Client) -> None:
    """The answer comes after the commit, so whoever has it finds the record."""
    send(client, logs_request(log_record("now", time_unix_nano=time.time_ns())))
    assert client.get("/api/events").json()["events"][0]["message"] == "now"
    assert client.get("/api/battle_log?q=now").json()[0]["message"] == "now"


def test_the_resource_of_a_foreign_producer_is_registered(client: httpx.Client) -> None:
    send(client, logs_request(log_record(), resource={"service.name": "shop", "host.name": "h"}))
    (line,) = client.get("/api/battle_log/export").text.splitlines()
    assert json.loads(line)["resource"] == {"service.name": "shop", "host.name": "h"}


def test_a_foreign_producer_has_no_receipt_because_nobody_numbered_its_records(
    client: httpx.Client,
) -> None:
    send(client, logs_request(log_record()))
    assert client.get("/api/receipts").json()["receipts"] == []


@pytest.mark.parametrize(
    ("media_type", "body"), [(PROTOBUF, b""), (JSON, b"{}"), (JSON, b'{"resourceLogs":[]}')]
)
def test_an_empty_request_is_accepted(
    untouched: httpx.Client, media_type: str, body: bytes
) -> None:
    assert send(untouched, body, media_type).status_code == 200
    assert stored(untouched) == []


def test_json_as_people_and_other_languages_write_it(client: httpx.Client) -> None:
    """Numbers or strings for 64 bits, null for missing, unknown fields, base64 of either kind.

    What is left out is named.
    """
    record = {
        "timeUnixNano": NOW,
        "observedTimeUnixNano": str(NOW),
        "severityNumber": 17,
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "",
        "flags": 1,
        "eventName": None,
        "body": {"stringValue": "hello", "newKindOfValue": {"x": [1]}},
        "attributes": [
            {"key": "int", "value": {"intValue": "42"}},
            {"key": "number", "value": {"intValue": 42}},
            {"key": "double", "value": {"doubleValue": 3}},
            {"key": "nan", "value": {"doubleValue": "NaN"}},
            {"key": "bytes", "value": {"bytesValue": "-_8"}},
            {"key": "none"},
            {"key": "empty", "value": {"arrayValue": {}}},
        ],
        "unknown": {"deep": [{"er": None}]},
    }
    scope_logs = [{"logRecords": [record], "future": True}]
    request = {"resourceLogs": [{"scopeLogs": scope_logs, "resource": None}], "extra": 1}
    response = client.post("/v1/logs", json=request)
    assert response.status_code == 200
    assert response.json()["partialSuccess"] == {
        "errorMessage": "Fields that OTLP does not have there were left out: extra;"
        " resourceLogs.scopeLogs.future; resourceLogs.scopeLogs.logRecords.body.newKindOfValue;"
        " resourceLogs.scopeLogs.logRecords.unknown."
    }
    (event,) = stored(client)
    assert (event["message"], event["severity"]) == ("hello", "error")
    assert event["trace_id"] == "5b8efff798038103d269b633813fc60c"
    assert event["details"] == {
        "int": 42,
        "number": 42,
        "double": 3.0,
        "nan": "NaN",
        "bytes": "+/8=",
        "none": None,
        "empty": [],
    }


def in_snake_case(value: Any) -> Any:
    """A request with the names that the .proto files have, at every level."""
    if isinstance(value, list):
        return [in_snake_case(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): in_snake_case(inner)
        for name, inner in value.items()
    }


def test_names_in_snake_case_and_enums_by_name_are_taken(client: httpx.Client) -> None:
    """The collector's pdata and protobuf's own JSON mapping read them, so people write them."""
    record = log_record(
        {"a": ["b", {"c": 1}]}, {"x_y": "z_a"}, severity_number=17, trace_id=b"\1" * 16
    )
    camel = json.loads(as_json(logs_request(record)))
    snake = in_snake_case(camel)
    inner = snake["resource_logs"][0]["scope_logs"][0]["log_records"][0]
    inner["severity_number"] = "SEVERITY_NUMBER_ERROR"
    inner["trace_id"] = base64.b64encode(b"\1" * 16).decode()
    for request in (snake, camel):
        response = client.post("/v1/logs", json=request)
        assert (response.status_code, response.content) == (200, b"{}")
    # The same event: it is stored once.
    (event,) = stored(client)
    assert (event["severity"], event["trace_id"]) == ("error", "01" * 16)
    assert event["details"]["x_y"] == "z_a"
    assert event["details"]["otel.body"] == {"a": ["b", {"c": 1}]}


@pytest.mark.parametrize("level", ["resourceLogs", "scopeLogs", "logRecords", "timeUnixNano"])
def test_one_name_in_snake_case_is_taken_among_others(client: httpx.Client, level: str) -> None:
    name = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", level)
    body = as_json(logs_request(log_record("taken"))).replace(level.encode(), name.encode())
    assert send(client, body, JSON).content == b"{}"
    assert [event["message"] for event in stored(client)] == ["taken"]


def other_signal(name: str) -> dict[str, Any]:
    """The smallest request of a signal."""
    resources, scopes, items = {
        "logs": ("resourceLogs", "scopeLogs", "logRecords"),
        "traces": ("resourceSpans", "scopeSpans", "spans"),
        "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
    }[name]
    return {resources: [{scopes: [{items: [{}]}]}]}


@pytest.mark.parametrize("path", ["logs", "traces", "metrics"])
@pytest.mark.parametrize("sent", ["logs", "traces", "metrics"])
def test_a_request_of_another_signal_is_refused_with_the_right_path(
    client: httpx.Client, path: str, sent: str
) -> None:
    response = client.post(f"/v1/{path}", json=other_signal(sent))
    if path == sent:
        assert response.status_code == 200
    else:
        assert f"send them to /v1/{sent}" in failed(response, 400)
        both = client.post(f"/v1/{path}", json=other_signal(path) | other_signal(sent))
        assert f"send them to /v1/{sent}" in both.json()["partialSuccess"]["errorMessage"]


@pytest.mark.parametrize(
    "request_", [{"ResourceLogs": []}, {"events": [{}]}, {"resourceLog": [{}]}, {"kind": "note"}]
)
def test_a_body_without_any_part_of_a_request_is_refused(
    client: httpx.Client, request_: dict[str, Any]
) -> None:
    assert "it has no resourceLogs" in failed(client.post("/v1/logs", json=request_), 400)


@pytest.mark.parametrize(
    ("inside", "named"),
    [
        ({"scopeLog": []}, "resourceLogs.scopeLog"),
        ({"scopeSpans": [{}]}, "scopeSpans (send them to /v1/traces)"),
        ({"scopeLogs": [{"logRecord": [{}]}]}, "resourceLogs.scopeLogs.logRecord"),
        ({"scopeLogs": [{"spans": [{}]}]}, "spans (send them to /v1/traces)"),
        ({"scopeLogs": [{"logRecords": [{"Body": "x", "Timestamp": 1}]}]}, "Body; Timestamp"),
    ],
)
def test_what_is_left_out_at_any_level_is_named(
    client: httpx.Client, inside: dict[str, Any], named: str
) -> None:
    answer = client.post("/v1/logs", json={"resourceLogs": [inside]}).json()
    assert named in answer["partialSuccess"]["errorMessage"]


@pytest.mark.parametrize("path", ["logs", "traces", "metrics"])
def test_an_empty_request_is_a_success(client: httpx.Client, path: str) -> None:
    resources = next(iter(other_signal(path)))
    bodies: list[dict[str, Any]] = [{}, {resources: []}, {resources: None}, {resources: [{}]}]
    for body in bodies:
        response = client.post(f"/v1/{path}", json=body)
        assert (response.status_code, response.content) == (200, b"{}")
    assert accepted(send(client, b"", PROTOBUF, f"/v1/{path}")).ByteSize() == 0


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_a_failure_is_a_status_in_the_requests_encoding(
    untouched: httpx.Client, media_type: str
) -> None:
    response = send(untouched, b"\xff{", media_type)
    message = failed(response, 400)
    assert "ExportLogsServiceRequest" in message
    assert message.startswith("malformed_")


def test_bad_data_is_described_as_a_bad_request(untouched: httpx.Client) -> None:
    status = Status.FromString(send(untouched, b"\xff").content)
    described = BadRequest()
    assert status.code == 3
    assert status.details[0].Unpack(described)
    assert described.field_violations[0].field == "body"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('APPLICATION/JSON ; Charset="UTF-8"', 200),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
def test_the_content_type_is_json_or_protobuf(
    untouched: httpx.Client, given: str, status: int
) -> None:
    """A form of another site's page can send none of the two without asking first."""
    response = untouched.post("/v1/logs", content=b"{}", headers={"content-type": given})
    assert response.status_code == status
    assert response.headers["content-type"] == JSON


def test_protobuf_with_a_parameter_is_protobuf(client: httpx.Client) -> None:
    body = encoded(logs_request(log_record()), PROTOBUF)
    headers = {"content-type": f"{PROTOBUF}; messageType=logs"}
    assert client.post("/v1/logs", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "x-gzip"])
def test_another_content_encoding_is_refused(untouched: httpx.Client, encoding: str) -> None:
    response = send(untouched, b"x", content_encoding=encoding)
    assert "Content-Encoding" in failed(response, 415)


def test_a_page_of_another_site_cannot_send_records(untouched: httpx.Client) -> None:
    response = send(untouched, logs_request(log_record()), JSON, origin="http://evil.example")
    assert "origin_not_allowed" in failed(response, 403)
    assert stored(untouched) == []


def test_no_answer_lets_another_sites_page_ask(untouched: httpx.Client) -> None:
    """A preflight that is not answered is a no."""
    headers = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    response = untouched.options("/v1/logs", headers=headers)
    assert response.status_code == 403
    assert not any(name.startswith("access-control") for name in response.headers)


def test_the_token_is_asked_for_as_everywhere(tmp_path: Path) -> None:
    with serving(tmp_path, token="secret-token") as server, asking(server) as client:
        request = logs_request(log_record())
        assert "token_required" in failed(send(client, request), 401)
        assert "token_wrong" in failed(send(client, request, authorization="Bearer no"), 401)
        accepted(send(client, request, authorization="Bearer secret-token"))


def test_guessing_the_token_is_throttled_with_a_retry_after(tmp_path: Path) -> None:
    with (
        serving(tmp_path, token="secret-token", login_attempts=1) as server,
        asking(server) as client,
    ):
        send(client, b"", authorization="Bearer no")
        response = send(client, b"", authorization="Bearer no")
        failed(response, 429)
        assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/logs", 405), ("POST", "/v1/profiles", 404)]
)
def test_a_missing_path_answers_with_a_status(
    untouched: httpx.Client, method: str, path: str, status: int
) -> None:
    response = untouched.request(method, path, headers={"content-type": PROTOBUF})
    assert failed(response, status)
    assert ("allow" in response.headers) == (status == 405)


def test_all_three_addresses_take_logs(server: RealmServer) -> None:
    for port in server.ports:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            accepted(send(client, logs_request(log_record(f"to {port}"))))
            assert stored(client)[-1]["message"] == f"to {port}"


def test_metrics_count_records_as_other_events(client: httpx.Client) -> None:
    send(client, logs_request(log_record("a"), log_record("b")))
    text = client.get("/metrics").text
    assert 'realm_ingest_events_total{outcome="accepted"} 2\n' in text


def test_many_resources_and_scopes_keep_their_records_apart(client: httpx.Client) -> None:
    request = ExportLogsServiceRequest()
    for service in "ab":
        for scope in "xy":
            part = logs_request(log_record(), resource={"service.name": service}, scope=scope)
            request.resource_logs.extend(part.resource_logs)
    accepted(send(client, request))
    found = [(e["details"]["otel.resource"]["service.name"], e["source"]) for e in stored(client)]
    assert found == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
