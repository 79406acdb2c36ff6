"""The doorbell of a pipeline: how a producer wakes a shipper that sleeps.

The shipper's status page counts how often it fell asleep. A producer that finds another count than
the one it rang for rings, after its frame is in the spool: it touches the page's file, which the
shipper watches. So it rings once for each sleep, however much it emits and though no shipper is
left to hear it, and while the shipper is awake `emit` costs a look at mapped memory.

A shipper counts, looks at all spools again, and sleeps. Two processors may see count and frame in
either order, so that a ring is not certain: the shipper looks every second as well.
"""

import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from realm_telemetry.spool.segment import map_file, restore_size

STATUS_NAME: Final = "shipper.status"
STATUS_BYTES: Final = 4096
SLEEPS_AT: Final = STATUS_BYTES - 8
"""Where the page has the count, a native u64."""


def open_status_page(pipeline_dir: Path) -> mmap.mmap:
    """Map the status page of a pipeline; makes the file if need be.

    Raises OSError if it cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(pipeline_dir / STATUS_NAME, flags, 0o600)
    try:
        if os.fstat(descriptor).st_size < STATUS_BYTES:
            os.posix_fallocate(descriptor, 0, STATUS_BYTES)
        return map_file(descriptor, STATUS_BYTES)
    finally:
        os.close(descriptor)


def restore_page(pipeline_dir: Path) -> None:
    """Make the status page whole again if another program has cut it."""
    restore_size(pipeline_dir / STATUS_NAME, STATUS_BYTES)


def sleeps_on(page: mmap.mmap) -> memoryview:
    """The count of sleeps on a page, as its one item."""
    return memoryview(page)[SLEEPS_AT:].cast("Q")


def ring(pipeline_dir: Path) -> None:
    """Wake the shipper, if one sleeps there: one system call, by name.

    So it needs no descriptor. One that is kept could be closed by a program that becomes a daemon,
    and its number given to one of that program's files; `segment.map_file` says where a map keeps
    one.
    """
    with suppress(OSError):
        os.utime(pipeline_dir / STATUS_NAME)
