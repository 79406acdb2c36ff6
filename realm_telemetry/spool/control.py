"""The control page: integers that producer and shipper share without a system call.

magic 8 | producer u64 | ... | the producer's words | ... | the shipper's words

It is mapped memory that a power failure may leave half written, so nothing is freed by what it
says: the log knows what is stored. A page of 0.1.0 has zeros in the place of magic and producer.
"""

import os
import struct
from pathlib import Path
from typing import Final

from realm_telemetry.spool.segment import CONTROL_BYTES, PageFile, map_file

_MAGIC: Final = b"RLMCTL1\n"
_HEAD = struct.Struct("<8sQ")
_WORD = struct.Struct("<Q")
_STEPS = struct.Struct("=qqq")
_MAX_WORD: Final = 2**64 - 1
# Each word has one writer. The shipper's are on a cache line of their own.
_DROPPED, _LAST_NUMBER, _FLUSHED, _FORKED, _FORKED_NS, _RINGS = 64, 72, 80, 88, 96, 104
_STACKS_GIVEN: Final = 112
_PROGRESS: Final = slice(120, 144)
_STORED, _EXPORTED, _UNDELIVERED, _STORED_CHECK = 2048, 2056, 2064, 2072
_STACKS_WANTED: Final = 2080
_CUTS: Final = 2088

BELIEVABLE: Final = 2**48
"""No producer counts so far; a greater number in a page is damage."""


def _word(offset: int, doc: str) -> property:
    def get(self: "Control") -> int:
        return int(_WORD.unpack(self.read(offset, 8))[0])

    def set_(self: "Control", value: int) -> None:
        self.write(offset, _WORD.pack(min(value, _MAX_WORD)))

    return property(get, set_, doc=doc)


class Control:
    """One page of a spool, mapped by its producer; the shipper has it as a `ControlFile`.

    Raises OSError if the file cannot be made or mapped.
    """

    dropped = _word(_DROPPED, "Events refused since the producer began; the producer writes.")
    last_number = _word(_LAST_NUMBER, "Last number at the end; the producer writes.")
    flushed_number = _word(_FLUSHED, "Last number when a flush succeeded; the producer writes.")
    forked_number = _word(_FORKED, "Last number when it forked; the producer writes.")
    forked_ns = _word(_FORKED_NS, "When that was, on `clock.monotonic_ns`; the producer writes.")
    rings = _word(_RINGS, "1 if it rings for a shipper that sleeps; the producer writes.")
    stored_number = _word(_STORED, "All events up to this number are in the log.")
    exported_number = _word(_EXPORTED, "All up to this number were acknowledged by all exporters.")
    stacks_given = _word(_STACKS_GIVEN, "The last request that it answered; the producer writes.")
    stacks_wanted = _word(_STACKS_WANTED, "Counts requests for the stacks of its threads.")
    cuts = _word(_CUTS, "How often files of the spool were found cut and restored.")
    undelivered = _word(_UNDELIVERED, "Events given up: rejected or in the dead letters.")

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(descriptor).st_size < CONTROL_BYTES:
                os.posix_fallocate(descriptor, 0, CONTROL_BYTES)
            self.page = map_file(descriptor, CONTROL_BYTES)
        finally:
            os.close(descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the page."""
        return self.page[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes of the page."""
        self.page[offset : offset + len(data)] = data

    def begin(self, producer: int) -> None:
        """Mark a new page as that of a producer."""
        self.write(0, _HEAD.pack(_MAGIC, producer))

    def progress_words(self) -> memoryview:
        """The producer's progress, to be written: three items of a view, which pack nothing.

        0, 1: the last step that is no event, and when it was, in ns since 1970. 2: when it made its
        last step of any kind.
        """
        return memoryview(self.page)[_PROGRESS].cast("q")

    @property
    def progress(self) -> tuple[int, int]:
        """The last step that is no event, and when that was: (0, 0) if the producer shows none."""
        step, moment_ns, _ = self._steps()
        believable = moment_ns > 0 and 0 <= step < BELIEVABLE
        return (step, moment_ns) if believable else (0, 0)

    @property
    def last_step_ns(self) -> int:
        """When the producer made its last step, in ns since 1970; 0 if it shows none."""
        return max(self._steps()[2], 0)

    def _steps(self) -> tuple[int, int, int]:
        """The producer's progress, read at once; zeros where the page is damaged."""
        page = self.read(0, _PROGRESS.stop)
        steps: tuple[int, int, int] = _STEPS.unpack_from(page, _PROGRESS.start)
        return steps if page[:8] == _MAGIC or page[:16] == bytes(16) else (0, 0, 0)

    @property
    def producer(self) -> str | None:
        """The producer whose page this is; None for a page of 0.1.0, or one that is damaged."""
        magic, producer = _HEAD.unpack(self.read(0, _HEAD.size))
        return f"{producer:016x}" if magic == _MAGIC else None

    @property
    def is_whole(self) -> bool:
        """Whether what the page says may be believed, as far as its first bytes show."""
        head = self.read(0, _HEAD.size)
        return head[:8] == _MAGIC or head == bytes(_HEAD.size)

    @property
    def believable_dropped(self) -> int:
        """`dropped`, or 0 where that cannot be."""
        dropped = int(self.dropped)
        return dropped if self.is_whole and dropped < BELIEVABLE else 0

    def note_checked(self, number: int) -> None:
        """Set `stored_number` for a reader that has no log to compare it with."""
        self.stored_number = number
        self.write(_STORED_CHECK, _WORD.pack(number ^ _MAX_WORD))

    @property
    def checked_number(self) -> int:
        """What `note_checked` noted; 0 where the page is damaged, so that all is read again."""
        stored, check = int(self.stored_number), _WORD.unpack(self.read(_STORED_CHECK, 8))[0]
        older = self.producer is None and self.is_whole and not check and stored < BELIEVABLE
        return stored if older or (self.is_whole and stored ^ check == _MAX_WORD) else 0

    def close(self) -> None:
        """Unmap the page."""
        self.page.close()


class ControlFile(Control):
    """The page as the shipper has it, which no cut of the file ends.

    Raises OSError if the file cannot be made or read.
    """

    def __init__(self, path: Path) -> None:
        self._file = PageFile(path)
        self.read = self._file.read  # type: ignore[method-assign]
        self.write = self._file.write  # type: ignore[method-assign]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
