"""Sending spans: a request that is refused goes in halves, until only the span to blame is left."""

from collections.abc import Callable, Sequence

import msgspec
from google.protobuf.message import Message

from realm_exporter_otlp.splitting import send_split
from realm_exporter_otlp.traces.spans import Span
from realm_exporter_otlp.transport import Channel
from realm_telemetry.errors import ExportError


class Refused(msgspec.Struct, frozen=True):
    """How many spans the receiver will never take, and why; with none, its words of warning."""

    spans: int = 0
    words: str = ""

    def and_also(self, other: "Refused") -> "Refused":
        """Both together, with the words of one that refused something."""
        words = other.words if other.spans and not self.spans else self.words or other.words
        return Refused(self.spans + other.spans, words)


def send_spans(
    channel: Channel,
    spans: Sequence[Span],
    encode: Callable[[Sequence[Span]], Message],
    max_bytes: int,
) -> Refused:
    """Send spans and say how many of them are refused for good.

    A span is many events, none of which is to blame, so this is not left to the shipper to find
    out. Raises ExportError, always a retryable one.
    """
    if not spans:
        return Refused()
    try:
        sent = send_split(channel, spans, encode, max_bytes)
    except ExportError as error:
        if error.retryable:
            raise
        if len(spans) == 1:
            return Refused(1, str(error))
        middle = len(spans) // 2
        first = send_spans(channel, spans[:middle], encode, max_bytes)
        return first.and_also(send_spans(channel, spans[middle:], encode, max_bytes))
    too_large = Refused(len(sent.too_large), sent.too_large[0][1]) if sent.too_large else Refused()
    return too_large.and_also(Refused(sent.answer.rejected, sent.answer.message))
