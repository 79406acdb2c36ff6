"""OTLP/gRPC, and what an error means for the records that were sent.

Source: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc import _OTLP_GRPC_CHANNEL_OPTIONS

from realm_exporter_otlp.settings import Target
from realm_exporter_otlp.signals import SERVICES, Answer, info_wait_s, status_wait_s
from realm_telemetry.delivery.http import MAX_SHOWN, Answers
from realm_telemetry.errors import ExportError, PayloadTooLargeError
from realm_telemetry.kinds.line import printable

_HTTP_PORT: Final = 4318

# The protocol's own: https://opentelemetry.io/docs/specs/otlp/#failures. By its letter a quota that
# is used up (RESOURCE_EXHAUSTED) would be retried only if the receiver named a time, and all that
# is sent meanwhile would be given up; it comes back as it does from HTTP's 429.
_RETRYABLE: Final = frozenset(
    {
        "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS",
        "RESOURCE_EXHAUSTED",
    }
)  # fmt: skip
# A setting is at fault here and not the records: once it is corrected they are taken.
_HEADERS_AT_FAULT: Final = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_ENDPOINT_AT_FAULT: Final = ("UNIMPLEMENTED", "NOT_FOUND")
_SIZE_CODES: Final = frozenset({"RESOURCE_EXHAUSTED", "OUT_OF_RANGE"})
_TOO_LARGE_WORDS: Final = ("too large", "too big", "larger than", "exceeds", "message size")


def to_error(target: Target, error: Any) -> ExportError | PayloadTooLargeError:
    """Return what to raise for a `grpc.RpcError`."""
    code = error.code().name
    words = printable(str(error.details() or "")[:MAX_SHOWN])
    wait_s = retry_delay_s(error.trailing_metadata())
    hint = _hint(target) if code == "UNAVAILABLE" else ""
    found = _answers(target).error(target.shown, code, words, wait_s, hint)
    if wait_s is None and _is_size(code, words):
        return PayloadTooLargeError(str(found))
    return found


def _answers(target: Target) -> Answers:
    receiver = "the address of an OTLP receiver that speaks gRPC"
    return Answers(
        _RETRYABLE,
        {
            **dict.fromkeys(_HEADERS_AT_FAULT, target.headers_fix),
            **dict.fromkeys(_ENDPOINT_AT_FAULT, f"Set {target.endpoint_setting} to {receiver}"),
        },
    )


def retry_delay_s(metadata: Any) -> float | None:
    """Read RetryInfo in a call's trailing metadata; seconds, at most an hour."""
    for key, value in metadata or ():
        try:
            if key == "grpc-status-details-bin":
                wait_s = status_wait_s(Status.FromString(value))
            elif key == "google.rpc.retryinfo-bin":
                wait_s = info_wait_s(RetryInfo.FromString(value))
            else:
                continue
        except DecodeError:
            continue
        if wait_s is not None:
            return wait_s
    return None


def _is_size(code: str, words: str) -> bool:
    """Whether a message was refused for its size: only the words show that it is not a quota."""
    return code in _SIZE_CODES and any(each in words.lower() for each in _TOO_LARGE_WORDS)


def _hint(target: Target) -> str:
    if urlsplit(target.endpoint).port == _HTTP_PORT:
        return (
            f"Port {_HTTP_PORT} most often speaks HTTP: set options.{target.exporter}.protocol or"
            " OTEL_EXPORTER_OTLP_PROTOCOL to 'http/protobuf', or take port 4317"
        )
    if not target.insecure:
        return (
            f"Does a collector with TLS listen there? Without TLS write http:// before the address,"
            f" or set options.{target.exporter}.insecure or OTEL_EXPORTER_OTLP_INSECURE to true"
        )
    return f"Does a collector listen there? {target.endpoint_setting} says where it is"


_COMPRESSIONS: Final = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}


class GrpcChannel:
    """Sends over one connection, which is opened anew after any trouble."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._service = SERVICES[target.signal]
        self._metadata = tuple(target.headers.items())
        self._channel: Any = None
        self._export: Any = None
        self._pid = 0

    def send(self, request: Message) -> Answer:
        """Send an Export*ServiceRequest, once.

        Raises PayloadTooLargeError if the receiver calls it too large, else ExportError.
        """
        if self._channel is None or self._pid != os.getpid():
            self._open()
        try:
            response = self._export(request, timeout=self.target.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            # Left alone, a channel waits for up to two minutes before it connects again.
            self.close()
            raise to_error(self.target, error) from error
        return self._service.answer(response)

    def close(self) -> None:
        """Close the connection; the next `send` opens another one."""
        channel, self._channel = self._channel, None
        if channel is not None and self._pid == os.getpid():
            channel.close()

    def _open(self) -> None:
        self._pid = os.getpid()
        target = self.target
        options = {
            "compression": _COMPRESSIONS[target.compression],
            "options": [*_OTLP_GRPC_CHANNEL_OPTIONS, ("grpc.enable_retries", 0)],
        }
        if target.insecure:
            self._channel = grpc.insecure_channel(_place(target.endpoint), **options)
        else:
            self._channel = grpc.secure_channel(
                _place(target.endpoint), _credentials(target), **options
            )
        self._export = self._channel.unary_unary(
            self._service.method,
            request_serializer=type(self)._serialize,
            response_deserializer=self._service.response.FromString,
        )

    @staticmethod
    def _serialize(request: Message) -> bytes:
        return request.SerializeToString()


def _place(endpoint: str) -> str:
    """host:port of a URL; gRPC's own names stay as they are."""
    parts = urlsplit(endpoint)
    return parts.netloc if parts.scheme in ("http", "https") else endpoint


def _credentials(target: Target) -> Any:
    return grpc.ssl_channel_credentials(
        root_certificates=_read(target.certificate),
        private_key=_read(target.client_key),
        certificate_chain=_read(target.client_certificate),
    )


def _read(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None
