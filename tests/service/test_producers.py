"""Whose events a service takes: ids are public, and a number can be stored once only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.wire import CONTENT_TYPE, BatchProducer, decode_answer, encode_batch

from .conftest import PRODUCER, asking, free_ports, make_event, serving

PROTOBUF = {"content-type": CONTENT_TYPE}
REAL = [make_event(number) for number in range(1, 52)]
FORGED = [make_event(number, kind="forged") for number in range(2, 52)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def shipper(home: Path) -> Iterator[LogWriter]:
    """What a shipper of the home writes with; its producer has stored one event."""
    with LogWriter(home / "vault" / "jobs.db") as writer:
        writer.append(REAL[:1], pipeline="here")
        yield writer


@pytest.fixture
def client(home: Path, shipper: LogWriter) -> Iterator[httpx.Client]:
    with serving(free_ports(home)) as running, asking(running) as made:
        yield made


def post(client: httpx.Client, body: bytes, query: str = "") -> Any:
    reply = client.post(f"/api/v1/events{query}", content=body, headers=PROTOBUF)
    assert reply.status_code == 200, reply.text
    return decode_answer(reply.content)


def kinds(home: Path) -> set[str]:
    with LogReader(home / "vault" / "jobs.db") as reader:
        return {row.event.kind for row in reader.now.after(0)}


def as_json(event: Any) -> dict[str, Any]:
    return {"id": event.id, "kind": event.kind, "time_unix_nano": event.time_unix_nano}


@pytest.mark.parametrize("named", [False, True])
def test_forged_numbers_of_a_live_producer_do_not_stand_in_for_its_events(
    client: httpx.Client, shipper: LogWriter, home: Path, named: bool
) -> None:
    """By protobuf, with the log's own public id and without, and by JSON."""
    log_id = client.get("/health").json()["log_id"] if named else ""
    producers = [BatchProducer(PRODUCER, "here", ended=True, emitted=1)]
    answer = post(client, encode_batch(FORGED, producers, log_id=log_id))
    assert (answer.accepted, answer.duplicates, len(answer.rejected)) == (0, 0, 50)
    assert answer.rejected[0].event_id == FORGED[0].id
    json = client.post("/api/v1/events", json={"events": [as_json(each) for each in FORGED]})
    assert len(json.json()["rejected"]) == 50
    result = shipper.append(REAL[1:], pipeline="here")
    assert (result.stored, result.duplicates, result.refused) == (50, 0, ())
    assert kinds(home) == {"note"}
    with LogReader(home / "vault" / "jobs.db") as reader:
        (receipt,) = reader.now.receipts()
    assert (receipt.pipeline, receipt.ended, receipt.stored) == ("here", False, 51)


def test_the_older_route_refuses_them_too(client: httpx.Client, home: Path) -> None:
    reply = client.post("/api/event", json={"id": FORGED[0].id, "kind": "forged", "message": "x"})
    assert reply.status_code == 400
    assert "writes to this log itself" in reply.text
    assert kinds(home) == {"note"}


def test_otlp_refuses_them_too(client: httpx.Client, home: Path) -> None:
    """A record's uid may be any event id; the answer says how many were not taken."""
    record = {
        "timeUnixNano": str(FORGED[0].time_unix_nano),
        "eventName": "forged",
        "body": {"stringValue": "x"},
        "attributes": [
            {"key": "log.record.uid", "value": {"stringValue": FORGED[0].id}},
            {"key": "realm.kind", "value": {"stringValue": "forged"}},
        ],
    }
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    reply = client.post("/v1/logs", json=body)
    assert reply.status_code == 200
    assert reply.json()["partialSuccess"]["rejectedLogRecords"] == "1"
    assert "not stored" in reply.json()["partialSuccess"]["errorMessage"]
    assert kinds(home) == {"note"}


def test_a_replay_posts_the_ids_of_other_logs_on_purpose(client: httpx.Client) -> None:
    answer = post(client, encode_batch(REAL[1:4]), "?replay=true")
    assert (answer.accepted, answer.rejected) == (3, [])


def test_a_difference_to_what_is_stored_is_rejected_and_named(client: httpx.Client) -> None:
    other = "00000000000000bb"
    first = [make_event(number, producer=other) for number in (1, 2, 3)]
    assert post(client, encode_batch(first)).accepted == 3
    assert post(client, encode_batch(first)).duplicates == 3
    changed = [first[0], make_event(2, producer=other, kind="changed"), first[2]]
    answer = post(client, encode_batch(changed), "?replay=true")
    assert (answer.accepted, answer.duplicates) == (0, 2)
    assert [each.event_id for each in answer.rejected] == [first[1].id]
    assert "another event" in answer.rejected[0].reason


def test_an_event_without_a_time_may_be_sent_again(client: httpx.Client) -> None:
    body = {"events": [{"id": "00000000000000cc0000000000000001", "kind": "note"}]}
    assert client.post("/api/v1/events", json=body).json()["accepted"] == 1
    assert client.post("/api/v1/events", json=body).json()["duplicates"] == 1
    assert (
        client.post("/api/event", json={"id": "abc", "kind": "note", "message": "x"}).status_code
        == 200
    )
    again = client.post("/api/event", json={"id": "abc", "kind": "note", "message": "x"})
    assert again.json()["was_duplicate"] is True


def test_a_producer_of_another_host_is_taken_from_the_log_that_sent_it_first(
    client: httpx.Client,
) -> None:
    """Another log's event with its number is a rejection, which the sender keeps."""
    producer = "00000000000000dd"
    own = [make_event(number, producer=producer) for number in range(1, 6)]
    named = [BatchProducer(producer, "p")]
    assert post(client, encode_batch(own[:2], named, log_id="a" * 32)).accepted == 2
    for log_id in ("b" * 32, ""):
        answer = post(client, encode_batch(own[2:], named, log_id=log_id))
        assert (answer.accepted, len(answer.rejected)) == (0, 3)
        assert "realm replay" in answer.rejected[0].reason
    assert post(client, encode_batch(own, named, log_id="a" * 32)).accepted == 3


def test_numbers_that_the_service_has_yet_to_give_are_refused(client: httpx.Client) -> None:
    """Or the next event without an id would be rejected in the place of a forged one."""
    assert (
        client.post("/api/v1/events", json={"events": [{"kind": "note"}]}).json()["accepted"] == 1
    )
    found = client.get("/api/battle_log?limit=10").json()
    (given,) = [event for event in found if event["producer"] != PRODUCER]
    ahead = make_event(given["number"] + 1, producer=given["producer"], kind="forged")
    for query in ("", "?replay=true"):
        answer = post(client, encode_batch([ahead]), query)
        assert (answer.accepted, len(answer.rejected)) == (0, 1)
    assert client.post("/api/event", json={"id": ahead.id, "kind": "x"}).status_code == 400
    assert (
        client.post("/api/v1/events", json={"events": [{"kind": "note"}]}).json()["accepted"] == 1
    )


def test_batches_that_are_committed_together_are_judged_apart(
    client: httpx.Client, shipper: LogWriter
) -> None:
    """While the log is held, they wait for one transaction."""
    import threading

    other = "00000000000000ee"
    bodies = [
        encode_batch([make_event(number, producer=other), *FORGED[:number]]) for number in (1, 2, 3)
    ]
    answers: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda at=at: answers.__setitem__(at, post(client, bodies[at])))
        for at in range(3)
    ]
    with shipper.transaction():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(0.2)
    for thread in threads:
        thread.join()
    assert {at: answer.accepted for at, answer in answers.items()} == {0: 1, 1: 1, 2: 1}
    assert {at: len(answer.rejected) for at, answer in answers.items()} == {0: 1, 1: 2, 2: 3}
