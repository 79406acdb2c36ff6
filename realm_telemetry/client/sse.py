"""Parse server-sent events, however the bytes are cut.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6,
"Interpreting an event stream". Lines are split as bytes: CR and LF are never part of a longer
UTF-8 sequence, so a line is whole before it is decoded.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from realm_telemetry.errors import PayloadTooLargeError

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A message beyond this is an attack or a defect: reading on would fill the memory."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class SseMessage(NamedTuple):
    """A dispatched message.

    event: its type, `message` if the stream named none.
    last_event_id: the stream's id as of this message; it holds until another id comes.
    """

    event: str
    data: str
    last_event_id: str


class SseParser:
    """Bytes in, messages out. An unfinished message at the end of a stream is never given out.

    last_event_id: where to resume, as of the last message.
    retry_ms: what the stream asked to wait before reconnecting, None if it did not.
    """

    def __init__(self, last_event_id: str = "", max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._max_message_bytes = max_message_bytes
        self._id = last_event_id
        self._event = ""
        self._data: list[str] = []
        self._size = 0
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[SseMessage]:
        """Return the messages that these bytes complete.

        Raises PayloadTooLargeError for a message over the limit; the parser is done then.
        """
        messages = []
        for line in self._lines(chunk):
            if not line:
                message = self._dispatch()
                if message is not None:
                    messages.append(message)
            else:
                self._take(line)
        return messages

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        if self._after_cr and chunk:
            # A CR has ended its line already; an LF behind it belongs to the same line end.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        first, *others = _LINE_END.split(chunk)
        self._hold(first)
        for line in others:
            yield self._whole_line()
            self._hold(line)
        self._after_cr = self._after_cr or chunk.endswith(b"\r")

    def _hold(self, part: bytes) -> None:
        self._partial_size += len(part)
        if self._partial_size + self._size > self._max_message_bytes:
            raise PayloadTooLargeError(
                f"a server-sent message is over {self._max_message_bytes:,} bytes"
            )
        if part:
            self._partial.append(part)

    def _whole_line(self) -> bytes:
        line = b"".join(self._partial)
        self._partial, self._partial_size = [], 0
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        return line

    def _take(self, line: bytes) -> None:
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        # An empty name is a comment; unknown fields are ignored.
        if name == "data":
            self._data.append(value)
            self._size += len(line)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) < 10:
            self.retry_ms = int(value)

    def _dispatch(self) -> SseMessage | None:
        self.last_event_id = self._id
        event, data = self._event or "message", self._data
        self._event, self._data, self._size = "", [], 0
        # Not even an empty data line: the message has nothing to say.
        return SseMessage(event, "\n".join(data), self._id) if data else None
