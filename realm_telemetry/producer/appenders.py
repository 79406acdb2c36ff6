"""The current appender: where `emit` puts its payloads, from before `configure` to the end.

    Early (nothing emitted yet) -> MemoryWriter (a bounded buffer) -> SpoolWriter -> Ended
    a forked child starts again at Early, and where a spool was deleted another one takes over

Nothing here takes a lock: `emit` runs in signal handlers and finalizers too.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from os import urandom
from typing import Final

from realm_telemetry.errors import warn_once
from realm_telemetry.spool.frames import FORMAT_EVENT, HEADER_BYTES, parse_frame
from realm_telemetry.spool.segment import CLOSED, SEGMENT_HEADER_BYTES, Cursor
from realm_telemetry.spool.writer import (
    DROPPED,
    Appender,
    MemoryWriter,
    SpoolClosedError,
    SpoolWriter,
)

MAX_EARLY_EVENTS: Final = 1_000
"""Events kept when they are emitted before `configure`."""


class Early:
    """Nothing has been emitted yet: the first event decides where events go."""

    producer = ""

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self.progress: list[int] | memoryview = [0, 0, 0]

    def append(self, payload: bytes, urgent: bool = False) -> int:
        """Begin a buffer and let the owner join a pipeline; the event goes to what is current then.

        Raises SpoolClosedError always.
        """
        global current
        buffer = MemoryWriter(new_producer(), max_events=MAX_EARLY_EVENTS)
        if current is self: current = buffer  # fmt: skip # noqa: E701
        self._on_first()
        raise SpoolClosedError


class Ended:
    """After `shutdown`: events are counted, and reported once as lost."""

    def __init__(self, producer: str) -> None:
        self.producer = producer
        self.progress: list[int] | memoryview = [0, 0, 0]
        self.dropped = 0

    def append(self, payload: bytes, urgent: bool = False) -> int:
        """Refuse the event."""
        self.dropped += 1
        warn_once("ended", "events emitted after shutdown() are not recorded")
        return DROPPED


class Disabled:
    """`OTEL_SDK_DISABLED=true`: events are built, numbered and forgotten."""

    def __init__(self) -> None:
        self.producer = new_producer()
        self.progress: list[int] | memoryview = [0, 0, 0]
        self._numbers = count(1)

    def append(self, payload: bytes, urgent: bool = False) -> int:
        """Number the event."""
        return next(self._numbers)


current: Appender = Early(lambda: None)


def new_producer() -> str:
    """A new producer id, 16 hex digits."""
    return urandom(8).hex()


def append(payload: bytes, *, urgent: bool) -> tuple[str, int]:
    """Append to the current appender; returns (producer, number)."""
    while True:
        appender = current
        try:
            number = appender.append(payload, urgent)
            return appender.producer, number
        except SpoolClosedError:  # a spool takes over: it is current by now
            continue


def join() -> None:
    """Let a process that has emitted nothing yet join its parent's pipeline, as an event would."""
    if isinstance(current, Early):
        with suppress(SpoolClosedError):
            current.append(b"")


def set_current(appender: Appender) -> None:
    """Make an appender the current one."""
    global current
    current = appender


def begin_again(on_first: Callable[[], None]) -> None:
    """Start again after `shutdown`: the next event is number 1, kept until a spool is there."""
    global current
    early, ended = Early(on_first), current
    # One line, no call after the second look: another thread may have set up anew meanwhile.
    if isinstance(ended, Ended) and current is ended: current = early  # fmt: skip # noqa: E701


def early_producer() -> str | None:
    """The producer id that early events have been numbered under, if there are any."""
    return current.producer if isinstance(current, MemoryWriter) else None


def hand_over(spool: SpoolWriter | MemoryWriter | Disabled) -> int:
    """Make a spool current, with the early events first; how many early events were dropped."""
    global current
    buffer = current
    if not isinstance(buffer, MemoryWriter) or isinstance(spool, Disabled):
        current = spool
        return 0
    position = SEGMENT_HEADER_BYTES
    c = buffer.cursor
    while True:
        found = parse_frame(c.mm, position, c.hard_end)
        if found is not None:
            spool.append(found[2], True)
            position += HEADER_BYTES + len(found[2])
            continue
        # One line: an event is in the buffer before it, or goes to the spool after it.
        if c.pos == position: c.pos = CLOSED; current = spool; return buffer.dropped  # fmt: skip # noqa: E701, E702


def take_over(old: SpoolWriter, spool: SpoolWriter, number: int) -> None:
    """Make a spool current in the place of a deleted one, whose events above a number go first."""
    global current
    read: list[Cursor] = []
    while (c := old.still_mapped(read)) is not None:
        position = SEGMENT_HEADER_BYTES
        while True:
            end = c.pos
            found = parse_frame(c.mm, position, c.hard_end)
            if found is not None:
                if found[0] == FORMAT_EVENT and found[1] > number:
                    spool.append(found[2], True)
                position += HEADER_BYTES + len(found[2])
                continue
            if end == CLOSED:
                read.append(c)
                break
            position = end  # where it is already, unless a frame cannot be read
            # One line, as in `hand_over`: a later append to the old spool raises SpoolClosedError.
            if c.pos == position and old.cursor is c: c.pos = CLOSED; current = spool; return  # fmt: skip # noqa: E501, E701, E702
