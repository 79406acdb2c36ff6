"""A feed seen through one set of filters, shared by all streams that ask for the same.

At each flush the new frames are looked at once. If one is wanted, every waiting stream is woken
and finds the same joined bytes, so the cost of a further stream is one write.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Final, NamedTuple

from realm_telemetry.event import Event
from realm_telemetry.service.live.ring import Ring, StreamFrame

MAX_PIECE_BYTES: Final = 64 * 1024
"""What one write hands to the transport; a stalled stream holds this and its socket buffer."""


class Place(NamedTuple):
    """Where a stream stands: a position in the ring and the cursor it is true at."""

    position: int
    cursor: int


class Piece(NamedTuple):
    """Bytes for a stream, and where it stands after them."""

    data: bytes
    place: Place


class View:
    """Looks at a ring's new frames once for many streams.

    place: up to where the frames were looked at; a stream that waits has all up to here.
    snapshot: the last one made, for further streams that come before the next event.
    """

    def __init__(self, ring: Ring, matches: Callable[[Event], bool] | None) -> None:
        self.users = 0
        self.place = Place(ring.head, ring.watermark)
        self._ring = ring
        self._matches = matches
        self.snapshot: Piece | None = None
        self._waiting: dict[Hashable, asyncio.Future[Place]] = {}
        self._pieces: dict[tuple[int, int], Piece] = {}

    async def next_place(self, stream: Hashable) -> Place:
        """Wait for frames that this view wants, or for `nudge`; answers where to go on."""
        future: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = future
        try:
            return await future
        finally:
            if self._waiting.get(stream) is future:
                del self._waiting[stream]

    def nudge(self, stream: Hashable) -> None:
        """Wake one waiting stream without an event."""
        future = self._waiting.get(stream)
        if future is not None and not future.done():
            future.set_result(self.place)

    def flush(self) -> None:
        """Look at the new frames, and wake the waiting streams if one is wanted."""
        self._pieces.clear()
        before = self.place
        self.place = Place(self._ring.head, self._ring.watermark)
        if not self._has_news(before.position):
            return
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_result(before)

    def _has_news(self, position: int) -> bool:
        if position < self._ring.tail:
            return True
        return any(self._wants(frame) for frame in self._ring.frames(position, self._ring.head))

    def _wants(self, frame: StreamFrame) -> bool:
        return self._matches is None or self._matches(frame.event)

    def piece(self, position: int, after: int = 0) -> Piece:
        """What comes at a position (not below the ring's tail), at most MAX_PIECE_BYTES.

        after: leave out frames with cursors up to this one; 0 for none.
        """
        key = (position, after)
        piece = self._pieces.get(key)
        if piece is None:
            piece = self._pieces[key] = self._join(position, after)
        return piece

    def _join(self, position: int, after: int) -> Piece:
        parts: list[bytes] = []
        size, passed = 0, position
        cursor = self._ring.watermark
        for frame in self._ring.frames(position, self._ring.head):
            if frame.cursor > after and self._wants(frame):
                if parts and size + len(frame.data) > MAX_PIECE_BYTES:
                    break
                parts.append(frame.data)
                size += len(frame.data)
            passed, cursor = passed + 1, frame.watermark
        return Piece(b"".join(parts), Place(passed, cursor))


def join_pieces(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Join frames into pieces of about MAX_PIECE_BYTES."""
    parts: list[bytes] = []
    size = 0
    for frame in frames:
        parts.append(frame)
        size += len(frame)
        if size >= MAX_PIECE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)
