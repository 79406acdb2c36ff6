"""Every JSON door of the service reads what other software writes, and stores what it accepts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.log import LogReader
from realm_telemetry.service import RealmServer
from realm_telemetry.wire import CONTENT_TYPE
from realm_telemetry.wire.v1 import event_pb2 as pb

JSON = {"content-type": "application/json"}


def post(client: httpx.Client, path: str, body: bytes | str) -> Any:
    """The answer to a body that is taken."""
    response = client.post(path, content=body, headers=JSON)
    assert response.status_code == 200, response.text
    return response.json()


def stored(client: httpx.Client) -> list[dict[str, Any]]:
    """All events, oldest first."""
    found: list[dict[str, Any]] = client.get("/api/battle_log?limit=1000").json()
    return sorted(found, key=lambda event: event["cursor"])


def batch(event: str) -> tuple[str, str]:
    return "/api/v1/events", f'{{"events": [{{"kind": "note", "message": "one"}}, {event}]}}'


def older(event: str) -> tuple[str, str]:
    return "/api/event", event


def record(event: str) -> tuple[str, str]:
    """A log record whose attribute is what the event has among its details."""
    given = json.dumps(json.loads(event)["details"]["given"])
    attribute = f'{{"key": "given", "value": {{"stringValue": {given}}}}}'
    records = f'[{{"body": {{"stringValue": "one"}}}}, {{"attributes": [{attribute}]}}]'
    return "/v1/logs", f'{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": {records}}}]}}]}}'


EVENT = r'{"kind": "note", "message": "two", "details": {"given": "cut \ud83d", "\ude00": 1}}'


@pytest.mark.parametrize("door", [batch, older, record])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_half_an_emoji_costs_no_event(
    client: httpx.Client, door: Callable[[str], tuple[str, str]], encoding: str
) -> None:
    path, body = door(EVENT)
    post(client, path, body.encode(encoding))
    assert stored(client)[-1]["details"]["given"] == "cut \ufffd"
    if door is batch:
        assert [event["message"] for event in stored(client)] == ["one", "two"]


@pytest.mark.parametrize("door", [batch, older])
def test_numbers_that_json_does_not_have_are_recorded_as_emit_does(
    client: httpx.Client, door: Callable[[str], tuple[str, str]]
) -> None:
    details = f'{{"loss": NaN, "best": -Infinity, "far": 1e999, "id": {"9" * 5000}}}'
    post(client, *door(f'{{"kind": "note", "details": {details}}}'))
    assert stored(client)[-1]["details"] == {
        "loss": "NaN",
        "best": "-Infinity",
        "far": "1e999",
        "id": "9" * 5_000,
    }


@pytest.mark.parametrize("door", [batch, older])
def test_control_characters_and_bytes_that_are_no_utf_8_are_taken(
    client: httpx.Client, door: Callable[[str], tuple[str, str]]
) -> None:
    path, body = door('{"kind": "note", "message": "a\tb\u00ff"}')
    post(client, path, body.encode("latin-1"))
    assert stored(client)[-1]["message"] == "a\tb\ufffd"


def test_an_update_and_a_worker_are_read_alike(client: httpx.Client) -> None:
    post(client, "/api/update/training", r'{"loss": NaN, "note": "\ud83d"}')
    post(client, "/api/worker/w1", b'\xef\xbb\xbf{"load": Infinity, "name": "J\xf6rg"}')
    update, worker = (event["details"]["data"] for event in stored(client))
    assert update == {"loss": "NaN", "note": "\ufffd"}
    assert worker["w1"]["load"] == "Infinity"
    assert worker["w1"]["name"] == "J\ufffdrg"


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/event", "/v1/logs", "/api/worker/w1"])
@pytest.mark.parametrize("body", [b"{} {}", b"[" * 100_000, b"{", b"\0" * 64, b'{"a": 01}'])
def test_what_is_no_json_is_refused_at_every_door(
    client: httpx.Client, path: str, body: bytes
) -> None:
    response = client.post(path, content=body, headers=JSON)
    assert response.status_code == 400
    assert "malformed_json" in response.text
    assert stored(client) == []


def test_details_and_resources_on_the_wire_are_read_alike(client: httpx.Client) -> None:
    message = pb.EventBatch()
    event = message.events.add(
        producer_id=7, number=1, kind="note", channel="system", severity="info", message="m"
    )
    event.time_unix_nano = 1_764_374_400_000_000_000
    event.details_json = rb'{"text": "\ud83d", "loss": NaN}'
    message.producers.add(producer_id=7, resource_json=b'{"service.name": "J\xf6rg"}')
    body = message.SerializeToString()
    response = client.post("/api/v1/events", content=body, headers={"content-type": CONTENT_TYPE})
    assert response.status_code == 200, response.text
    assert stored(client)[0]["details"] == {"text": "\ufffd", "loss": "NaN"}


def test_half_an_emoji_in_a_query_is_no_error(client: httpx.Client) -> None:
    for query in ("q=%ED%A0%BD", "run=%ED%A0%BD", "has=text:%ED%A0%BD", "kind=%ff", "hero=%ff"):
        assert client.get(f"/api/battle_log?{query}").status_code in (200, 400)


@pytest.mark.parametrize("door", [batch, older])
def test_fields_beside_the_details_are_stored(
    client: httpx.Client, door: Callable[[str], tuple[str, str]]
) -> None:
    post(client, *door('{"kind": "training_step", "step": 3, "loss": 0.5, "best": null}'))
    event = stored(client)[-1]
    assert event["details"] == {"step": 3, "loss": 0.5, "best": None}
    assert "3" in event["message"]


def test_an_event_that_only_has_a_number_is_no_duplicate_of_an_earlier_one(
    client: httpx.Client,
) -> None:
    body = '{"events": [{"kind": "note", "number": 1}, {"kind": "note", "number": 1}]}'
    assert post(client, "/api/v1/events", body)["accepted"] == 2
    assert [event["details"] for event in stored(client)] == [{"number": 1}] * 2


@pytest.mark.parametrize("door", [batch, older])
@pytest.mark.parametrize(
    "given",
    ['"timestamp": 1764410400123', '"time_unix_nano": "1764410400123"', '"ts": 1764410400.123'],
)
def test_a_time_is_read_in_any_unit(
    client: httpx.Client, door: Callable[[str], tuple[str, str]], given: str
) -> None:
    post(client, *door(f'{{"kind": "note", "message": "timed", {given}}}'))
    (event,) = (event for event in stored(client) if event["message"] == "timed")
    assert event["timestamp"] == "2025-11-29T10:00:00.123000Z"


@pytest.mark.parametrize("given", ["1e300", "-1", "0", "NaN", '"9999-12-31T00:00:00Z"', '"soon"'])
def test_a_time_that_is_none_is_refused_by_name_and_costs_no_neighbour(
    client: httpx.Client, given: str
) -> None:
    answer = post(client, *batch(f'{{"kind": "note", "timestamp": {given}}}'))
    (rejected,) = answer["rejected"]
    assert answer["accepted"] == 1
    assert rejected["event_id"] == "events[1]"
    assert rejected["reason"].startswith("timestamp: ")
    response = client.post(
        "/api/event", content=f'{{"kind": "note", "timestamp": {given}}}', headers=JSON
    )
    assert response.status_code == 400
    assert "timestamp: " in response.text


@pytest.mark.parametrize(
    "body",
    [
        "{}", "[]", '{"events": {}}', '{"events": null}', '{"kind": "note"}', "null",
        '[{"kind": "note"}]', '{"kind": "note"}\n{"kind": "note"}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_batch_is_refused_and_the_shape_is_named(
    client: httpx.Client, body: str
) -> None:
    response = client.post("/api/v1/events", content=body, headers=JSON)
    assert response.status_code == 400
    assert "malformed_json" in response.text
    for media_type in ("application/x-ndjson", "text/plain", ""):
        answer = client.post("/api/v1/events", content=body, headers={"content-type": media_type})
        assert answer.status_code == 415
    assert stored(client) == []


def test_what_a_batch_has_beside_its_events_is_named(client: httpx.Client) -> None:
    body = '{"events": [{"kind": "note"}], "producers": [], "kind": "note"}'
    answer = post(client, "/api/v1/events", body)
    assert answer["accepted"] == 1
    assert [each["event_id"] for each in answer["rejected"]] == ["producers", "kind"]
    assert post(client, "/api/v1/events", '{"events": []}')["rejected"] == []


def test_the_resource_of_an_event_with_an_id_is_that_of_its_producer(
    server: RealmServer, client: httpx.Client, tmp_path: Path
) -> None:
    """As a line of an export has it; without an id it is a detail."""
    shape = {"kind": "note", "producer": "ab" * 8, "number": 1, "resource": {"host.name": "forge"}}
    events = [shape, {"kind": "note", "resource": {"a": 1}}, shape | {"number": 2, "resource": 7}]
    answer = post(client, "/api/v1/events", json.dumps({"events": events}))
    assert [each["reason"].split()[0] for each in answer["rejected"]] == ["resource"]
    assert [event["details"] for event in stored(client)] == [{}, {"resource": {"a": 1}}]
    with LogReader(tmp_path / "vault" / "jobs.db") as reader:
        found = {info.producer: info.resource for info in reader.now.producers()}
    assert found["ab" * 8] == {"host.name": "forge"}


@pytest.mark.parametrize("body", [b"\x08\x01", b"\x7a\x03abc", b"\xa2\x06\x01x"])
def test_protobuf_that_is_made_of_unknown_fields_is_refused(
    client: httpx.Client, body: bytes
) -> None:
    response = client.post("/api/v1/events", content=body, headers={"content-type": CONTENT_TYPE})
    assert response.status_code == 400
    assert "malformed_protobuf" in response.text
    response = client.post("/api/v1/events", content=b"", headers={"content-type": CONTENT_TYPE})
    assert response.status_code == 200


def test_text_in_protobuf_that_is_not_utf_8_costs_no_batch(client: httpx.Client) -> None:
    message = pb.EventBatch()
    for number in (1, 2):
        message.events.add(
            producer_id=7, number=number, kind="note", channel="system", severity="info",
            message="half XXX", time_unix_nano=1_764_374_400_000_000_000,
        )  # fmt: skip
    message.events[0].message = "whole"
    body = message.SerializeToString().replace(b"XXX", b"\xed\xa0\xbd")
    response = client.post("/api/v1/events", content=body, headers={"content-type": CONTENT_TYPE})
    assert response.status_code == 200, response.text
    assert [event["message"] for event in stored(client)] == ["whole", "half \ufffd"]
