"""Our own events: log -> OTLP -> /v1/logs of a second service, where they are the same again."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.kinds.catalog import event_from_dict
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.otel import to_log_record
from realm_telemetry.otel.otlp import LOGS, read_request
from realm_telemetry.testing import sample_events
from realm_telemetry.values.details import MAX_DETAILS, make_safe

from .conftest import JSON, PROTOBUF, accepted, as_json, log_record, logs_request, send, stored

PRODUCER = "c0" * 8
RESOURCE: dict[str, Any] = {
    "service.name": "trainer",
    "realm.producer.id": PRODUCER,
    "process.pid": 7,
    "tags": ["a", "b"],
}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(text.filter(bool), inner, max_size=4)
    ),
    max_leaves=8,
)


def hex_digits(count: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=count // 2, max_size=count // 2).filter(any).map(bytes.hex)


events = st.builds(
    Event,
    kind=text.filter(bool),
    channel=st.sampled_from(CHANNELS),
    severity=st.sampled_from(SEVERITIES),
    message=text,
    details=st.dictionaries(text.filter(bool), json_values, max_size=12),
    time_unix_nano=st.integers(0, 2**63 - 1),
    producer=hex_digits(16),
    number=st.integers(1, 2**64 - 1),
    hero_id=st.none() | text,
    campaign_id=st.none() | text,
    run_id=st.none() | text,
    source=st.none() | text,
    trace_id=st.none() | hex_digits(32),
    span_id=st.none() | hex_digits(16),
    trace_flags=st.integers(0, 255),
    rank=st.none() | st.integers(0, 2**32 - 1),
    observed_unix_nano=st.none() | st.integers(1, 2**63 - 1),
)


def sent_by_an_exporter(*some: Event, resource: Any = None) -> ExportLogsServiceRequest:
    """What OpenTelemetry's own exporter makes of our records."""
    given = Resource(RESOURCE if resource is None else resource)
    return encode_logs([to_log_record(event, given) for event in some])


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
@settings(
    max_examples=settings().max_examples * 3 // 5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(original=events)
def test_any_event_comes_back_as_it_was(media_type: str, original: Event) -> None:
    request = sent_by_an_exporter(original)
    body = as_json(request) if media_type == JSON else request.SerializeToString()
    json_body = media_type == JSON
    reading = read_request(LOGS, body, as_json=json_body, max_entries=9, now_ns=1)
    assert reading.events == [original]
    assert list(reading.producers) == [original.producer]
    assert reading.others == {}


def test_the_largest_event_that_emit_makes_comes_back_whole() -> None:
    plain = sample_events(1)[0]
    huge = {f"detail{n}": "x" * 2_000 for n in range(MAX_DETAILS)}
    largest = make_safe(msgspec.structs.replace(plain, details=huge))
    body = sent_by_an_exporter(largest).SerializeToString()
    reading = read_request(LOGS, body, as_json=False, max_entries=9, now_ns=1)
    assert reading.events == [largest]
    assert reading.cut == 0


@pytest.fixture
def first_log(tmp_path: Path) -> Path:
    """The log of a host: 700 events of one producer that said goodbye."""
    path = tmp_path / "first" / "vault" / "jobs.db"
    with LogWriter(path) as writer:
        writer.register_producer(ProducerInfo(PRODUCER, "lab", RESOURCE))
        writer.append(sample_events(700))
        writer.record_receipt(PRODUCER, emitted=700, dropped=0, ended=True)
    return path


def as_told(event: dict[str, Any]) -> dict[str, Any]:
    """Without what each log has of its own: row and arrival."""
    own = ("cursor", "observed_unix_nano", "late")
    return {key: value for key, value in event.items() if key not in own}


def test_a_log_that_is_sent_by_otlp_is_the_same_log_at_the_other_side(
    first_log: Path, client: httpx.Client
) -> None:
    with LogReader(first_log) as reader:
        (resource,) = [info.resource for info in reader.now.producers()]
        rows = [row.event for row in reader.now.after(0, 1000)]
    for start in range(0, 700, 200):
        request = sent_by_an_exporter(*rows[start : start + 200], resource=resource)
        for _ in range(2):  # and again, as after an answer that was lost
            accepted(send(client, request))
    there = [event_from_dict(as_told(event)) for event in stored(client)]
    assert there == [msgspec.structs.replace(event, observed_unix_nano=None) for event in rows]
    (receipt,) = client.get("/api/receipts").json()["receipts"]
    assert (receipt["producer"], receipt["stored"]) == (PRODUCER, 700)
    line = msgspec.json.decode(client.get("/api/battle_log/export").text.splitlines()[0])
    assert line["resource"] == resource


def test_events_of_several_producers_each_register_their_own(client: httpx.Client) -> None:
    request = ExportLogsServiceRequest()
    for digit in "ab":
        some = sample_events(3, producer=digit * 16)
        resource = {"realm.producer.id": digit * 16, "service.name": digit}
        one = sent_by_an_exporter(*some, resource=resource)
        request.resource_logs.extend(one.resource_logs)
    accepted(send(client, request))
    receipts = client.get("/api/receipts").json()["receipts"]
    assert [(each["producer"][0], each["stored"]) for each in receipts] == [("a", 3), ("b", 3)]


def test_a_resource_that_is_not_the_producers_is_not_taken_for_its_own(
    client: httpx.Client,
) -> None:
    """A collector may replace it; the events are counted all the same."""
    accepted(send(client, sent_by_an_exporter(*sample_events(3), resource={"host.name": "c"})))
    (receipt,) = client.get("/api/receipts").json()["receipts"]
    assert (receipt["producer"], receipt["stored"]) == (PRODUCER, 3)
    line = msgspec.json.decode(client.get("/api/battle_log/export").text.splitlines()[0])
    assert not line["resource"]


def test_events_that_come_back_to_their_own_log_change_nothing(
    tmp_path: Path, client: httpx.Client
) -> None:
    """A collector that forwards to the service that the events came from."""
    path = tmp_path / "vault" / "jobs.db"
    with LogWriter(path) as writer:
        writer.register_producer(ProducerInfo(PRODUCER, "lab", RESOURCE))
        writer.append(sample_events(5))
    accepted(send(client, sent_by_an_exporter(*sample_events(5), resource={})))
    assert len(stored(client)) == 5
    with LogReader(path) as reader:
        (info,) = reader.now.producers()
    assert (info.pipeline, info.resource) == ("lab", RESOURCE)


def test_foreign_records_beside_ours_do_not_spoil_the_receipt(
    client: httpx.Client, tmp_path: Path
) -> None:
    """Their numbers are made of their content and count nothing."""
    foreign = logs_request(*(log_record(f"{n}") for n in range(20)), resource=RESOURCE)
    accepted(send(client, foreign))
    accepted(send(client, sent_by_an_exporter(*sample_events(9))))
    accepted(send(client, logs_request(log_record("later"), resource=RESOURCE)))
    accepted(send(client, foreign))
    assert len(stored(client)) == 30
    (receipt,) = client.get("/api/receipts").json()["receipts"]
    assert (receipt["producer"], receipt["stored"]) == (PRODUCER, 9)
    with LogReader(tmp_path / "vault" / "jobs.db") as reader:
        assert reader.now.stored_among(sample_events(12)) == 9
