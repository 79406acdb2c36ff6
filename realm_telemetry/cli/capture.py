"""Between a command of `realm run` and where its output goes, without being in its way.

A regular file the command has itself, and we read along. In the place of a pipe or a terminal it
has one of ours, from which a relay (`relay`) copies: a process of its own, so that the command can
write on though this one is killed. We hold the reading end as well, and start another relay if it
dies. All else, such as /dev/null or a closed stream, is inherited.
Source: pipe(7), pty(7), ioctl_tty(2).
"""

import fcntl
import os
import signal
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from realm_telemetry.cli import relay

PIPE_BYTES: Final = 1024 * 1024
MAX_DEATHS: Final = 5
"""So many relays may die; then this process copies itself."""

_FIRST_NUMBER: Final = 10
"""Descriptors of ours are above the standard streams, which may be closed."""


def _own(descriptor: int) -> int:
    """Return a duplicate that the command does not inherit."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_NUMBER)


def _moved(descriptor: int) -> int:
    moved = _own(descriptor)
    os.close(descriptor)
    return moved


class RelayedStream:
    """A pipe or terminal of ours in the place of one, with its relay. Raises OSError.

    number: 1 or 2, the stream that it takes the place of.
    inside: the end that the command gets.
    """

    def __init__(self, number: int) -> None:
        self._target = _own(number)
        self._is_terminal = os.isatty(number)
        self._source, self.inside = map(_moved, os.openpty() if self._is_terminal else os.pipe())
        if self._is_terminal:
            self._make_alike()
        else:
            with suppress(OSError):  # this user has too much of such memory
                fcntl.fcntl(self._source, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._memory = _moved(os.memfd_create("realm-run"))
        os.ftruncate(self._memory, relay.SIZE_BYTES)
        self._passed = relay.Passed(self._memory)
        self.bell = _moved(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        self._goal = self._seen = 0
        self._lock = threading.Lock()
        self.is_over = False

    def _make_alike(self) -> None:
        attributes = termios.tcgetattr(self._target)
        # The terminal itself does what is to be done to output.
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(self.inside, termios.TCSANOW, attributes)
        self._size = fcntl.ioctl(self._target, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(self.inside, termios.TIOCSWINSZ, self._size)

    def begin(self) -> None:
        """Start to relay, after the command has its end."""
        os.close(self.inside)
        process = self._started()
        name = "realm-telemetry-relay"
        threading.Thread(target=self._watch, args=(process,), name=name, daemon=True).start()

    def _started(self) -> "subprocess.Popen[bytes] | None":
        descriptors = (self._source, self._target, self._memory, self.bell)
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", relay.__file__, *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=descriptors,
                start_new_session=True,
            )
        except OSError:
            return None

    def _watch(self, process: "subprocess.Popen[bytes] | None") -> None:
        """See to relays that end, from a thread: the command is not to wait for what we do."""
        for _ in range(MAX_DEATHS):
            if process is None or process.wait() in (relay.ENDED, relay.NOBODY_READS):
                break
            process = self._started()
        if process is None or process.wait() not in (relay.ENDED, relay.NOBODY_READS):
            relay.copy(self._source, self._target, self._passed, self.bell)
        # The command meets it as it would have without us: nobody can read what it writes.
        with self._lock:
            self.is_over = True
            os.close(self._source)

    def resize(self) -> bool:
        """Give ours the size that the terminal has; whether it was another."""
        with self._lock, suppress(OSError):
            if self._is_terminal and not self.is_over:
                size = fcntl.ioctl(self._target, termios.TIOCGWINSZ, bytes(8))
                if size != self._size:
                    self._size = size
                    fcntl.ioctl(self._source, termios.TIOCSWINSZ, size)
                    return True
        return False

    def note_end(self) -> None:
        """Note that the command has written all that it will."""
        self._goal = self._passed.taken + self._waiting()

    def _waiting(self) -> int:
        """Bytes that no relay has read yet."""
        with self._lock, suppress(OSError):
            if not self.is_over:
                found = fcntl.ioctl(self._source, termios.FIONREAD, bytes(4))
                return int.from_bytes(found, sys.byteorder)
        return 0

    @property
    def given(self) -> int:
        """Bytes that have gone out."""
        return self._passed.given

    @property
    def is_drained(self) -> bool:
        """Whether all that the command wrote has gone out, whoever else still writes."""
        if self.is_over or self._passed.given >= self._goal:
            return True
        # A relay that was killed had some of it.
        return self._passed.given == self._passed.taken and not self._waiting()

    def read(self, most: int) -> tuple[bytes, int]:
        """Return what has passed since the last call, and how many bytes before it were lost."""
        data, lost = self._passed.read(self._seen, most)
        self._seen += lost + len(data)
        return data, lost

    def skip_to_last(self, most: int) -> int:
        """Leave out what is not among the last bytes; returns how many."""
        lost = max(self._passed.taken - most - self._seen, 0)
        self._seen += lost
        return lost


class FileStream:
    """A regular file that the command writes itself, read along from where it begins.

    Raises OSError if this user cannot read it.
    """

    def __init__(self, number: int) -> None:
        self._file = _moved(os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_CLOEXEC))
        appends = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND
        self._at = os.lseek(number, 0, os.SEEK_END if appends else os.SEEK_CUR)

    def read(self, most: int) -> tuple[bytes, int]:
        """Return what was written since the last call, and how many bytes before were left out."""
        lost = self.skip_to_last(relay.PASSED_BYTES)
        data = os.pread(self._file, most, self._at)
        self._at += len(data)
        return data, lost

    def skip_to_last(self, most: int) -> int:
        """Leave out what is not among the last bytes; returns how many."""
        size = os.fstat(self._file).st_size
        if size < self._at:  # it was cut
            self._at = 0
        lost = max(size - most - self._at, 0)
        self._at += lost
        return lost


def _mark(place: tuple[int, int]) -> str:
    """Device and inode, as systemd names a stream in JOURNAL_STREAM."""
    return "{}:{}".format(*place)


class Capture:
    """The output of one command, on its way.

    kept: streams of ours above, as `marks` of it has them, which are kept already.
    stdout, stderr: what the command gets; None for what it inherits.
    problem: why a stream is not kept, None if all is well.
    """

    def __init__(self, kept: Collection[str] = ()) -> None:
        self._kept_above = kept
        self.problem: str | None = None
        self.stdout: int | None = None
        self.stderr: int | None = None
        self.relayed: list[RelayedStream] = []
        self.files: list[FileStream] = []
        self._places: dict[tuple[int, int], int | None] = {}
        self.stdout, self.stderr = self._open(1), self._open(2)

    def _open(self, number: int) -> int | None:
        """Return what the command gets for a stream; the same for two that lead to one place."""
        try:
            found = os.fstat(number)
            writes = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
        except OSError:  # closed
            return None
        place = (found.st_dev, found.st_ino)
        is_new = place not in self._places and _mark(place) not in self._kept_above
        if is_new and writes != os.O_RDONLY:
            self._places[place] = None
            try:
                self._places[place] = self._opened(number, found.st_mode)
            except (OSError, termios.error) as error:
                self.problem = str(error.args[-1])
        return self._places.get(place)

    def _opened(self, number: int, mode: int) -> int | None:
        if stat.S_ISREG(mode):
            self.files.append(FileStream(number))
        elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(number):
            stream = RelayedStream(number)
            self.relayed.append(stream)
            return stream.inside
        return None

    def marks(self) -> list[str]:
        """Return how the command's streams are known to another `realm run` below."""
        own = [os.fstat(number) for number in (self.stdout, self.stderr) if number is not None]
        files = [place for place, inside in self._places.items() if inside is None]
        return [_mark(place) for place in [(one.st_dev, one.st_ino) for one in own] + files]

    def begin(self) -> None:
        """Start to relay, once the command has started."""
        for stream in self.relayed:
            stream.begin()

    def resize(self) -> None:
        """Follow the terminal's size. The command had its signal before ours could follow."""
        resized = [stream.resize() for stream in self.relayed]
        if any(resized):
            os.killpg(os.getpgrp(), signal.SIGWINCH)

    def note_end(self) -> None:
        """Note that the command has written all that it will."""
        for stream in self.relayed:
            stream.note_end()

    @property
    def is_over(self) -> bool:
        """Whether nobody can write any more, or nobody reads."""
        return all(stream.is_over for stream in self.relayed)

    @property
    def is_drained(self) -> bool:
        """Whether all that the command wrote seems to have gone out."""
        return all(stream.is_drained for stream in self.relayed)

    @property
    def given(self) -> int:
        """Bytes that have gone out."""
        return sum(stream.given for stream in self.relayed)
