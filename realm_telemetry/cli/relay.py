"""The relay of `realm run`: it copies what a command writes to where it was meant to go.

A program of its own, with the standard library alone: `python -I -S relay.py SOURCE TARGET MEMORY
BELL`, four descriptors. It is in no terminal's session and ignores signals, so that the command can
write on when `realm run` is killed; when this one is killed, `realm run` has the source too, and
starts another. What passes stays in a memory that both share, so that nothing is slowed by keeping.
"""

import mmap
import os
import select
import signal
import stat
import sys
import time

CHUNK_BYTES = 65_536
"""What is read at a time: the most that is lost with a relay that is killed."""

GATHER_S = 0.001
"""Between reads of a command that writes little but often: each write would wake two processes."""

PASSED_BYTES = 4 * 1024 * 1024
"""The last bytes that passed, in the shared memory."""

SIZE_BYTES = PASSED_BYTES + 4_096
ENDED, NOBODY_READS = 0, 3
"""Exit codes: all writers have closed the source, or the reader of the target has gone."""

_IGNORED = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE, signal.SIGALRM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
    signal.SIGXFSZ,
)


class Passed:
    """The shared memory: how much has come and gone, and the last bytes of it."""

    def __init__(self, memory: int) -> None:
        self._memory = mmap.mmap(memory, SIZE_BYTES)
        self._bytes = memoryview(self._memory)[:PASSED_BYTES]
        # One machine word each, written at once: the other side never sees half of it.
        self._words = memoryview(self._memory)[PASSED_BYTES : PASSED_BYTES + 16].cast("Q")

    @property
    def taken(self) -> int:
        """Bytes that came so far."""
        return self._words[0]

    @property
    def given(self) -> int:
        """Bytes of them that have gone, or were lost with a relay."""
        return self._words[1]

    def put(self, data: bytes) -> None:
        """Note bytes that came."""
        at = self.taken % PASSED_BYTES
        room = PASSED_BYTES - at
        self._bytes[at : at + len(data[:room])] = data[:room]
        if len(data) > room:
            self._bytes[: len(data) - room] = data[room:]
        self._words[0] += len(data)

    def settle(self) -> None:
        """Note that all that came has gone."""
        self._words[1] = self._words[0]

    def read(self, start: int, most: int) -> tuple[bytes, int]:
        """Return bytes from a position on, and how many before them are no longer there."""
        lost = max(self.taken + CHUNK_BYTES - PASSED_BYTES - start, 0)
        end = min(self.taken, start + lost + most)
        at, count = (start + lost) % PASSED_BYTES, max(end - start - lost, 0)
        data = bytes(self._bytes[at : at + count])
        data += bytes(self._bytes[: count - len(data)])
        # What was overwritten while it was copied is lost too.
        late = max(self.taken + CHUNK_BYTES - PASSED_BYTES - start - lost, 0)
        return data[late:], lost + min(late, count)


def copy(source: int, target: int, passed: Passed, bell: int) -> int:
    """Copy until the end of the source; returns an exit code. The bell rings for what came."""
    passed.settle()
    waiting = select.poll()
    waiting.register(source, select.POLLIN)
    if stat.S_ISFIFO(os.fstat(target).st_mode):
        waiting.register(target, 0)  # errors are reported without being asked for
    drains, looked_s = False, 0.0
    gathers = stat.S_ISFIFO(os.fstat(source).st_mode)  # a terminal's buffer is too small for it
    while True:
        if any(descriptor == target for descriptor, _ in waiting.poll()):
            return NOBODY_READS
        try:
            data = os.read(source, CHUNK_BYTES)
        except OSError:  # the terminal's last writer has closed it
            return ENDED
        if not data:
            return ENDED
        passed.put(data)
        os.eventfd_write(bell, 1)
        try:
            if not drains:
                _write(target, data)
        except (BrokenPipeError, ConnectionResetError):
            return NOBODY_READS
        except OSError:  # the terminal has gone: the command is not to wait for it
            drains = True
        passed.settle()
        if gathers and len(data) < CHUNK_BYTES:
            looked_s = _gather(looked_s)


def _gather(looked_s: float) -> float:
    """Let more come together where the last read was just before; returns the time of this one."""
    if time.monotonic() - looked_s < 2 * GATHER_S:
        time.sleep(GATHER_S)
    return time.monotonic()


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:  # somebody else has made it so
            room = select.poll()
            room.register(target, select.POLLOUT)
            room.poll()


def main() -> None:
    """Run as a program."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    source, target, memory, bell = map(int, sys.argv[1:])
    os._exit(copy(source, target, Passed(memory), bell))


if __name__ == "__main__":
    main()
