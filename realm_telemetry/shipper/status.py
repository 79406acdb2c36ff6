"""The status page of a shipper: one mapped page that the keepers of its producers look at.

magic 8 | heartbeat u64 ns | pid u64 | sequence u64 | length u64 | error, UTF-8 ... | sleeps u64
"""

import os
import struct
import time
from pathlib import Path
from typing import Final, NamedTuple

from realm_telemetry.home import read_regular_file
from realm_telemetry.spool.doorbell import SLEEPS_AT, STATUS_NAME
from realm_telemetry.spool.segment import PageFile

STALE_AFTER_S: Final = 10.0
"""A shipper whose heartbeat is older has died or hangs."""

_MAGIC: Final = b"RLMSHIP1"
_PAGE = struct.Struct("<8sQQQQ")
_WORD = struct.Struct("<Q")
_HEARTBEAT, _SEQUENCE, _LENGTH = 8, 24, 32
_MAX_ERROR_BYTES: Final = SLEEPS_AT - _PAGE.size


class ShipperStatus(NamedTuple):
    """What a status page shows.

    heartbeat_unix_nano: when the shipper last showed that it runs; 0 once it has left.
    error_number: counts the errors shown; a keeper prints each once.
    error: what is wrong and what to do; empty while all is well.
    """

    heartbeat_unix_nano: int
    pid: int
    error_number: int
    error: str

    def alive(self, now_unix_nano: int) -> bool:
        """Whether the heartbeat is fresh; the wall clock may have been set since."""
        age_s = abs(now_unix_nano - self.heartbeat_unix_nano) / 1e9
        return self.heartbeat_unix_nano > 0 and age_s < STALE_AFTER_S


def read_status(pipeline_dir: Path) -> ShipperStatus | None:
    """Read the status page of a pipeline; None if no shipper has ever run there."""
    try:
        page = read_regular_file(pipeline_dir / STATUS_NAME)
        magic, heartbeat, pid, sequence, length = _PAGE.unpack_from(page)
    except (OSError, struct.error):
        return None
    if magic != _MAGIC:
        return None
    text = page[_PAGE.size : _PAGE.size + length].decode("utf-8", "replace")
    return ShipperStatus(heartbeat, pid, sequence, text)


class StatusPage:
    """The page as its one writer has it.

    Raises OSError if it cannot be made.
    """

    def __init__(self, pipeline_dir: Path) -> None:
        self._page = PageFile(pipeline_dir / STATUS_NAME)
        known = self._page.read(0, 8) == _MAGIC
        self._number = self._word(_SEQUENCE) if known else 0
        self._page.write(0, _PAGE.pack(_MAGIC, time.time_ns(), os.getpid(), self._number, 0))

    def beat(self) -> None:
        """Show that the shipper runs."""
        # The whole head: another program may have cut the page.
        head = _PAGE.pack(_MAGIC, time.time_ns(), os.getpid(), self._number, 0)
        self._page.write(0, head[:_LENGTH])

    def count_sleep(self) -> None:
        """Ask the producers to ring: the shipper falls asleep."""
        self._set_word(SLEEPS_AT, (self._word(SLEEPS_AT) + 1) % 2**63)

    def show(self, error: str) -> None:
        """Show an error; the empty string means that all is well again."""
        text = error.encode("utf-8", "replace")[:_MAX_ERROR_BYTES]
        # Length 0 first and last the number: a reader in between sees no error, never half of one.
        self._set_word(_LENGTH, 0)
        self._page.write(_PAGE.size, text)
        self._set_word(_LENGTH, len(text))
        if text:
            self._number += 1
            self._set_word(_SEQUENCE, self._number)

    def leave(self) -> None:
        """Show that the shipper has left, and close the page."""
        self._set_word(_HEARTBEAT, 0)
        self._page.close()

    def _word(self, offset: int) -> int:
        return int(_WORD.unpack(self._page.read(offset, 8))[0])

    def _set_word(self, offset: int, value: int) -> None:
        self._page.write(offset, _WORD.pack(value))
