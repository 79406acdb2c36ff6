"""The control page: integers that producer and shipper share without a system call."""

import mmap
import os
import struct
from pathlib import Path
from typing import Final

CONTROL_BYTES: Final = 4096
_WORD = struct.Struct("<Q")
# Each word has one writer. The shipper's are on a cache line of their own.
_DROPPED, _LAST_NUMBER = 64, 72
_STORED, _EXPORTED, _UNDELIVERED = 2048, 2056, 2064


def _word(offset: int, doc: str) -> property:
    def get(self: "Control") -> int:
        return int(_WORD.unpack_from(self.page, offset)[0])

    def set_(self: "Control", value: int) -> None:
        _WORD.pack_into(self.page, offset, value)

    return property(get, set_, doc=doc)


class Control:
    """One page of a spool, mapped by its producer and by the shipper.

    Raises OSError if the file cannot be made or mapped.
    """

    dropped = _word(_DROPPED, "Events refused since the producer began; the producer writes.")
    last_number = _word(_LAST_NUMBER, "Last number at the end; the producer writes.")
    stored_number = _word(_STORED, "All events up to this number are in the log.")
    exported_number = _word(_EXPORTED, "All up to this number were acknowledged by all exporters.")
    undelivered = _word(_UNDELIVERED, "Events given up: rejected or in the dead letters.")

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(descriptor).st_size < CONTROL_BYTES:
                os.posix_fallocate(descriptor, 0, CONTROL_BYTES)
            self.page = mmap.mmap(descriptor, CONTROL_BYTES)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Unmap the page."""
        self.page.close()
