"""A request that is too large goes in halves."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from realm_exporter_otlp.signals import Answer
from realm_exporter_otlp.transport import Channel
from realm_telemetry.errors import PayloadTooLargeError

Item = TypeVar("Item")


class Sent(NamedTuple, Generic[Item]):
    """What became of the items.

    too_large: those that no request can carry, with the reason.
    answers: each request's items, and what was said of them.
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
    receiver tells by their ids. Raises ExportError.
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
