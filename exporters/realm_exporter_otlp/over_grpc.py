"""OTLP/gRPC. Source: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc"""

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.grpc import _OTLP_GRPC_CHANNEL_OPTIONS

from realm_exporter_otlp.grpc_answers import to_error
from realm_exporter_otlp.settings import Target
from realm_exporter_otlp.signals import SERVICES, Answer

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

        Raises PayloadTooLargeError if it is said to be too large, else ExportError.
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
