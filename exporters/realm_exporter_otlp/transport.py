"""One way to an OTLP receiver, over HTTP or gRPC, that hears the answer.

    channel = open_channel("logs", options, context)
    try:
        answer = channel.send(ExportLogsServiceRequest(resource_logs=[...]))
    except PayloadTooLargeError:   # send it in parts: see `splitting.send_split`
    except ExportError:            # retryable, with retry_after_s, or not; let it pass
    channel.close()

`options` are an exporter's, made of `TRANSPORT_DEFAULTS | {its own}`. Opening connects to nothing.
OpenTelemetry's own exporters keep the answer to themselves, wait and try again inside `export`, and
say FAILURE for everything; so of them this uses the settings, headers, channel options and stubs,
and sends by itself, once. Who delivers waits: see `realm_telemetry.delivery.follower`.
"""

import os
from collections.abc import Mapping
from typing import Any, Protocol

from google.protobuf.message import Message

from realm_exporter_otlp.settings import TRANSPORT_DEFAULTS, Signal, Target, resolve
from realm_exporter_otlp.signals import Answer
from realm_telemetry.plugins import ExporterContext

__all__ = ["TRANSPORT_DEFAULTS", "Answer", "Channel", "Signal", "Target", "open_channel"]


class Channel(Protocol):
    """Sends one signal's requests to one receiver; used by one thread at a time."""

    target: Target

    def send(self, request: Message) -> Answer:
        """Send an Export*ServiceRequest of the channel's signal, once.

        Raises PayloadTooLargeError if the receiver says that it is too large, else ExportError.
        """
        ...

    def close(self) -> None:
        """Close the connection; the next `send` opens another one."""
        ...


def open_channel(signal: Signal, options: Mapping[str, Any], context: ExporterContext) -> Channel:
    """Return the way to a signal's receiver; connects to nothing yet.

    context: its environment counts, or this process's where it has none.
    Raises ConfigError.
    """
    environ = os.environ if context.environment is None else context.environment
    target = resolve(signal, options, environ)
    if target.protocol == "grpc":
        from realm_exporter_otlp.over_grpc import GrpcChannel

        return GrpcChannel(target)
    from realm_exporter_otlp.over_http import HttpChannel

    return HttpChannel(target)
