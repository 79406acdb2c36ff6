"""The way to an OTLP receiver, over HTTP or gRPC, that reads the answer.

    channel = open_channel("logs", options, context)
    try:
        answer = channel.send(ExportLogsServiceRequest(resource_logs=[...]))
    except PayloadTooLargeError:   # send it in parts: see `send_split`
    except ExportError:            # retryable, with retry_after_s, or not; let it pass
    channel.close()

`options` are an exporter's, made of `TRANSPORT_DEFAULTS | {its own}`. Opening connects to nothing.
OpenTelemetry's own exporters keep the answer to themselves, wait and retry inside `export`, and
return FAILURE for everything. So this uses their settings, headers, channel options and stubs,
and sends each request once. The follower retries: see `realm_telemetry.delivery.follower`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from google.protobuf.message import Message

from realm_exporter_otlp.settings import TRANSPORT_DEFAULTS, SignalName, Target, resolve
from realm_exporter_otlp.signals import Answer
from realm_telemetry.errors import ExportError, PayloadTooLargeError
from realm_telemetry.plugins import ExporterContext

__all__ = ["TRANSPORT_DEFAULTS", "Answer", "Channel", "SignalName", "Target", "open_channel"]


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


def open_channel(
    signal: SignalName, options: Mapping[str, Any], context: ExporterContext
) -> Channel:
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


Item = TypeVar("Item")


class Sent(NamedTuple, Generic[Item]):
    """What became of the items.

    too_large: those that no request can carry, with the reason.
    answers: each request's items and its answer.
    """

    too_large: list[tuple[Item, str]]
    answers: list[tuple[Sequence[Item], Answer]]

    @property
    def answer(self) -> Answer:
        """Of all requests together; its message is the first that says anything."""
        rejected = sum(answer.rejected for _, answer in self.answers)
        messages = [answer.message for _, answer in self.answers if answer.message]
        return Answer(rejected, messages[0] if messages else "")


def send_split(
    channel: Channel,
    items: Sequence[Item],
    encode: Callable[[Sequence[Item]], Message],
    max_bytes: int,
) -> Sent[Item]:
    """Send items in one request, or in more if one were over `max_bytes` or is called too large.

    A failure half-way leaves earlier parts delivered: the same items go out again, which a
    receiver recognises by their ids. Raises ExportError.
    """
    request = encode(items)
    size = request.ByteSize()
    reason = f"{size:,} bytes are over max_request_bytes, {max_bytes:,}"
    if size <= max_bytes:
        try:
            return Sent([], [(items, channel.send(request))])
        except PayloadTooLargeError as error:
            reason = str(error)
    if len(items) == 1:
        return Sent([(items[0], reason)], [])
    middle = len(items) // 2
    first = send_split(channel, items[:middle], encode, max_bytes)
    second = send_split(channel, items[middle:], encode, max_bytes)
    return Sent(first.too_large + second.too_large, first.answers + second.answers)


CheckResult = tuple[str, str, str]

_LONG_S = 600.0
"""A timeout from here on was most likely meant in milliseconds, as other languages have it."""


def check_channel(channel: Channel, empty: Message) -> Iterator[CheckResult]:
    """Yield the results of the checks: level, message and fix.

    empty: a request without records, which a receiver has to answer with success.
    """
    target = channel.target
    if target.timeout_s >= _LONG_S:
        what = (
            f"timeout_s is {target.timeout_s:,.0f}: seconds, here and in OTEL_EXPORTER_OTLP_TIMEOUT"
        )
        yield "warning", what, "Write 10 for ten seconds."
    try:
        channel.send(empty)
    except (ExportError, PayloadTooLargeError) as error:
        problem, _, fix = str(error).partition(". ")
        yield "warning", problem, fix or "Its events wait in the log."
    else:
        yield "ok", f"{target.shown} answers, {target.protocol}", ""
    finally:
        channel.close()
