"""What a shipper sleeps on, see `spool/doorbell.py`; and a watch of the files that are mapped."""

import os
import select
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from realm_telemetry.shipper.status import StatusPage
from realm_telemetry.spool.control import ControlFile
from realm_telemetry.spool.doorbell import STATUS_NAME, restore_page
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.reader import spool_directories
from realm_telemetry.spool.segment import CONTROL_NAME, is_cut, restore_sizes
from realm_telemetry.values.clock import monotonic
from realm_telemetry.values.file_watch import MODIFIED, MOVED_INTO, TOUCHED, FileWatch


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


class CutWatch:
    """Gives the mapped files of a pipeline their size again, as soon as others have cut them.

    A producer that writes to a file which is too small is ended by SIGBUS.
    """

    def __init__(self, pipeline_dir: Path) -> None:
        self._pipeline_dir = pipeline_dir
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        self._watch: FileWatch | None = None
        self._watched: dict[int, Path] = {}
        with suppress(OSError):  # where the system gives no watch, the keepers look
            self._watch = FileWatch(pipeline_dir, MODIFIED | MOVED_INTO)
            self._poll.register(self._watch.descriptor, select.POLLIN)
        self._restore()

    def wait(self, timeout_s: float) -> None:
        """Restore what is cut until a time has passed, or `end` is called."""
        deadline_s = monotonic() + timeout_s
        while (left_s := deadline_s - monotonic()) > 0:
            if any(descriptor == self._woken for descriptor, _ in self._poll.poll(left_s * 1000)):
                return
            for number, name in () if self._watch is None else self._watch.happened():
                self._look(number, os.fsdecode(name))

    def end(self) -> None:
        """End the wait, from another thread."""
        os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.close()
        os.close(self._woken)

    def _look(self, number: int, name: str) -> None:
        """Restore what has happened to, and nothing else: shippers write there all the time."""
        if number < 0:
            self._restore()
        elif self._watch is not None and number == self._watch.first:
            if name == STATUS_NAME:
                restore_page(self._pipeline_dir)
            elif name and (directory := self._pipeline_dir / name).is_dir():
                self._restore_spool(directory)
        elif not name:
            self._watched.pop(number, None)
        elif number in self._watched and is_cut(self._watched[number] / name):
            self._restore_spool(self._watched[number])

    def _restore(self) -> None:
        with suppress(OSError):  # the pipeline is being removed
            restore_page(self._pipeline_dir)
            for directory in spool_directories(self._pipeline_dir):
                self._restore_spool(directory)

    def _restore_spool(self, directory: Path) -> None:
        if self._watch is not None:
            with suppress(OSError):
                self._watched[self._watch.add(directory)] = directory
        # Of a producer that has ended, a file that was cut is damage, and is reported.
        if is_alive(directory) and restore_sizes(directory):
            control = ControlFile(directory / CONTROL_NAME)
            control.cuts += 1
            control.close()
