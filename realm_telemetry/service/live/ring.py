"""The shared ring of encoded frames: encoded once, read by every stream from its own position.

A stream is a position. It starts at a cursor of the log: what is older than the ring comes from
the log, what is newer from here, so nothing lies between the two. A stream too slow for the ring
falls off, gets a message, and reads from the log.

Positions are sequence numbers of this ring. `watermark` is the highest cursor that the ring has
seen up to and including a frame; it never falls, where a coalesced frame's own cursor may.
"""

from bisect import bisect_right
from typing import NamedTuple

from realm_telemetry.event import Event


class StreamFrame(NamedTuple):
    """An event with its bytes on the wire."""

    cursor: int
    watermark: int
    event: Event
    data: bytes


class Ring:
    """The last frames, bounded in number and bytes; when full, the oldest goes.

    tail, head: positions of the oldest frame and after the newest.
    floor: the cursor up to which the ring has nothing to say any more.
    watermark: the cursor up to which the ring has seen everything.
    """

    def __init__(self, cursor: int, max_frames: int, max_bytes: int) -> None:
        self._frames: list[StreamFrame] = []
        self._start = 0
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self.tail = 0
        self.bytes = 0
        self.floor = cursor
        self.watermark = cursor

    @property
    def head(self) -> int:
        """The position after the newest frame."""
        return self.tail + len(self)

    def __len__(self) -> int:
        return len(self._frames) - self._start

    def append(self, cursor: int, event: Event, data: bytes) -> None:
        """Add a frame, and let the oldest go while there are too many."""
        self.watermark = max(self.watermark, cursor)
        self._frames.append(StreamFrame(cursor, self.watermark, event, data))
        self.bytes += len(data)
        while len(self) > self._max_frames or (self.bytes > self._max_bytes and len(self) > 1):
            self._drop_oldest()

    def pass_over(self, cursor: int) -> None:
        """Note that everything up to a cursor was seen and makes no frame now."""
        self.watermark = max(self.watermark, cursor)

    def clear(self) -> None:
        """Forget all frames; streams that come later start behind them."""
        while len(self):
            self._drop_oldest()
        self.floor = self.watermark

    def holds_after(self, cursor: int) -> bool:
        """Whether every frame after a cursor is still here."""
        return cursor >= self.floor

    def position_after(self, cursor: int) -> int:
        """The position of the first frame that brought something newer than a cursor."""
        index = bisect_right(self._frames, cursor, lo=self._start, key=_watermark)
        return self.tail + index - self._start

    def frames(self, start: int, end: int) -> list[StreamFrame]:
        """The frames of positions [start, end); start must not be below `tail`."""
        offset = self._start - self.tail
        return self._frames[start + offset : end + offset]

    def _drop_oldest(self) -> None:
        frame = self._frames[self._start]
        self.bytes -= len(frame.data)
        self.floor = frame.watermark
        self.tail += 1
        self._start += 1
        # The list is cut in halves, so that dropping stays cheap.
        if self._start > 512 and self._start * 2 > len(self._frames):
            del self._frames[: self._start]
            self._start = 0


def _watermark(frame: StreamFrame) -> int:
    return frame.watermark
