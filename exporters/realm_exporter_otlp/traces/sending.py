"""Sending spans: one that is refused must not block the others, and an outage must cost none.

Many events are one span, and none of them is to blame for it, so it is not left to the shipper to
find out which one a receiver will not take.
"""

from collections.abc import Callable, Sequence

import msgspec
from google.protobuf.message import Message

from realm_exporter_otlp.traces.spans import Span
from realm_exporter_otlp.transport import Channel, send_split
from realm_telemetry.errors import ExportError


class Refused(msgspec.Struct, frozen=True):
    """How many spans the receiver will never take, and why; with none, its words of warning."""

    spans: int = 0
    words: str = ""

    def and_also(self, other: "Refused") -> "Refused":
        """Both together, with the words of one that refused something."""
        words = other.words if other.spans and not self.spans else self.words or other.words
        return Refused(self.spans + other.spans, words)


class Sender:
    """Sends spans, and remembers the last that was taken."""

    def __init__(
        self, channel: Channel, encode: Callable[[Sequence[Span]], Message], max_bytes: int
    ) -> None:
        self._channel = channel
        self._encode = encode
        self._max_bytes = max_bytes
        self._taken: list[Span] = []

    def send(self, spans: Sequence[Span]) -> Refused:
        """Send spans, and say how many of them are refused for good.

        Raises ExportError, always a retryable one: nothing, or not all, was taken.
        """
        if not spans:
            return Refused()
        try:
            return self._send(spans)
        except ExportError as error:
            if error.retryable:
                raise
            self._make_sure(error)
        return self._send_halves(spans)

    def _send(self, spans: Sequence[Span]) -> Refused:
        sent = send_split(self._channel, spans, self._encode, self._max_bytes)
        for part, answer in sent.answers:
            if not answer.rejected:
                self._taken = [part[-1]]
        refused = Refused(sent.answer.rejected, sent.answer.message)
        if not sent.too_large:
            return refused
        return Refused(len(sent.too_large), sent.too_large[0][1]).and_also(refused)

    def _make_sure(self, refusal: ExportError) -> None:
        """Raise unless the receiver takes again what it has taken before: it may be ill itself.

        By its ids that is the same span. Before the first one it is asked to take nothing.
        """
        try:
            self._channel.send(self._encode(self._taken))
        except ExportError as error:
            raise ExportError(
                str(error), retryable=True, retry_after_s=error.retry_after_s
            ) from refusal

    def _send_halves(self, spans: Sequence[Span]) -> Refused:
        middle = len(spans) // 2
        refused = Refused()
        for half in (spans[:middle], spans[middle:]):
            try:
                refused = refused.and_also(self._send(half) if half else Refused())
            except ExportError as error:
                if error.retryable:
                    raise
                blame = Refused(1, str(error)) if len(half) == 1 else self._send_halves(half)
                refused = refused.and_also(blame)
        return refused
