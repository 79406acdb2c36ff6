"""A minute of damaged input for each reader of bytes from outside: it reads or refuses them."""

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import Event, InvalidEventError
from realm_telemetry.log.fields import FIELDS
from realm_telemetry.service import RealmServer, ServiceSettings
from realm_telemetry.spool.frames import (
    FORMAT_EVENT,
    UNDECODABLE,
    decode_event,
    encode_frame,
    parse_frame,
)
from realm_telemetry.wire import BatchProducer, encode_batch, read_batch

pytestmark = pytest.mark.long

MINUTE_S = 60.0
PRODUCER = "ab" * 8
ODD = [
    b"\x00",
    b"\xff",
    b"\x80\x80\x80\x80",
    b"\xed\xa0\xbd",
    b'"',
    b"[",
    b"{",
    b"\\u0000",
    b"1e999",
]
ODD += [b"-", b"NaN", b"\xef\xbb\xbf", b"9" * 400, b"[" * 300]


def event(number: int) -> Event:
    """An event with a value of each kind."""
    details = {"step": number, "loss": 0.5, "tags": ["a", {"b": None}], "text": "größer \N{FIRE}"}
    return Event(
        "note",
        "debug",
        "info",
        "Fuzzed",
        details,
        time.time_ns(),
        PRODUCER,
        number,
        "dio",
        "c",
        "r",
    )


def damaged(chosen: random.Random, data: bytes) -> bytes:
    """A copy with one to five changes: bits, cuts, repeats, insertions."""
    changed = bytearray(data)
    for _ in range(chosen.randint(1, 5)):
        at = chosen.randrange(len(changed) + 1)
        match chosen.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chosen.randrange(8)
            case 1:
                del changed[at : at + chosen.randrange(1, 40)]
            case 2:
                changed[at:at] = chosen.choice(ODD)
            case 3:
                changed[at:at] = changed[at : at + chosen.randrange(1, 200)]
            case _:
                changed[at : at + 4] = chosen.randbytes(4)
    return bytes(changed)


def rounds(seconds: float = MINUTE_S) -> Iterator[random.Random]:
    """Sources of chance until the time is over; the seed is in the message of a failure."""
    ends = time.monotonic() + seconds
    seed = time.time_ns()
    while time.monotonic() < ends:
        seed += 1
        yield random.Random(seed)


def test_frames() -> None:
    """Wherever one begins to read, there is a whole frame with its checksum, or none."""
    payload = msgspec.msgpack.encode(["note", "debug", "info", "Fuzzed", {"step": 1}, 1])
    whole = b"".join(encode_frame(FORMAT_EVENT, number, payload) for number in range(1, 20))
    found = 0
    for chosen in rounds():
        data = damaged(chosen, whole)
        position = 0
        while position < len(data):
            frame = parse_frame(data, position, len(data))
            if frame is None:
                position += 1
                continue
            found += 1
            format_, number, content = frame
            assert data[position:].startswith(encode_frame(format_, number, content))
            with contextlib.suppress(*UNDECODABLE):
                decode_event(content, PRODUCER, number)
            position += len(encode_frame(format_, number, content))
        for _ in range(20):
            with contextlib.suppress(*UNDECODABLE):
                decode_event(damaged(chosen, payload), PRODUCER, 1)
    assert found


def test_wire() -> None:
    """A batch is read, or refused with one of two errors."""
    whole = encode_batch(
        [event(number) for number in range(1, 9)], [BatchProducer(PRODUCER, emitted=8)]
    )
    read = 0
    for chosen in rounds():
        try:
            batch = read_batch(damaged(chosen, whole))
        except (InvalidEventError, PayloadTooLargeError):
            continue
        read += len(batch.events)
        encode_batch(batch.events)
    assert read


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a real service, which is well at the end."""
    ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
    server = RealmServer(ServiceSettings.for_home(tmp_path, **ports))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.started.wait(60)
    with httpx.Client(base_url=server.url, timeout=30) as made:
        yield made
        assert made.get("/health").json()["status"] == "ok"
        assert made.get("/api/battle_log").status_code == 200
        assert made.get("/api/state").status_code == 200
    server.stop()
    thread.join(20)


def otlp_bodies() -> list[tuple[str, str, bytes]]:
    """Path, media type and a whole request, for logs and traces in both encodings."""
    attributes: list[dict[str, Any]] = [
        {"key": "step", "value": {"intValue": "7"}},
        {"key": "tags", "value": {"arrayValue": {"values": [{"doubleValue": 0.5}]}}},
    ]
    now = str(time.time_ns())
    record: dict[str, Any] = {"timeUnixNano": now, "severityNumber": 9}
    record |= {"body": {"stringValue": "fuzzed"}}
    record |= {"attributes": attributes, "traceId": "ab" * 16, "spanId": "cd" * 8}
    span: dict[str, Any] = {"name": "s", "traceId": "ab" * 16, "spanId": "cd" * 8}
    span["startTimeUnixNano"] = now
    span |= {"events": [{"name": "exception", "timeUnixNano": now, "attributes": attributes}]}
    resource = {"attributes": attributes}
    logs = [{"resource": resource, "scopeLogs": [{"scope": {"name": "x"}, "logRecords": [record]}]}]
    spans = [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": [span]}]}]
    found = []
    for path, shape, message in (
        ("/v1/logs", {"resourceLogs": logs}, ExportLogsServiceRequest()),
        ("/v1/traces", {"resourceSpans": spans}, ExportTraceServiceRequest()),
    ):
        text = json.dumps(shape)
        found.append((path, "application/json", text.encode()))
        found.append((path, "application/x-protobuf", _as_protobuf(shape, message)))
    return found


def _as_protobuf(shape: dict[str, Any], message: Any) -> bytes:
    from google.protobuf.json_format import ParseDict

    return bytes(ParseDict(_base64_ids(shape), message).SerializeToString())


def _base64_ids(shape: Any) -> Any:
    """Protobuf's own JSON has bytes in base64, OTLP's in hex."""
    import base64

    if isinstance(shape, list):
        return [_base64_ids(one) for one in shape]
    if not isinstance(shape, dict):
        return shape
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode()
        if key in ("traceId", "spanId")
        else _base64_ids(value)
        for key, value in shape.items()
    }


def test_otlp(client: httpx.Client) -> None:
    """Every request is taken or refused; none is a fault of the service."""
    bodies = otlp_bodies()
    for path, media_type, body in bodies:
        answer = client.post(path, content=body, headers={"content-type": media_type})
        assert answer.status_code == 200, answer.text
    for chosen in rounds():
        path, media_type, body = chosen.choice(bodies)
        answer = client.post(
            path, content=damaged(chosen, body), headers={"content-type": media_type}
        )
        assert answer.status_code in (200, 400, 413), (answer.status_code, answer.text)


def test_json_events(client: httpx.Client) -> None:
    """The doors of events in JSON, ours and the older ones."""
    shape = {"kind": "note", "message": "x", "step": 3, "ts": "2026-11-28T10:00:00Z"}
    bodies = [
        ("/api/v1/events", json.dumps({"events": [shape | {"details": {"a": [1, 2]}}] * 3})),
        ("/api/event", json.dumps(shape)),
        ("/api/update/training", json.dumps({"step": 3})),
        ("/api/worker/w", json.dumps({"status": "active"})),
    ]
    for chosen in rounds():
        path, body = chosen.choice(bodies)
        answer = client.post(
            path,
            content=damaged(chosen, body.encode()),
            headers={"content-type": "application/json"},
        )
        assert answer.status_code in (200, 400, 413), (answer.status_code, answer.text)


def test_filters(client: httpx.Client) -> None:
    """Every query is answered, or refused with the parameter that is wrong."""
    client.post("/api/v1/events", json={"events": [{"kind": "note", "step": 3, "a": {"b": 1}}] * 9})
    names = [field.name for field in FIELDS] + [
        "q",
        "has",
        "not",
        "since",
        "until",
        "limit",
        "page",
    ]
    values = ["note", "!note", "dio,ada", "step:3", "a.b:1", '"a:b":1', "24h", "2026-11-28", "10"]
    routes = ["", "/summary", "/histogram", "/series", "/channels", "/export"]
    for chosen in rounds():
        query = "&".join(
            f"{chosen.choice(names)}={quote(damaged(chosen, chosen.choice(values).encode()))}"
            for _ in range(chosen.randint(1, 5))
        )
        answer = client.get(f"/api/battle_log{chosen.choice(routes)}?{query}")
        assert answer.status_code in (200, 400, 414), (answer.status_code, query, answer.text)
