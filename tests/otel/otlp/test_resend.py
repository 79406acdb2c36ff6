"""What is sent again is stored once, and what only looks the same is not lost."""

import httpx
import msgspec
import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from realm_telemetry.otel.otlp import LOGS, read_request

from .conftest import (
    JSON,
    NOW,
    PROTOBUF,
    accepted,
    encoded,
    log_record,
    logs_request,
    read,
    send,
    stored,
)

SOME = [log_record(f"line {n}", {"n": n}, time_unix_nano=NOW + n) for n in range(20)]


def ids(client: httpx.Client) -> list[str]:
    return [event["id"] for event in stored(client)]


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_a_request_sent_again_is_stored_once(client: httpx.Client, media_type: str) -> None:
    for _ in range(3):
        assert send(client, logs_request(*SOME), media_type).status_code == 200
    assert len(stored(client)) == 20
    assert 'outcome="duplicate"} 40\n' in client.get("/metrics").text


def test_records_sent_again_in_other_requests_are_stored_once(client: httpx.Client) -> None:
    """A collector batches anew after its restart."""
    accepted(send(client, logs_request(*SOME)))
    accepted(send(client, logs_request(*SOME[5:15])))
    accepted(send(client, logs_request(*reversed(SOME))))
    assert len(stored(client)) == 20


def test_equal_lines_of_the_same_nanosecond_are_as_many_events(client: httpx.Client) -> None:
    request = logs_request(*[log_record("again")] * 5, log_record("other"))
    accepted(send(client, request))
    assert len(set(ids(client))) == 6
    accepted(send(client, request))
    assert len(ids(client)) == 6


def test_equal_lines_of_two_resources_or_scopes_are_two_events(client: httpx.Client) -> None:
    for resource, scope in (("a", "x"), ("b", "x"), ("a", "y")):
        request = logs_request(log_record(), resource={"service.name": resource}, scope=scope)
        accepted(send(client, request))
    assert len(set(ids(client))) == 3


@pytest.mark.parametrize(
    "other",
    [
        log_record("b"),
        log_record("a", {"k": 1}),
        log_record("a", time_unix_nano=NOW + 1),
        log_record("a", severity_number=5),
        log_record("a", severity_text="I"),
        log_record("a", observed_time_unix_nano=NOW + 1),
        log_record("a", trace_id=b"\1" * 16),
        log_record("a", span_id=b"\1" * 8),
        log_record("a", flags=1),
        log_record("a", flags=0x100),
        log_record("a", dropped_attributes_count=1),
        log_record("a", event_name="a"),
        log_record(["a"]),
    ],
)
def test_records_that_differ_in_any_field_are_two_events(other: LogRecord) -> None:
    one, two = read(logs_request(log_record("a"), other)).events
    assert one.id != two.id
    # And not because they came together.
    (alone,) = read(logs_request(other)).events
    assert alone.id == two.id


def test_a_uid_says_which_record_it_is_whatever_else_it_says(client: httpx.Client) -> None:
    for body in ("first", "as a collector changed it"):
        record = log_record(body, {"log.record.uid": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
        accepted(send(client, logs_request(record, record)))
    assert [event["message"] for event in stored(client)] == ["first"]


def test_a_record_without_any_time_gets_that_of_its_arrival_and_is_never_lost(
    client: httpx.Client,
) -> None:
    """Nothing tells such a line from an equal one an hour later, so a resend is stored again."""
    request = logs_request(*[log_record(time_unix_nano=0)] * 2)
    accepted(send(client, request))
    accepted(send(client, request))
    events = stored(client)
    assert len(events) == 4
    assert all(int(event["time_unix_nano"]) > NOW for event in events)
    assert not any(event["late"] for event in events)


def test_a_record_that_was_only_observed_has_that_time(client: httpx.Client) -> None:
    request = logs_request(log_record(time_unix_nano=0, observed_time_unix_nano=NOW))
    accepted(send(client, request))
    accepted(send(client, request))
    (event,) = stored(client)
    assert event["time_unix_nano"] == str(NOW)


def test_ids_are_the_same_whichever_service_reads_the_request() -> None:
    """So that two services that share a log, or one after its restart, agree."""
    body = encoded(logs_request(*SOME), PROTOBUF)
    first, second = (
        read_request(LOGS, body, as_json=False, max_entries=99, now_ns=now).events for now in (1, 2)
    )
    assert [msgspec.to_builtins(each) for each in first] == [
        msgspec.to_builtins(each) for each in second
    ]
