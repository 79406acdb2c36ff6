"""What differs between the signals: the service, its answer, and what a partial success counts.

A file of its own for processes that were upgraded while they run: `over_http` and `over_grpc` are
imported late, beside an older `transport`.
"""

from typing import Any, Final, NamedTuple

from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from realm_exporter_otlp.settings import SignalName
from realm_telemetry.delivery.http import bounded_wait_s

_Response = (
    type[ExportLogsServiceResponse]
    | type[ExportTraceServiceResponse]
    | type[ExportMetricsServiceResponse]
)


class Answer(NamedTuple):
    """A receiver's answer to a request that it has taken.

    rejected: how many records, spans or data points it refused for good; it does not say which,
        and by the protocol they must not be sent again.
    message: its words; with nothing rejected, a warning.
    """

    rejected: int = 0
    message: str = ""


class Service(NamedTuple):
    """One signal's service.

    method: its full name in gRPC. rejected: the field of `partial_success` that counts.
    """

    method: str
    response: _Response
    rejected: str

    def answer(self, response: Any) -> Answer:
        """Read a response message."""
        partial = response.partial_success
        return Answer(int(getattr(partial, self.rejected)), partial.error_message)


_PACKAGE: Final = "/opentelemetry.proto.collector"

SERVICES: Final[dict[SignalName, Service]] = {
    "logs": Service(
        f"{_PACKAGE}.logs.v1.LogsService/Export", ExportLogsServiceResponse, "rejected_log_records"
    ),
    "traces": Service(
        f"{_PACKAGE}.trace.v1.TraceService/Export", ExportTraceServiceResponse, "rejected_spans"
    ),
    "metrics": Service(
        f"{_PACKAGE}.metrics.v1.MetricsService/Export",
        ExportMetricsServiceResponse,
        "rejected_data_points",
    ),
}


def status_wait_s(status: Status) -> float | None:
    """Read the RetryInfo in a status, which both protocols may answer with; at most an hour."""
    for detail in status.details:
        info = RetryInfo()
        if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
            return info_wait_s(info)
    return None


def info_wait_s(info: RetryInfo) -> float | None:
    """Return the seconds of a RetryInfo."""
    return bounded_wait_s(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
