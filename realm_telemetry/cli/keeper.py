"""Keeps what a command of `realm run` prints, in a thread that costs the command nothing.

It looks at most ten times a second, and uses a fifth of a processor at the most: of a flood it
keeps what it can, and the end.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from realm_telemetry.cli.capture import Capture, FileStream, RelayedStream
from realm_telemetry.spool.output import Folder, KeptOutput, Tail

READ_BYTES: Final = 256 * 1024
LAST_BYTES: Final = 512 * 1024
LAST_S: Final = 1.0
"""For so long the rest is read at the end; then only its last bytes."""

EVERY_S: Final = 0.1
FILES_EVERY_S: Final = 0.5
_REST: Final = 4
_JOIN_S: Final = 5.0


class Keeper:
    """Folds, redacts and keeps the output.

    kept: None where nothing can be kept; the last lines are known nevertheless.
    report: takes a line about what went wrong. make_room: removes what is too old.
    own: lines of `realm run` itself.
    """

    def __init__(
        self,
        capture: Capture,
        redact: Callable[[str], str],
        kept: KeptOutput | None,
        report: Callable[[str], None],
        make_room: Callable[[], object],
        own: Sequence[str] = (),
    ) -> None:
        self.tail = Tail()
        self._relayed = capture.relayed
        self._has_files = bool(capture.files)
        sources: list[RelayedStream | FileStream] = [*capture.relayed, *capture.files]
        self._sources = [(source, Folder(redact)) for source in sources]
        self._kept = kept
        self._report = report
        self._make_room = make_room
        self._own = frozenset(own)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="realm-telemetry-output", daemon=True
        )
        self._thread.start()

    def finish(self) -> None:
        """Keep the rest, and end."""
        self._is_ending.set()
        os.eventfd_write(self._bell, 1)
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        with suppress(OSError):  # there is no room of ours
            self._make_room()
        is_more = False
        while not self._is_ending.is_set():
            if not is_more:
                self._wait()
            began_s = time.monotonic()
            taken = [self._take(source, folder) for source, folder in self._sources]
            is_more = any(taken)
            self._is_ending.wait(max(EVERY_S, _REST * (time.monotonic() - began_s)))
        for source, folder in self._sources:
            self._take_last(source, folder)
        if self._kept is not None:
            self._kept.close()

    def _wait(self) -> None:
        """Wait until something comes; files ring no bell."""
        poll = select.poll()
        bells = [self._bell, *(stream.bell for stream in self._relayed)]
        for bell in bells:
            poll.register(bell, select.POLLIN)
        for bell, _ in poll.poll(FILES_EVERY_S * 1000 if self._has_files else None):
            os.eventfd_read(bell)

    def _take(self, source: RelayedStream | FileStream, folder: Folder) -> bool:
        """Take some of what has come; whether there may be more."""
        data, lost = source.read(READ_BYTES)
        self._keep([*(folder.skip(lost) if lost else ()), *(folder.feed(data) if data else ())])
        return len(data) == READ_BYTES

    def _take_last(self, source: RelayedStream | FileStream, folder: Folder) -> None:
        deadline_s = time.monotonic() + LAST_S
        while self._take(source, folder) and time.monotonic() < deadline_s:
            pass
        lost = source.skip_to_last(LAST_BYTES)
        self._keep(folder.skip(lost) if lost else [])
        for _ in range(LAST_BYTES // READ_BYTES):
            self._take(source, folder)
        self._keep(folder.end())

    def _keep(self, lines: list[str]) -> None:
        lines = [line for line in lines if line not in self._own]
        if not lines:
            return
        self.tail.add(lines)
        if self._kept is None:
            return
        try:
            self._kept.append(lines)
        except OSError as error:
            self._kept = None
            self._report(f"realm: the output is no longer kept: {error.strerror or error}")
