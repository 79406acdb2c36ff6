"""What no honest client sends: answered by the protocol's rules, and nothing half-stored."""

import gzip
import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.otel.otlp.parts import MAX_VALUES
from realm_telemetry.service import RealmServer
from realm_telemetry.values.conversions import MAX_DEPTH
from realm_telemetry.values.details import MAX_EVENT_BYTES
from realm_telemetry.values.times import EARLIEST_NS, LATEST_NS

from .conftest import (
    JSON,
    NOW,
    PROTOBUF,
    accepted,
    any_value,
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

GOOD = log_record("good")
MIB = 1024 * 1024


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def raw_request(*records: bytes) -> bytes:
    """A request of records as bytes."""
    scope_logs = b"".join(field(2, record) for record in records)
    return field(1, field(2, scope_logs))


def refused(client: httpx.Client, body: bytes, media_type: str = PROTOBUF) -> str:
    """The message of a 400, after which nothing is stored."""
    message = failed(send(client, body, media_type), 400)
    assert stored(client) == []
    return message


def test_a_request_that_is_cut_off_anywhere_is_refused_whole(untouched: httpx.Client) -> None:
    body = logs_request(GOOD, log_record("second")).SerializeToString()
    for end in [1, 2, len(body) // 2, len(body) - 1]:
        assert "malformed_protobuf" in refused(untouched, body[:end])


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"not protobuf at all",
        raw_request(GOOD.SerializeToString(), b"\xff"),
        raw_request(GOOD.SerializeToString(), field(5, b"\x0a\x05ab")),
        field(1, field(1, b"\xff")),
        field(1, field(2, field(1, b"\xff"))),
        b"\x08\x01",
        field(2, GOOD.SerializeToString()),
        b"\x0a" + b"\xff" * 10 + b"\x01",
        b"\x0b\x0c",
    ],
)
def test_broken_protobuf_is_refused_whole(untouched: httpx.Client, body: bytes) -> None:
    assert "malformed_protobuf" in refused(untouched, body)


@pytest.mark.parametrize(
    "broken",
    [
        field(3, b"\xff\xfe"),
        field(5, field(1, b"a\xc3")),
        field(6, field(1, b"\xed\xa0\x80")),
        field(12, b"\x80"),
    ],
    ids=["severity_text", "body", "attribute key", "event_name"],
)
def test_text_that_is_not_utf_8_is_mended(client: httpx.Client, broken: bytes) -> None:
    """Some encoders of JavaScript write half an emoji as the three bytes of a surrogate."""
    accepted(send(client, raw_request(GOOD.SerializeToString(), broken)))
    good, mended = stored(client)
    assert good["message"] == "good"
    assert "\ufffd" in json.dumps(mended, ensure_ascii=False)


def test_a_name_or_a_url_that_is_not_utf_8_is_mended(client: httpx.Client) -> None:
    scope = field(1, field(1, b"a\xff")) + field(2, GOOD.SerializeToString()) + field(3, b"\xff")
    resource = field(1, field(1, field(1, b"\xed\xa0\xbd") + field(2, field(1, b"J\xf6rg"))))
    accepted(send(client, field(1, resource + field(2, scope) + field(3, b"\xfe"))))
    (event,) = stored(client)
    assert event["source"] == "a\ufffd"
    assert event["details"]["otel.resource"] == {"\ufffd": "J\ufffdrg"}
    assert event["details"]["otel.resource.schema_url"] == "\ufffd"


@pytest.mark.parametrize(
    "record",
    [
        {"timeUnixNano": "-5"},
        {"timeUnixNano": -1},
        {"timeUnixNano": str(2**64)},
        {"timeUnixNano": "soon"},
        {"timeUnixNano": 1.5},
        {"observedTimeUnixNano": "1e400"},
        {"severityNumber": "SEVERITY_NUMBER_LOUD"},
        {"severityNumber": 2**31},
        {"flags": 2**32},
        {"droppedAttributesCount": -1},
        {"traceId": "not hex"},
        {"spanId": "abc"},
        {"body": "a line"},
        {"body": {"intValue": str(2**63)}},
        {"body": {"bytesValue": "!"}},
        {"body": {"doubleValue": "much"}},
        {"attributes": {"a": 1}},
        {"attributes": [{"key": 7}]},
        {"eventName": 7},
        [],
        "record",
    ],
)
def test_json_that_is_no_log_record_is_rejected_and_its_neighbours_are_stored(
    client: httpx.Client, record: Any
) -> None:
    """By itself: a client sends none of a batch again that was refused as a whole."""
    records = [{"body": {"stringValue": "one"}}, record, {"body": {"stringValue": "two"}}]
    request = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    answer = send(client, json.dumps(request).encode(), JSON).json()["partialSuccess"]
    assert answer["rejectedLogRecords"] == "1"
    assert answer["errorMessage"].startswith("Not read: ")
    assert [event["message"] for event in stored(client)] == ["one", "two"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"resourceLogs": 7}', b"\xff", b'{"resourceLogs": [', b"null x"]
)
def test_broken_json_is_refused_whole(untouched: httpx.Client, body: bytes) -> None:
    assert "malformed_json" in refused(untouched, body, JSON)


@pytest.mark.parametrize("body", [b"x", gzip.compress(b"x" * 999, mtime=0)[:-9], b""])
def test_broken_gzip_is_refused(untouched: httpx.Client, body: bytes) -> None:
    response = send(untouched, body, content_encoding="gzip")
    # No bytes at all inflate to none: an empty request, as some proxies make it.
    assert response.status_code == (400 if body else 200)
    assert stored(untouched) == []


@pytest.mark.slow
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_a_gzip_bomb_is_refused_while_it_inflates(untouched: httpx.Client, media_type: str) -> None:
    bomb = gzip.compress(bytes(1024 * MIB // 4))
    started = time.monotonic()
    failed(send(untouched, bomb, media_type, content_encoding="gzip"), 413)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 413)])
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_the_body_limit_holds_at_below_and_above(
    tmp_path: Path, media_type: str, beyond: int, status: int
) -> None:
    body = encoded(logs_request(GOOD), media_type)
    with serving(tmp_path, max_body_bytes=len(body) - beyond) as server, asking(server) as client:
        assert send(client, body, media_type).status_code == status
        assert len(stored(client)) == (status == 200)


@pytest.mark.parametrize(("more", "status"), [(-1, 200), (0, 200), (1, 413)])
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_the_limit_of_entries_holds_at_below_and_above(
    tmp_path: Path, media_type: str, more: int, status: int
) -> None:
    """A resource, a scope and records: 2 + 8 entries."""
    request = logs_request(*(log_record(f"line {n}") for n in range(8 + more)))
    with serving(tmp_path, max_batch_events=10) as server, asking(server) as client:
        response = send(client, request, media_type)
        assert response.status_code == status
        assert len(stored(client)) == (8 + more if status == 200 else 0)
        if status == 413:
            assert "max_batch_events" in failed(response, 413)


@pytest.mark.long
def test_a_hundred_thousand_records_are_refused_or_taken_as_the_limit_says(
    client: httpx.Client, tmp_path: Path
) -> None:
    lines = (field(5, field(1, b"line %d" % n)) for n in range(100_000))
    body = raw_request(*lines)
    failed(send(client, body), 413)
    assert stored(client) == []
    home = tmp_path / "large"
    with serving(home, max_batch_events=100_002) as server, asking(server) as other:
        accepted(send(other, body))
        page = other.get("/api/battle_log?limit=1")
        assert page.headers["x-total-count"] == "100000"


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (PROTOBUF, field(1, field(2, b"\x12\x00" * (10 * MIB)))),
        (PROTOBUF, field(1, b"\x12\x00" * (10 * MIB))),
        (PROTOBUF, b"\x0a\x00" * (10 * MIB)),
        (JSON, b'{"resourceLogs":[' + b"{}," * (10 * MIB) + b"{}]}"),
        (JSON, b'{"x":[' + b"[]," * (10 * MIB) + b"{}]}"),
    ],
    ids=["records", "scopes", "resources", "json resources", "json unknown"],
)
def test_millions_of_empty_parts_are_counted_before_they_are_built(
    untouched: httpx.Client, media_type: str, body: bytes
) -> None:
    packed = gzip.compress(body, 1)
    started = time.monotonic()
    failed(send(untouched, packed, media_type, content_encoding="gzip"), 413)
    assert time.monotonic() - started < 60


def test_millions_of_numbers_are_not_walked_over(untouched: httpx.Client) -> None:
    """64 MB of two-byte fields that mean nothing would take a reader's thread for 15 s."""
    packed = gzip.compress(b"\x08\x01" * (31 * MIB), 1)
    started = time.process_time()
    failed(send(untouched, packed, PROTOBUF, content_encoding="gzip"), 400)
    assert time.process_time() - started < 5


def test_a_record_of_too_many_values_is_rejected_and_its_neighbours_are_stored(
    client: httpx.Client,
) -> None:
    """As a partial success: by itself it is no reason to lose the others."""
    bomb = field(5, field(5, field(1, b"") * MAX_VALUES))
    body = raw_request(log_record("before").SerializeToString(), bomb, GOOD.SerializeToString())
    partial = accepted(send(client, body)).partial_success
    assert partial.rejected_log_records == 1
    assert "values" in partial.error_message
    assert [event["message"] for event in stored(client)] == ["before", "good"]


@pytest.mark.parametrize(("values", "rejected"), [(-1, 0), (0, 0), (1, 1)])
def test_the_limit_of_values_holds_at_below_and_above(values: int, rejected: int) -> None:
    # The array itself is one more, and so is the body.
    array = field(5, field(5, field(1, b"") * (MAX_VALUES - 2 + values)))
    request = ExportLogsServiceRequest.FromString(raw_request(array))
    assert read(request).refused == rejected


def test_a_resource_of_too_many_values_is_refused(untouched: httpx.Client) -> None:
    bomb = field(1, field(2, field(5, field(1, b"") * MAX_VALUES)))
    failed(send(untouched, field(1, field(1, bomb) + field(2, field(2, b"")))), 413)


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_an_attribute_of_10_mib_is_cut_and_the_client_is_warned(
    client: httpx.Client, media_type: str
) -> None:
    big = log_record("big", {"dump": "x" * (10 * MIB), "step": 7})
    response = send(client, logs_request(big, GOOD), media_type)
    assert response.status_code == 200
    if media_type == PROTOBUF:
        partial = accepted(response).partial_success
        assert partial.rejected_log_records == 0
        stated = partial.error_message
    else:
        stated = response.json()["partialSuccess"]["errorMessage"]
    assert "1 were over the limits" in stated
    cut, whole = stored(client)
    assert len(json.dumps(cut)) < 70_000
    assert (cut["message"], cut["details"]["step"]) == ("big", 7)
    assert cut["details"]["dump"].startswith("xxx")
    assert cut["details"]["realm.truncated"] == ["dump"]
    assert whole["message"] == "good"


@pytest.mark.parametrize(
    "huge",
    [
        {"event_name": "x" * MIB},
        {"severity_text": "x" * MIB},
        {"body": "x" * MIB},
        {"attributes": {"realm.kind": "x" * MIB}},
        {"attributes": {"x" * MIB: 1}},
        {"attributes": {f"k{n}": n for n in range(5_000)}},
        {"body": [0] * 20_000},
        {"trace_id": b"x" * MIB},
    ],
    ids=["event name", "severity", "body", "kind", "key", "attributes", "array", "trace id"],
)
def test_no_event_is_larger_than_an_event_may_be(huge: dict[str, Any]) -> None:
    reading = read(logs_request(log_record(**huge)))
    (event,) = reading.events
    assert reading.cut == 1
    assert len(msgspec.msgpack.encode(event)) <= MAX_EVENT_BYTES
    assert event.details["realm.truncated"]


@pytest.mark.parametrize("where", ["resource", "scope", "scope name"])
def test_what_all_events_of_a_scope_carry_is_cut_too(where: str) -> None:
    """A body of 1 MB must not become a thousand events of 1 MB each."""
    request = logs_request(*(log_record(f"r{n}") for n in range(1_000)))
    (resource_logs,) = request.resource_logs
    (scope_logs,) = resource_logs.scope_logs
    if where == "scope name":
        scope_logs.scope.name = "x" * MIB
    else:
        owner = resource_logs.resource if where == "resource" else scope_logs.scope
        owner.attributes.add(key="dump", value=any_value("x" * MIB))
    reading = read(request)
    assert len(reading.events) == reading.cut == 1_000
    for event in reading.events:
        assert len(msgspec.msgpack.encode(event)) <= 16_384
        assert len(event.source or "") <= 256
        assert event.details["realm.truncated"]
    assert all(len(json.dumps(stated)) <= MAX_EVENT_BYTES for stated in reading.others.values())


@pytest.mark.parametrize(
    "long", [{"event_name": "x" * 257}, {"attributes": {"x" * 257: 1}}], ids=["event name", "key"]
)
def test_a_long_name_in_a_short_record_is_cut(long: dict[str, Any]) -> None:
    (event,) = read(logs_request(log_record(**long))).events
    assert max(map(len, (event.kind, *event.details))) <= 256
    assert event.details["realm.truncated"] if "attributes" in long else event.details


def nested(depth: int) -> Any:
    value: Any = "leaf"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("more", [-1, 0, 1, 10])
def test_values_nested_too_deep_are_replaced(media_type: str, more: int) -> None:
    value = nested(MAX_DEPTH + more)
    (event,) = read(logs_request(log_record("deep", {"a": value})), media_type).events
    if more <= 0:
        assert event.details["a"] == value
    else:
        assert "nested too deep" in json.dumps(event.details["a"])


@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_values_nested_beyond_reason_do_not_end_the_service(
    client: httpx.Client, media_type: str, depth: int
) -> None:
    if media_type == PROTOBUF:
        value = b""
        for _ in range(min(depth, 5_000)):
            value = field(5, field(1, value))
        body = raw_request(field(5, value))
    else:
        value = b'{"arrayValue":{"values":[' * depth + b"]}}" * depth
        body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":' + value + b"}]}]}]}"
    response = send(client, body, media_type)
    assert response.status_code in ((200, 400) if depth == 100 else (400,))
    assert client.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("trace_id", "span_id"),
    [(b"\1" * 15, b"\2" * 7), (b"\1" * 17, b"\2" * 9), (b"\1" * 8, b"\2" * 16)],
)
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_an_id_of_another_length_is_no_id_and_is_kept_for_who_looks(
    media_type: str, trace_id: bytes, span_id: bytes
) -> None:
    """logs.proto: a receiver should take such a record to belong to no trace."""
    request = logs_request(log_record(trace_id=trace_id, span_id=span_id))
    (event,) = read(request, media_type).events
    assert (event.trace_id, event.span_id) == (None, None)
    assert event.details["otel.trace_id"] == trace_id.hex()
    assert event.details["otel.span_id"] == span_id.hex()


def test_an_id_of_zeros_is_no_id() -> None:
    (event,) = read(logs_request(log_record(trace_id=bytes(16), span_id=bytes(8)))).events
    assert (event.trace_id, event.span_id) == (None, None)


@pytest.mark.parametrize("time_", [EARLIEST_NS, LATEST_NS])
def test_times_as_far_as_the_log_goes_are_kept(client: httpx.Client, time_: int) -> None:
    send(client, logs_request(log_record(time_unix_nano=time_)))
    assert stored(client)[0]["time_unix_nano"] == str(time_)


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("time_", [1, EARLIEST_NS - 10**9, LATEST_NS + 1, 2**64 - 1])
def test_a_time_that_is_not_plausible_is_kept_as_text(media_type: str, time_: int) -> None:
    record = log_record(time_unix_nano=time_, observed_time_unix_nano=NOW)
    (event,) = read(logs_request(record), media_type).events
    assert event.time_unix_nano == NOW
    assert event.details["otel.time_unix_nano"] == str(time_)


def test_a_full_queue_answers_with_retry_after(tmp_path: Path) -> None:
    with serving(tmp_path, ingest_queue_bytes=10) as server, asking(server) as client:
        body = logs_request(GOOD).SerializeToString()
        head = f"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {PROTOBUF}\r\n"
        with socket.create_connection(("127.0.0.1", server.ports[0])) as slow:
            slow.sendall(f"{head}Content-Length: 100\r\n\r\n".encode() + body[:20])
            while client.get("/metrics").text.count("realm_ingest_bytes 20\n") == 0:
                time.sleep(0.01)
            response = send(client, body)
        assert "ingest_full" in failed(response, 429)
        assert response.headers["retry-after"] == "1"


def test_a_body_that_does_not_arrive_may_be_sent_again(tmp_path: Path) -> None:
    """408 would make a client throw its records away."""
    with serving(tmp_path, body_timeout_s=0.2) as server:
        head = f"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {PROTOBUF}\r\n"
        with socket.create_connection(("127.0.0.1", server.ports[0])) as slow:
            slow.sendall(f"{head}Content-Length: 9\r\n\r\n{{".encode())
            answer = slow.recv(65536).lower()
    assert answer.startswith(b"http/1.1 503 ")
    assert b"retry-after: 5" in answer


def test_a_log_that_cannot_be_written_answers_with_retry_after(
    server: RealmServer, client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LogWriter, "append", full)
    response = send(client, logs_request(GOOD))
    assert "log_unavailable" in failed(response, 503)
    assert int(response.headers["retry-after"]) > 0
    monkeypatch.undo()
    accepted(send(client, logs_request(GOOD)))
    assert len(stored(client)) == 1


def test_the_answer_to_json_beyond_limits_is_json(client: httpx.Client) -> None:
    request = logs_request(*[GOOD] * 50_001)
    assert "too_many_events" in failed(send(client, as_json(request), JSON), 413)


def test_any_value_of_the_builder_is_what_otlp_has() -> None:
    """The tests above rest on it."""
    request = ExportLogsServiceRequest.FromString(raw_request(GOOD.SerializeToString()))
    assert request.resource_logs[0].scope_logs[0].log_records[0] == GOOD
    assert any_value(None).WhichOneof("value") is None
    assert any_value({}).WhichOneof("value") == "kvlist_value"


@pytest.mark.parametrize("unit", [10**9, 10**6, 10**3])
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_a_time_in_another_unit_is_read_and_kept_as_it_was(media_type: str, unit: int) -> None:
    """Date.now() in place of nanoseconds."""
    given = NOW // unit
    (event,) = read(logs_request(log_record(time_unix_nano=given)), media_type).events
    assert event.time_unix_nano == given * unit
    assert event.details["otel.time_unix_nano"] == str(given)


@pytest.mark.parametrize("path", ["logs", "traces", "metrics"])
def test_items_of_another_signal_in_protobuf_are_never_silently_dropped(
    client: httpx.Client, path: str
) -> None:
    """The layers of all signals look alike, so only the items can tell."""
    span = Span(
        trace_id=b"1" * 16, span_id=b"2" * 8, start_time_unix_nano=NOW, end_time_unix_nano=NOW
    )
    metric = Metric(unit="s", description="d")
    sent = {
        "logs": log_record(None, observed_time_unix_nano=NOW),
        "traces": span,
        "metrics": metric,
    }
    for signal, item in sent.items():
        response = send(client, raw_request(item.SerializeToString()), PROTOBUF, f"/v1/{path}")
        if signal != path:
            assert response.status_code == 400 or response.content, signal
    assert len(stored(client)) == (path == "logs")
