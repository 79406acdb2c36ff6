"""One request and its answer, over HTTP and over gRPC, from receivers that misbehave."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.event import Event
from realm_telemetry.testing import sample_events
from tests.ports import free_port
from tests.waiting import SOON_S

from .conftest import Authority, Make
from .receivers import Answer, GrpcReceiver, HttpReceiver, Receiver

CODES = grpc.StatusCode


def failure(exporter: Any, count: int = 3) -> ExportError:
    with pytest.raises(ExportError) as caught:
        exporter.export_events(sample_events(count))
    return caught.value


def retry_info(seconds: int, nanos: int = 0) -> tuple[tuple[str, bytes], ...]:
    """RetryInfo as a gRPC server sends it."""
    info = RetryInfo()
    info.retry_delay.seconds, info.retry_delay.nanos = seconds, nanos
    detail = AnyMessage()
    detail.Pack(info)
    return (("grpc-status-details-bin", Status(details=[detail]).SerializeToString()),)


def test_events_arrive_in_order_with_every_attribute(receiver: Receiver, exporter: Any) -> None:
    events = sample_events(600)
    exporter.export_events(events)
    assert receiver.uids() == [event.id for event in events]
    assert receiver.arrived[0].attributes["realm.details.nested"] == {"path": ["a", None, True]}


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_requests_are_compressed_as_asked(
    protocol: str, receiver: Receiver, make: Make, wire: Any, compression: str
) -> None:
    """What went over the wire is counted; decompressed it is the same."""
    tap = wire(receiver.port)
    exporter = make(
        endpoint=f"http://127.0.0.1:{tap.port}", protocol=protocol, compression=compression
    )
    exporter.export_events(sample_events(200))
    assert len(receiver.uids()) == 200
    size = receiver.requests[0].ByteSize()
    assert (tap.sent < size / 2) is (compression == "gzip")
    if protocol != "grpc":
        assert receiver.headers[0].get("content-encoding", "none") == compression
        assert receiver.headers[0]["content-type"] == "application/x-protobuf"
        assert receiver.paths == ["/v1/logs"]


def test_http_can_deflate_too(start_receiver: Any, make: Make) -> None:
    receiver = start_receiver(HttpReceiver)
    make(endpoint=receiver.endpoint, compression="deflate").export_events(sample_events(50))
    assert receiver.headers[0]["content-encoding"] == "deflate"
    assert len(receiver.uids()) == 50


def test_headers_of_variable_and_options_are_sent(
    protocol: str, receiver: Receiver, make: Make
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20t0ken,X-Scope-OrgID=lab",
    }
    make(environment, headers={"X-Realm": "yes"}).export_events(sample_events(1))
    headers = receiver.headers[0]
    assert headers["authorization"] == "Bearer t0ken"
    assert (headers["x-scope-orgid"], headers["x-realm"]) == ("lab", "yes")
    assert "OTel-OTLP-Exporter-Python" in headers["user-agent"]


def test_a_partial_success_is_counted_and_not_sent_again(receiver: Receiver, exporter: Any) -> None:
    receiver.script.append(Answer(rejected=2, words="too old"))
    error = failure(exporter)
    assert (error.retryable, error.rejected_count, error.rejected_ids) == (False, 2, ())
    assert "too old" in str(error)
    assert len(receiver.requests) == 1


def test_a_request_rejected_as_a_whole_names_every_event(receiver: Receiver, exporter: Any) -> None:
    receiver.script.append(Answer(rejected=3, words="wrong tenant"))
    error = failure(exporter)
    assert error.rejected_ids == tuple(event.id for event in sample_events(3))
    assert error.rejected_count == 0


def test_a_warning_in_a_success_is_logged_once(
    receiver: Receiver, exporter: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing rejected and words: the protocol's way of a warning."""
    receiver.script += [Answer(words="use v2"), Answer(words="use v2")]
    exporter.export_events(sample_events(1))
    exporter.export_events(sample_events(1))
    assert [record.message for record in caplog.records].count(
        f"{exporter._channel.target.shown} warns: use v2"
    ) == 1


@pytest.mark.parametrize(
    ("status", "retryable", "wait_s"),
    [
        (429, True, None), (502, True, None), (503, True, None), (504, True, None),
        (400, False, None), (422, False, None), (500, False, None), (501, False, None),
        (401, True, 30.0), (403, True, 30.0), (404, True, 30.0), (308, True, 30.0),
        (415, True, 30.0),
    ],
)  # fmt: skip
def test_http_statuses_mean_what_the_protocol_defines(
    start_receiver: Any, make: Make, status: int, retryable: bool, wait_s: float | None
) -> None:
    """And where a setting is at fault, the events wait for a person, too."""
    receiver = start_receiver(HttpReceiver)
    receiver.script.append(Answer(status, words="as I was told"))
    error = failure(make(endpoint=receiver.endpoint))
    assert (error.retryable, error.retry_after_s) == (retryable, wait_s)
    assert f"answered {status} (as I was told)" in str(error)
    assert receiver.refused == 1


@pytest.mark.parametrize(
    ("code", "retryable", "wait_s"),
    [
        (CODES.CANCELLED, True, None), (CODES.DEADLINE_EXCEEDED, True, None),
        (CODES.ABORTED, True, None), (CODES.OUT_OF_RANGE, True, None),
        (CODES.UNAVAILABLE, True, None), (CODES.DATA_LOSS, True, None),
        (CODES.UNKNOWN, False, None), (CODES.INVALID_ARGUMENT, False, None),
        (CODES.ALREADY_EXISTS, False, None), (CODES.FAILED_PRECONDITION, False, None),
        (CODES.INTERNAL, False, None),
        (CODES.UNAUTHENTICATED, True, 30.0), (CODES.PERMISSION_DENIED, True, 30.0),
        (CODES.NOT_FOUND, True, 30.0), (CODES.UNIMPLEMENTED, True, 30.0),
    ],
)  # fmt: skip
def test_grpc_codes_mean_what_the_protocol_defines(
    start_receiver: Any, make: Make, code: Any, retryable: bool, wait_s: float | None
) -> None:
    receiver = start_receiver(GrpcReceiver)
    receiver.script.append(Answer(code=code, words="as I was told"))
    error = failure(make(endpoint=receiver.endpoint, protocol="grpc"))
    assert (error.retryable, error.retry_after_s) == (retryable, wait_s)
    assert f"answered {code.name} (as I was told)" in str(error)
    assert receiver.refused == 1


@pytest.mark.parametrize(("asked", "kept"), [("7", 7.0), ("0", 0.0), ("999999", 3600.0)])
def test_retry_after_is_kept_up_to_an_hour(
    start_receiver: Any, make: Make, asked: str, kept: float
) -> None:
    receiver = start_receiver(HttpReceiver)
    receiver.script.append(Answer(503, headers=(("retry-after", asked),)))
    assert failure(make(endpoint=receiver.endpoint)).retry_after_s == kept


def test_retry_after_may_be_a_date(start_receiver: Any, make: Make) -> None:
    receiver = start_receiver(HttpReceiver)
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    receiver.script.append(Answer(429, headers=(("retry-after", moment),)))
    wait_s = failure(make(endpoint=receiver.endpoint)).retry_after_s
    assert wait_s is not None
    assert 50 < wait_s <= 60


def test_a_status_over_http_may_say_how_long_to_wait(start_receiver: Any, make: Make) -> None:
    ((_, body),) = retry_info(7, 500_000_000)
    receiver = start_receiver(HttpReceiver)
    receiver.script.append(Answer(503, body=body, headers=(("retry-after", "3"),)))
    assert failure(make(endpoint=receiver.endpoint)).retry_after_s == 7.5


@pytest.mark.parametrize("code", [CODES.RESOURCE_EXHAUSTED, CODES.UNAVAILABLE])
@pytest.mark.parametrize(
    ("metadata", "kept"), [(retry_info(7, 500_000_000), 7.5), (retry_info(9**9), 3600.0)]
)
def test_retry_info_is_kept_up_to_an_hour(
    start_receiver: Any, make: Make, code: Any, metadata: Any, kept: float
) -> None:
    receiver = start_receiver(GrpcReceiver)
    receiver.script.append(Answer(code=code, headers=metadata))
    error = failure(make(endpoint=receiver.endpoint, protocol="grpc"))
    assert (error.retryable, error.retry_after_s) == (True, kept)


def test_a_quota_that_is_used_up_is_no_request_that_is_too_large(
    start_receiver: Any, make: Make
) -> None:
    """It is not sent in ever smaller parts until every event is given up, but waits."""
    receiver = start_receiver(GrpcReceiver)
    limited = Answer(code=CODES.RESOURCE_EXHAUSTED, words="RATE_LIMITED: ingestion rate limit")
    receiver.script.extend([limited] * 200)
    error = failure(make(endpoint=receiver.endpoint, protocol="grpc"), 64)
    assert (error.retryable, error.rejected_ids, receiver.refused) == (True, (), 1)


@pytest.mark.parametrize(
    "words",
    [
        "grpc: received message larger than max (5000000 vs. 4194304)",
        "Received message larger than max (5000000 vs. 4194304)",
        "gRPC message exceeds maximum size 4194304: 5000000",
    ],
)
def test_a_message_that_is_too_large_is_known_by_its_words(
    start_receiver: Any, make: Make, words: str
) -> None:
    """As gRPC for Go, C (and with it Python) and Java say it."""
    receiver = start_receiver(GrpcReceiver)
    receiver.script.append(Answer(code=CODES.RESOURCE_EXHAUSTED, words=words))
    events = sample_events(64)
    make(endpoint=receiver.endpoint, protocol="grpc").export_events(events)
    assert receiver.uids() == [event.id for event in events]
    assert len(receiver.requests) == 2


def test_retry_info_does_not_save_what_is_invalid(start_receiver: Any, make: Make) -> None:
    receiver = start_receiver(GrpcReceiver)
    receiver.script.append(Answer(code=CODES.INVALID_ARGUMENT, headers=retry_info(1)))
    assert not failure(make(endpoint=receiver.endpoint, protocol="grpc")).retryable


def test_what_the_receiver_calls_too_large_goes_in_parts(
    protocol: str, receiver: Receiver, make: Make
) -> None:
    events = sample_events(64)
    receiver.max_bytes = 6_000
    make(endpoint=receiver.endpoint, protocol=protocol).export_events(events)
    assert receiver.uids() == [event.id for event in events]
    assert receiver.refused > 1


def test_requests_stay_below_our_own_limit(protocol: str, receiver: Receiver, make: Make) -> None:
    """So that the usual 4 MiB of a collector's gRPC are never met; at the limit is not over it."""
    events = sample_events(64)
    make(endpoint=receiver.endpoint, protocol=protocol).export_events(events[:1])
    size = receiver.requests[0].ByteSize()
    exporter = make(endpoint=receiver.endpoint, protocol=protocol, max_request_bytes=10 * size)
    exporter.export_events(events)
    assert receiver.uids() == [event.id for event in events]
    assert all(request.ByteSize() <= 10 * size for request in receiver.requests)
    assert receiver.refused == 0
    before = len(receiver.requests)
    at_it = make(endpoint=receiver.endpoint, protocol=protocol, max_request_bytes=size)
    at_it.export_events(events[:1])
    assert len(receiver.requests) == before + 1


def test_an_event_too_large_by_itself_is_named_and_the_others_arrive(
    receiver: Receiver, make: Make, protocol: str
) -> None:
    events = sample_events(5)
    large = Event("note", "debug", "info", "x" * 20_000, {}, 1, "c0" * 8, 99)
    exporter = make(endpoint=receiver.endpoint, protocol=protocol, max_request_bytes=10_000)
    with pytest.raises(ExportError, match="over max_request_bytes, 10,000") as caught:
        exporter.export_events([*events[:2], large, *events[2:]])
    assert caught.value.rejected_ids == (large.id,)
    assert receiver.uids() == [event.id for event in events]


def test_a_receiver_that_hangs_is_left_after_the_timeout(
    receiver: Receiver, make: Make, protocol: str
) -> None:
    receiver.script.append(Answer(hang_s=60))
    started = time.monotonic()
    error = failure(make(endpoint=receiver.endpoint, protocol=protocol, timeout_s=0.3))
    assert error.retryable
    assert time.monotonic() - started < SOON_S
    assert "no answer within 0.3 s" in str(error) or "DEADLINE_EXCEEDED" in str(error)
    receiver.ended.set()


def test_an_answer_that_drips_is_left_after_the_timeout(start_receiver: Any, make: Make) -> None:
    """Each read is in time, the answer never is."""
    receiver = start_receiver(HttpReceiver)
    receiver.script.append(Answer(drip_s=0.2))
    error = failure(make(endpoint=receiver.endpoint, timeout_s=0.5))
    assert (error.retryable, "no answer within 0.5 s" in str(error)) == (True, True)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"<html>Welcome</html>", "text/html"), (b"\xff\xff", "application/x-protobuf")],
)
def test_a_success_that_is_no_otlp_answer_is_a_failure(
    start_receiver: Any, make: Make, body: bytes, content_type: str
) -> None:
    """A hotel's network answers 200 to everything."""
    receiver = start_receiver(HttpReceiver)
    receiver.script.append(Answer(body=body, content_type=content_type))
    error = failure(make(endpoint=receiver.endpoint))
    assert error.retryable
    assert "no OTLP receiver says" in str(error)


@pytest.mark.parametrize(
    ("body", "content_type", "rejected"),
    [
        (b"", "text/plain", 0),
        (b"{}", "application/json", 0),
        (b'{"partialSuccess": {"rejectedLogRecords": "2", "new": 1}}', "application/json", 2),
    ],
)
def test_receivers_not_quite_up_to_the_protocol_are_understood(
    start_receiver: Any, make: Make, body: bytes, content_type: str, rejected: int
) -> None:
    receiver = start_receiver(HttpReceiver)
    receiver.script.append(Answer(body=body, content_type=content_type))
    exporter = make(endpoint=receiver.endpoint)
    if rejected:
        assert failure(exporter).rejected_count == rejected
    else:
        exporter.export_events(sample_events(3))


def test_a_receiver_that_is_away_is_reported_with_the_setting(protocol: str, make: Make) -> None:
    port = free_port()
    error = failure(make(endpoint=f"http://127.0.0.1:{port}", protocol=protocol, timeout_s=2))
    assert error.retryable
    assert "refused" in str(error)
    assert "options.otlp.endpoint or OTEL_EXPORTER_OTLP_ENDPOINT says where it is" in str(error)


def test_a_receiver_that_comes_back_is_found_at_once(make: Make, start_receiver: Any) -> None:
    """A connection is opened anew: gRPC's own would wait for up to two minutes."""
    port = free_port()
    exporter = make(endpoint=f"http://127.0.0.1:{port}", protocol="http/protobuf", timeout_s=2)
    failure(exporter)
    receiver = start_receiver(HttpReceiver, port=port)
    exporter.export_events(sample_events(2))
    assert len(receiver.uids()) == 2


def test_http_to_a_grpc_server_names_the_setting(start_receiver: Any, make: Make) -> None:
    receiver = start_receiver(GrpcReceiver)
    error = failure(make(endpoint=receiver.endpoint, timeout_s=2))
    assert error.retryable
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in str(error)


def test_the_usual_ports_hint_at_the_protocol(make: Make) -> None:
    """Nothing needs to listen there for the hint."""
    for port, protocol, hint in (
        (4317, "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL to 'grpc'"),
        (4318, "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL to 'http/protobuf'"),
    ):
        # A name of the reserved domain, so that no collector of this machine can answer.
        options = {"endpoint": f"http://collector.invalid:{port}", "protocol": protocol}
        assert hint in str(failure(make(**options, timeout_s=3)))


def test_a_certificate_of_our_own_authority_is_trusted_when_it_is_named(
    protocol: str, start_receiver: Any, make: Make, authority: Authority
) -> None:
    receiver = _with_tls(protocol, start_receiver, authority)
    options = {"endpoint": receiver.endpoint, "protocol": protocol, "timeout_s": 5}
    make(**options, certificate=authority.file).export_events(sample_events(3))
    assert len(receiver.uids()) == 3


def test_a_certificate_of_an_unknown_authority_is_refused(
    protocol: str, start_receiver: Any, make: Make, authority: Authority
) -> None:
    receiver = _with_tls(protocol, start_receiver, authority)
    error = failure(make(endpoint=receiver.endpoint, protocol=protocol, timeout_s=3))
    assert error.retryable
    assert "certificate" in str(error).lower()
    assert not receiver.requests


def test_a_client_shows_its_certificate_where_it_is_asked(
    protocol: str, start_receiver: Any, make: Make, authority: Authority
) -> None:
    receiver = _with_tls(protocol, start_receiver, authority, ask=True)
    options: dict[str, Any] = {
        "endpoint": receiver.endpoint,
        "protocol": protocol,
        "certificate": authority.file,
        "timeout_s": 3,
    }
    assert failure(make(**options)).retryable
    own = {"client_certificate": authority.client, "client_key": authority.client}
    make(**options, **own).export_events(sample_events(3))
    assert len(receiver.uids()) == 3


def _with_tls(
    protocol: str, start_receiver: Any, authority: Authority, *, ask: bool = False
) -> Receiver:
    if protocol == "grpc":
        found: Receiver = start_receiver(GrpcReceiver, authority.grpc(ask=ask))
    else:
        found = start_receiver(HttpReceiver, authority.http(ask=ask))
    return found


def test_secrets_of_the_address_are_not_in_an_error(make: Make) -> None:
    endpoint = f"http://user:s3cret@127.0.0.1:{free_port()}/v1/logs?key=s3cret"
    error = failure(make(signal_endpoint=endpoint, headers={"authorization": "s3cret"}))
    assert "s3cret" not in str(error)
    assert "127.0.0.1" in str(error)


def test_each_pipelines_own_variables_count(start_receiver: Any, make: Make) -> None:
    """One process may ship several pipelines, and each goes where its producer asked."""
    one, other = start_receiver(HttpReceiver), start_receiver(HttpReceiver)
    first = make({"OTEL_EXPORTER_OTLP_ENDPOINT": one.endpoint})
    second = make({"OTEL_EXPORTER_OTLP_ENDPOINT": other.endpoint})
    first.export_events(sample_events(1))
    second.export_events(sample_events(2))
    assert (len(one.uids()), len(other.uids())) == (1, 2)


def test_an_option_that_is_none_is_refused_by_name(make: Make) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'endpoint'"):
        make(endpiont="http://c")
