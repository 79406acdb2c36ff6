"""POST /v1/traces and /v1/metrics: what is taken of them, and how the rest is refused."""

import json

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from .conftest import JSON, NOW, PROTOBUF, any_value, failed, send, stored

TRACE_ID, SPAN_ID = bytes(range(1, 17)), bytes(range(1, 9))


def traces(*, events: bool = True) -> ExportTraceServiceRequest:
    """Two spans, one of them with two events."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name", value=any_value("shop"))
    spans = group.scope_spans.add()
    spans.scope.name = "shop.cart"
    one = spans.spans.add(name="checkout", trace_id=TRACE_ID, span_id=SPAN_ID, flags=1)
    spans.spans.add(name="GET /", trace_id=TRACE_ID, span_id=b"\2" * 8)
    if events:
        paid = one.events.add(name="order.Paid", time_unix_nano=NOW)
        paid.attributes.add(key="amount", value=any_value(12.5))
        failure = one.events.add(name="exception", time_unix_nano=NOW + 1)
        for key, stated in (("type", "ValueError"), ("message", "no stock")):
            failure.attributes.add(key=f"exception.{key}", value=any_value(stated))
    return request


def metrics() -> ExportMetricsServiceRequest:
    """Nine data points of all five kinds."""
    request = ExportMetricsServiceRequest()
    made = request.resource_metrics.add().scope_metrics.add().metrics
    kinds = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
    for points, kind in enumerate(kinds, 1):
        metric = getattr(made.add(name=kind), kind)
        for _ in range(min(points, 2)):
            metric.data_points.add(time_unix_nano=NOW)
    return request


def otlp_json(request: ExportTraceServiceRequest | ExportMetricsServiceRequest) -> bytes:
    text = json.dumps(MessageToDict(request))
    for raw, shown in ((TRACE_ID, "AQIDBAUGBwgJCgsMDQ4PEA=="), (SPAN_ID, "AQIDBAUGBwg=")):
        text = text.replace(shown, raw.hex())
    return text.replace("AgICAgICAgI=", (b"\2" * 8).hex()).encode()


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_events_of_spans_are_stored_and_the_spans_refused(
    client: httpx.Client, media_type: str
) -> None:
    body = otlp_json(traces()) if media_type == JSON else traces().SerializeToString()
    response = send(client, body, media_type, "/v1/traces")
    assert response.status_code == 200
    if media_type == PROTOBUF:
        partial = ExportTraceServiceResponse.FromString(response.content).partial_success
        stated = (partial.rejected_spans, partial.error_message)
    else:
        answer = response.json()["partialSuccess"]
        stated = (int(answer["rejectedSpans"]), answer["errorMessage"])
    assert stated[0] == 2
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in stated[1]
    paid, failure = stored(client)
    assert (paid["kind"], paid["severity"], paid["source"]) == ("order_paid", "info", "shop.cart")
    assert paid["details"] == {
        "amount": 12.5,
        "otel.event_name": "order.Paid",
        "otel.span.name": "checkout",
        "otel.resource": {"service.name": "shop"},
    }
    assert (paid["trace_id"], paid["span_id"]) == (TRACE_ID.hex(), SPAN_ID.hex())
    assert (paid["time_unix_nano"], paid["trace_flags"]) == (str(NOW), 1)
    assert (failure["kind"], failure["severity"]) == ("exception", "error")
    assert failure["message"] == "ValueError: no stock"


def test_events_of_spans_sent_again_are_stored_once(client: httpx.Client) -> None:
    for _ in range(2):
        send(client, traces(), path="/v1/traces")
    send(client, otlp_json(traces()), JSON, "/v1/traces")
    assert len(stored(client)) == 2


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_our_own_events_in_a_span_are_excerpts_and_left_to_the_log_records(
    client: httpx.Client, media_type: str
) -> None:
    """The exporter otlp_traces puts them there under the ids that the whole events have."""
    request = traces()
    ours = request.resource_spans[0].scope_spans[0].spans[0].events.add(name="note")
    for key, stated in (("log.record.uid", "ab" * 16), ("realm.channel", "system")):
        ours.attributes.add(key=key, value=any_value(stated))
    body = otlp_json(request) if media_type == JSON else request.SerializeToString()
    assert send(client, body, media_type, "/v1/traces").status_code == 200
    assert [event["kind"] for event in stored(client)] == ["order_paid", "exception"]


def test_a_long_name_of_a_span_is_cut_in_its_events(client: httpx.Client) -> None:
    """It stands in each of them: a span of 100 KB must not become a hundred times as much."""
    request = traces()
    request.resource_spans[0].scope_spans[0].spans[0].name = "x" * 50_000
    send(client, request, path="/v1/traces")
    names = [event["details"]["otel.span.name"] for event in stored(client)]
    assert names == ["x" * 256, "x" * 256]


def test_spans_without_events_are_refused_and_nothing_is_stored(client: httpx.Client) -> None:
    response = send(client, traces(events=False), path="/v1/traces")
    answer = ExportTraceServiceResponse.FromString(response.content)
    assert answer.partial_success.rejected_spans == 2
    assert stored(client) == []


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_data_points_are_counted_and_refused(untouched: httpx.Client, media_type: str) -> None:
    body = otlp_json(metrics()) if media_type == JSON else metrics().SerializeToString()
    response = send(untouched, body, media_type, "/v1/metrics")
    assert response.status_code == 200
    if media_type == PROTOBUF:
        partial = ExportMetricsServiceResponse.FromString(response.content).partial_success
        stated = (partial.rejected_data_points, partial.error_message)
    else:
        answer = response.json()["partialSuccess"]
        stated = (int(answer["rejectedDataPoints"]), answer["errorMessage"])
    assert stated[0] == 9
    assert "OTEL_METRICS_EXPORTER=none" in stated[1]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics"])
@pytest.mark.parametrize(("media_type", "empty"), [(PROTOBUF, b""), (JSON, b"{}")])
def test_an_empty_request_is_a_full_success(
    untouched: httpx.Client, path: str, media_type: str, empty: bytes
) -> None:
    response = send(untouched, empty, media_type, path)
    assert (response.status_code, response.content) == (200, empty)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics"])
@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (PROTOBUF, b"\xff"),
        (PROTOBUF, b"\x0a\x04\x12\x02\x12\x05"),
        (PROTOBUF, b"\x0a\x05\x12\x03\x12\x01\xff"),
        (JSON, b"{"),
        (JSON, b'{"resourceSpans": 1, "resourceMetrics": 1}'),
    ],
)
def test_a_broken_request_is_refused_whole(
    untouched: httpx.Client, path: str, media_type: str, body: bytes
) -> None:
    assert "malformed_" in failed(send(untouched, body, media_type, path), 400)


def test_a_span_of_too_many_values_is_refused_with_its_events(client: httpx.Client) -> None:
    request = traces()
    values = request.resource_spans[0].scope_spans[0].spans[1].attributes.add(key="k").value
    values.array_value.values.extend(any_value(1) for _ in range(100_000))
    response = send(client, request, path="/v1/traces")
    answer = ExportTraceServiceResponse.FromString(response.content)
    assert answer.partial_success.rejected_spans == 2
    assert len(stored(client)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_tens_of_thousands_of_empty_span_events_are_counted_before_they_are_kept(
    untouched: httpx.Client, media_type: str
) -> None:
    if media_type == PROTOBUF:
        request = traces(events=False)
        spans = request.resource_spans[0].scope_spans[0].spans
        for _ in range(3_000):
            spans[0].events.add()
        spans.extend([spans[0]] * 20)
        body = request.SerializeToString()
    else:
        span = b'{"events":[' + b"{}," * 3_000 + b"{}]}"
        spans_ = b",".join([span] * 20)
        body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + spans_ + b"]}]}]}"
    assert "entries" in failed(send(untouched, body, media_type, "/v1/traces"), 413)


def test_a_metric_of_millions_of_data_points_is_refused_while_they_are_counted(
    untouched: httpx.Client,
) -> None:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.gauge.data_points.extend(type(metric.gauge.data_points.add())() for _ in range(100_001))
    assert "data points" in failed(send(untouched, request, path="/v1/metrics"), 413)
