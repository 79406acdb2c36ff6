"""What a shipper sleeps on, see `spool/doorbell.py`."""

import os
import select
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from realm_telemetry.shipper.status import StatusPage
from realm_telemetry.spool.doorbell import STATUS_NAME
from realm_telemetry.values.file_watch import TOUCHED, FileWatch


class Doorbell:
    """Rung by producers, through the file of the status page, and by threads of this process.

    Raises OSError where the system gives no watch of a file or no descriptor.
    """

    def __init__(self, pipeline_dir: Path, page: StatusPage) -> None:
        self._page = page
        self._sleeping = False
        self._touched = FileWatch(pipeline_dir / STATUS_NAME, TOUCHED)
        try:
            self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError:
            self._touched.close()
            raise
        self._poll = select.poll()
        for descriptor in (self._touched.descriptor, self._woken):
            self._poll.register(descriptor, select.POLLIN)

    def wake(self) -> None:
        """End the sleep, if there is one; from any thread, and from a signal handler."""
        if self._sleeping:
            os.eventfd_write(self._woken, 1)

    def sleep(self, timeout_s: float, quiet: Callable[[], bool]) -> bool:
        """Sleep until somebody rings, at most for a time; return whether there is something to do.

        quiet: whether there is nothing to do, asked once every ring is heard.
        """
        self._drain()
        self._sleeping = True
        try:
            self._page.count_sleep()
            return not quiet() or bool(self._poll.poll(timeout_s * 1000))
        finally:
            self._sleeping = False

    def close(self) -> None:
        """Hear no more."""
        self._touched.close()
        os.close(self._woken)

    def _drain(self) -> None:
        self._touched.drain()
        with suppress(BlockingIOError):
            os.eventfd_read(self._woken)
