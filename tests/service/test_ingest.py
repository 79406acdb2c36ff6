"""POST /api/v1/events: what is taken, what is refused, and that nothing is half-stored."""

import gzip
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.service import RealmServer
from realm_telemetry.wire import (
    CONTENT_TYPE,
    BatchProducer,
    decode_answer,
    encode_batch,
)

from .conftest import PRODUCER, asking, free_ports, make_event, post_notes, serving

PROTOBUF = {"content-type": CONTENT_TYPE}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


def stored(client: httpx.Client) -> list[dict[str, Any]]:
    """What the log has, oldest first."""
    found: list[dict[str, Any]] = client.get("/api/battle_log?limit=1000").json()
    return sorted(found, key=lambda event: event["cursor"])


@pytest.mark.parametrize("encoding", sorted(PACKERS))
def test_a_protobuf_batch_is_stored_and_answered_in_protobuf(
    client: httpx.Client, encoding: str
) -> None:
    body = PACKERS[encoding](encode_batch([make_event(n) for n in range(1, 513)]))
    headers = PROTOBUF | {"content-encoding": encoding}
    answer = decode_answer(client.post("/api/v1/events", content=body, headers=headers).content)
    assert (answer.accepted, answer.duplicates, answer.rejected) == (512, 0, [])
    assert answer.log_id == client.get("/health").json()["log_id"]
    assert [event["number"] for event in stored(client)] == list(range(1, 513))


def test_a_protobuf_batch_can_be_answered_in_json(client: httpx.Client) -> None:
    headers = PROTOBUF | {"accept": "application/json"}
    body = encode_batch([make_event(1)])
    assert client.post("/api/v1/events", content=body, headers=headers).json()["accepted"] == 1


def test_a_batch_sent_again_counts_as_duplicates(client: httpx.Client) -> None:
    assert post_notes(client, 1, 10) | {"log_id": ""} == {
        "accepted": 10,
        "duplicates": 0,
        "rejected": [],
        "log_id": "",
    }
    again = post_notes(client, 6, 15)
    assert (again["accepted"], again["duplicates"]) == (5, 5)
    assert len(stored(client)) == 15


def test_events_without_ids_get_one_from_the_service(client: httpx.Client) -> None:
    body = {"events": [{"kind": "note", "message": "one"}, {"kind": "note", "message": "two"}]}
    assert client.post("/api/v1/events", json=body).json()["accepted"] == 2
    one, two = stored(client)
    assert (one["producer"], one["number"], two["number"]) == (two["producer"], 1, 2)
    assert one["time_unix_nano"]
    assert one["message"] == "one"


def test_invalid_events_are_rejected_with_reasons_and_the_others_stored(
    client: httpx.Client,
) -> None:
    shapes = [{"kind": "note"}, {"kind": "note", "channel": "nowhere"}, 7, {"message": "no kind"}]
    answer = client.post("/api/v1/events", json={"events": shapes}).json()
    assert answer["accepted"] == 1
    assert [one["event_id"] for one in answer["rejected"]] == [
        "events[1]",
        "events[2]",
        "events[3]",
    ]
    assert "channel" in answer["rejected"][0]["reason"]


def test_what_an_event_lacks_is_filled_in_from_the_catalog(client: httpx.Client) -> None:
    shape = {"kind": "checkpoint_saved", "details": {"step": 183_000, "loss": 0.234, "path": "p"}}
    client.post("/api/v1/events", json={"events": [shape]})
    (event,) = stored(client)
    assert (event["channel"], event["severity"]) == ("checkpoint", "success")
    assert event["message"] == "Checkpoint 183,000 saved (loss: 0.2340)"


def test_concurrent_batches_are_each_answered_for_themselves(
    server: RealmServer, client: httpx.Client
) -> None:
    post_notes(client, 1, 50)
    answers: dict[int, dict[str, Any]] = {}

    def send(first: int) -> None:
        with asking(server) as other:
            answers[first] = post_notes(other, first, first + 19)

    threads = [threading.Thread(target=send, args=(first,)) for first in range(1, 400, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored(client)) == 410
    assert sum(answer["accepted"] for answer in answers.values()) == 360
    assert all(one["accepted"] + one["duplicates"] == 20 for one in answers.values())


def test_a_large_batch_takes_several_transactions(client: httpx.Client, tmp_path: Path) -> None:
    assert post_notes(client, 1, 3500)["accepted"] == 3500
    with LogReader(tmp_path / "vault" / "jobs.db") as reader:
        assert reader.now.max_cursor() == 3500


def test_what_a_batch_says_of_its_producer_is_kept_as_receipt(client: httpx.Client) -> None:
    stated = BatchProducer(PRODUCER, pipeline="lab", emitted=2, dropped=0, ended=True)
    body = encode_batch([make_event(1), make_event(2)], [stated])
    client.post("/api/v1/events", content=body, headers=PROTOBUF)
    (receipt,) = client.get("/api/receipts").json()["receipts"]
    assert (receipt["producer"], receipt["stored"], receipt["complete"]) == (PRODUCER, 2, True)


@pytest.mark.parametrize("encoding", sorted(PACKERS))
@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_the_body_limit_holds_at_below_and_above(
    tmp_path: Path, encoding: str, beyond: int, status: int
) -> None:
    body = encode_batch([make_event(1, message="x" * 5000)])
    limit = len(body) - beyond
    options = {"max_body_bytes": limit, "max_compressed_bytes": len(PACKERS[encoding](body))}
    headers = PROTOBUF | {"content-encoding": encoding}
    with serving(free_ports(tmp_path, **options)) as server, asking(server) as client:
        packed = PACKERS[encoding](body)
        response = client.post("/api/v1/events", content=packed, headers=headers)
        assert response.status_code == status
        assert len(stored(client)) == (1 if status == 200 else 0)


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_the_limit_of_compressed_bytes_holds_at_below_and_above(
    tmp_path: Path, beyond: int, status: int
) -> None:
    body = gzip.compress(encode_batch([make_event(1)]))
    headers = PROTOBUF | {"content-encoding": "gzip"}
    with (
        serving(free_ports(tmp_path, max_compressed_bytes=len(body) - beyond)) as server,
        asking(server) as client,
    ):
        assert client.post("/api/v1/events", content=body, headers=headers).status_code == status


@pytest.mark.parametrize("media_type", ["application/json", CONTENT_TYPE])
@pytest.mark.parametrize(("count", "status"), [(9, 200), (10, 200), (11, 413)])
def test_the_number_of_events_is_limited(
    tmp_path: Path, media_type: str, count: int, status: int
) -> None:
    events = [make_event(number) for number in range(1, count + 1)]
    json_body = b'{"events": [' + b",".join([b'{"kind": "note"}'] * count) + b"]}"
    body = json_body if media_type == "application/json" else encode_batch(events)
    with serving(free_ports(tmp_path, max_batch_events=10)) as server, asking(server) as client:
        response = client.post("/api/v1/events", content=body, headers={"content-type": media_type})
        assert response.status_code == status
        assert len(stored(client)) == (count if status == 200 else 0)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_truncated_compressed_body_stores_nothing(client: httpx.Client, encoding: str) -> None:
    body = PACKERS[encoding](encode_batch([make_event(number) for number in range(1, 200)]))
    headers = PROTOBUF | {"content-encoding": encoding}
    response = client.post("/api/v1/events", content=body[:-9], headers=headers)
    assert (response.status_code, response.json()["error"]) == (400, "malformed_compression")
    assert stored(client) == []


def test_gzip_of_several_members_is_read_whole(client: httpx.Client) -> None:
    body = encode_batch([make_event(1), make_event(2)])
    packed = gzip.compress(body[:20]) + gzip.compress(body[20:])
    headers = PROTOBUF | {"content-encoding": "gzip", "accept": "application/json"}
    answer = client.post("/api/v1/events", content=packed, headers=headers)
    assert answer.json()["accepted"] == 2


@settings(
    max_examples=settings().max_examples * 3 // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=st.binary(max_size=400),
    encoding=st.sampled_from(sorted(PACKERS)),
    media_type=st.sampled_from(["application/json", CONTENT_TYPE]),
)
def test_no_body_whatever_makes_the_service_fail(
    client: httpx.Client, body: bytes, encoding: str, media_type: str
) -> None:
    headers = {"content-type": media_type, "content-encoding": encoding}
    assert client.post("/api/v1/events", content=body, headers=headers).status_code < 500
    packed = client.post("/api/v1/events", content=PACKERS[encoding](body), headers=headers)
    assert packed.status_code < 500


def test_an_event_larger_than_any_emit_lets_through_is_cut_and_marked(
    client: httpx.Client,
) -> None:
    body = encode_batch([make_event(1, details={"text": "x" * 300_000}), make_event(2)])
    assert client.post("/api/v1/events", content=body, headers=PROTOBUF).status_code == 200
    large, small = stored(client)
    assert len(large["details"]["text"]) < 65_536
    assert large["details"]["realm.truncated"] == ["text"]
    assert small["details"] == {"step": 2}
