"""The three signals of OTLP: how each is read, and the message about what is not stored."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from realm_telemetry.otel.otlp import json_mapping, protobuf
from realm_telemetry.otel.otlp.parts import Entries, Group


class Signal(NamedTuple):
    """One signal.

    request: the name of its request. rejected: the field of partial_success that counts.
    from_protobuf, from_json: readers of one item. json_names: what it calls its parts in JSON.
    why: what is never taken and where it can go; empty if all is.
    """

    request: str
    response: type[Message]
    rejected: str
    from_protobuf: protobuf.ReadItem
    from_json: json_mapping.ReadItem
    json_names: json_mapping.Names
    why: str

    def groups(self, data: bytes, entries: Entries, *, as_json: bool) -> Iterator[Group]:
        """Take a request apart; raises InvalidEventError, PayloadTooLargeError."""
        if as_json:
            return json_mapping.groups(data, entries, self.json_names, self.from_json)
        return protobuf.groups(data, entries, self.json_names.resources, self.from_protobuf)


LOGS: Final = Signal(
    "ExportLogsServiceRequest",
    ExportLogsServiceResponse,
    "rejected_log_records",
    protobuf.log_record,
    json_mapping.log_record,
    json_mapping.Names("resource_logs", "scope_logs", "log_records"),
    "",
)
TRACES: Final = Signal(
    "ExportTraceServiceRequest",
    ExportTraceServiceResponse,
    "rejected_spans",
    protobuf.span,
    json_mapping.span,
    json_mapping.Names("resource_spans", "scope_spans", "spans"),
    "RealmService keeps events, not spans: the events of these spans are stored, the spans are"
    " not. Send spans to a trace store, such as Jaeger or Tempo, with"
    " OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; see docs/otlp-in.md.",
)
METRICS: Final = Signal(
    "ExportMetricsServiceRequest",
    ExportMetricsServiceResponse,
    "rejected_data_points",
    protobuf.metric,
    json_mapping.metric,
    json_mapping.Names("resource_metrics", "scope_metrics", "metrics"),
    "RealmService keeps events, not metrics. Send metrics to a store for them, such as"
    " Prometheus, with OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, or set OTEL_METRICS_EXPORTER=none;"
    " see docs/otlp-in.md.",
)
