"""What a shipper reports: a log file for people, and the status page for keepers.

A problem is reported when it begins, and again when it is over.
"""

import os
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

from realm_telemetry.errors import shown
from realm_telemetry.event import format_time
from realm_telemetry.home import make_private_directory

KEPT_FILES: Final = 2


class StatusDisplay(Protocol):
    """The status page, as far as the reporter needs it."""

    def show(self, error: str) -> None:
        """Show an error; empty when all is well."""
        ...


class LogFile:
    """A text file that is renamed to `.1`, `.2` once it is large.

    stdio: whether stdout and stderr go to the file too, and have to move with it.
    Writing never raises: a full or read-only disk costs lines, not the shipper.
    """

    def __init__(self, path: Path, *, max_bytes: int, stdio: bool = False) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._stdio = stdio
        self._descriptor: int | None = None

    def write(self, line: str) -> None:
        """Append one line."""
        try:
            descriptor = self._open()
            os.write(descriptor, f"{line}\n".encode("utf-8", "replace"))
            if os.fstat(descriptor).st_size >= self._max_bytes:
                self._rotate()
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            make_private_directory(self.path.parent)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            flags |= os.O_NONBLOCK  # a pipe in its place has no reader
            self._descriptor = os.open(self.path, flags, 0o600)
            if self._stdio:
                os.dup2(self._descriptor, 1)
                os.dup2(self._descriptor, 2)
        return self._descriptor

    def _rotate(self) -> None:
        self.close()
        names = [self.path.name] + [f"{self.path.name}.{n + 1}" for n in range(KEPT_FILES)]
        files = [self.path.with_name(name) for name in names]
        for newer, older in reversed(list(pairwise(files))):
            if newer.exists():
                newer.replace(older)
        self._open()


class Reporter:
    """Problems by key, without the secrets of addresses; safe to use from every thread."""

    def __init__(
        self,
        log_file: LogFile,
        page: StatusDisplay | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._log_file = log_file
        self._page = page
        self._clock_ns = clock_ns
        self._problems: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong now, by key."""
        with self._lock:
            return dict(self._problems)

    def show_on(self, page: StatusDisplay | None) -> None:
        """Show problems on a page from now on; None before it is closed."""
        with self._lock:
            self._page = page

    def info(self, text: str) -> None:
        """Write a line to the log file."""
        with self._lock:
            self._write("info", text)

    def problem(self, key: str, text: str) -> None:
        """Report a problem: what is wrong and what to do. The same text is reported once."""
        text = shown(text)
        with self._lock:
            if self._problems.pop(key, None) != text:
                self._write("problem", text)
                self._show(text)
            self._problems[key] = text

    def incident(self, text: str) -> None:
        """Report something that went wrong and is over."""
        with self._lock:
            self._write("problem", text)
            self._show(shown(text))

    def solved(self, key: str, text: str) -> None:
        """Report that a problem is over; nothing if there was none."""
        with self._lock:
            if self._problems.pop(key, None) is None:
                return
            self._write("solved", text)
            self._show(next(reversed(self._problems.values()), ""))

    def _write(self, level: str, text: str) -> None:
        self._log_file.write(f"{format_time(self._clock_ns())} {level}: {shown(text)}")

    def _show(self, text: str) -> None:
        if self._page is not None:
            self._page.show(text)
