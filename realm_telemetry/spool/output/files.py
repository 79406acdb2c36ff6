"""The kept output of runs: `runs/<id>/output.log` in the home, and the parts that follow it.

`output.log` has the beginning. What comes behind it is in parts, `output.<offset>.log`, of which
the newest two stay, so that a run has 8 MiB at the most. An offset counts all bytes that were kept
of the run, also those whose part is gone. Several processes may write for one run.
"""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from realm_telemetry.home import RUNS, open_own_directory
from realm_telemetry.spool.liveness import LOCK_NAME, is_locked

BEGINNING_BYTES: Final = 4 * 1024 * 1024
PART_BYTES: Final = 2 * 1024 * 1024
KEPT_PARTS: Final = 2
MAX_RUNS: Final = 1_000
"""Directories of runs; the oldest beyond them are removed."""

MAX_PIECE_BYTES: Final = 1024 * 1024
"""What is read at a time."""

_PART: Final = re.compile(r"output(?:\.([0-9]{15}))?\.log")
_MAX_NAME: Final = 180
_TURN_S: Final = 1.0
_NO_LINK: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def directory_name(run_id: str) -> str:
    """Return the name of a run's directory: its id, percent-encoded."""
    if run_id in (".", ".."):
        return run_id.replace(".", "%2E")
    name = quote(run_id, safe="", errors="replace")
    if len(name) <= _MAX_NAME:
        return name
    # No name of a file may be longer than 255 bytes; a plus is never left as it is by `quote`.
    digest = hashlib.sha256(run_id.encode("utf-8", "replace")).hexdigest()
    return f"{name[:_MAX_NAME]}+{digest[:32]}"


class Piece(NamedTuple):
    """Some kept output.

    text: whole lines. next_offset: of what follows them. goes_on: whether more may come.
    """

    text: bytes
    next_offset: int
    goes_on: bool


class _Part(NamedTuple):
    start: int
    name: str
    size: int


class KeptOutput:
    """Keeps the output of one run, as long as this process lives.

    Raises OSError if the home cannot be written, UnsafeDirectoryError if another user could.
    """

    def __init__(self, home: Path, run_id: str) -> None:
        inside = open_own_directory(home / RUNS / directory_name(run_id), make=True)
        try:
            self._directory = os.open(".", os.O_RDONLY | os.O_CLOEXEC, dir_fd=inside)
        finally:
            os.close(inside)
        self._lock = self._open(LOCK_NAME, os.O_RDWR)
        # For readers, who ask whether somebody has it.
        with suppress(OSError):
            fcntl.lockf(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def append(self, lines: Sequence[str]) -> None:
        """Keep lines. Raises OSError, such as that the disk is full."""
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        with self._turn():
            descriptor = self._open(self._place(len(data)), os.O_WRONLY | os.O_APPEND)
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Close the files: nothing more will come."""
        os.close(self._lock)
        os.close(self._directory)

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CREAT | _NO_LINK, 0o600, dir_fd=self._directory)

    def _place(self, size: int) -> str:
        """Return the part that the next bytes belong in; removes those that are too many."""
        parts = _parts(self._directory)
        if not parts:
            return "output.log"
        last = parts[-1]
        limit = PART_BYTES if last.start else BEGINNING_BYTES
        if not last.size or last.size + size <= limit:
            return last.name
        for part in parts[1 : 1 - KEPT_PARTS]:
            with suppress(FileNotFoundError):
                os.unlink(part.name, dir_fd=self._directory)
        return f"output.{last.start + last.size:015}.log"

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for others that write for the same run; one that is stopped is not waited for."""
        deadline_s = time.monotonic() + _TURN_S
        while not _take_turn(self._lock) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


def _take_turn(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _parts(directory: int) -> list[_Part]:
    """Return the parts in a directory, in order; links and what else is there are none."""
    found = []
    for name in os.listdir(directory):
        match = _PART.fullmatch(name)
        if match is None:
            continue
        with suppress(FileNotFoundError):
            facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(facts.st_mode):
                found.append(_Part(int(match[1] or 0), name, facts.st_size))
    return sorted(found)


def read_from(home: Path, run_id: str, offset: int) -> Piece | None:
    """Read on from an offset, up to 1 MiB; None if nothing of the run was kept.

    Where bytes are gone, a line says how many.
    """
    with _opened(home, run_id) as directory:
        # Before reading: what is written before the writer ends is then read, or `goes_on` is true.
        goes_on = directory is not None and _is_written(directory)
        parts = [] if directory is None else _parts(directory)
        if not parts or directory is None:
            return None
        end = parts[-1].start + parts[-1].size
        for part in parts:
            text = b""
            if offset < part.start + part.size:
                text = _read(directory, part.name, max(offset - part.start, 0))
            if text:
                gap = part.start - offset
                note = f"[... {gap:,} bytes are no longer kept]\n".encode() if gap > 0 else b""
                following = max(offset, part.start) + len(text)
                return Piece(note + text, following, goes_on or following < end)
        return Piece(b"", min(offset, end), goes_on)


def read_end(home: Path, run_id: str, lines: int) -> Piece | None:
    """Read the last lines, up to 1 MiB of them; None if nothing of the run was kept."""
    with _opened(home, run_id) as directory:
        goes_on = directory is not None and _is_written(directory)
        parts = [] if directory is None else _parts(directory)
        if not parts or directory is None:
            return None
        end = parts[-1].start + parts[-1].size
        text = b""
        for part in reversed(parts):
            if part.start + part.size < end - len(text):
                break  # what is between is gone
            start = max(part.size - (MAX_PIECE_BYTES - len(text)), 0)
            read = _read(directory, part.name, start, part.size - start)
            # A line that begins before is not whole.
            text = (read[read.find(b"\n") + 1 :] if start else read) + text
            if start or text.count(b"\n") > lines:
                break
    return Piece(_last_lines(text, lines), end, goes_on)


def _last_lines(text: bytes, lines: int) -> bytes:
    at = len(text)
    for _ in range(lines + 1):
        at = text.rfind(b"\n", 0, at)
        if at < 0:
            return text if lines else b""
    return text[at + 1 :]


def _is_written(directory: int) -> bool:
    return is_locked(f"/proc/self/fd/{directory}/{LOCK_NAME}")


@contextmanager
def _opened(home: Path, run_id: str) -> Iterator[int | None]:
    """Open the directory of a run, through no link below the home."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        above = os.open(home / RUNS, flags)
    except OSError:
        yield None
        return
    try:
        directory = os.open(directory_name(run_id), flags, dir_fd=above)
    except OSError:
        yield None
        return
    finally:
        os.close(above)
    try:
        yield directory
    finally:
        os.close(directory)


def _read(directory: int, name: str, start: int, most: int = MAX_PIECE_BYTES) -> bytes:
    """Read whole lines of a part."""
    try:
        descriptor = os.open(name, os.O_RDONLY | _NO_LINK, dir_fd=directory)
    except FileNotFoundError:  # removed just now
        return b""
    try:
        data = os.pread(descriptor, most, start)
    finally:
        os.close(descriptor)
    return data[: data.rfind(b"\n") + 1]


def remove_old(home: Path, run_id: str, max_bytes: int, max_runs: int = MAX_RUNS) -> int:
    """Remove the oldest runs' output beyond a number of bytes and of runs; returns how many.

    run_id: of this process, which keeps its own. Never that of a run that is being written.
    Raises OSError if the home cannot be read.
    """
    total = count = removed = 0
    for _, size, path in sorted(_kept_runs(home), reverse=True):
        total += size
        count += 1
        if total <= max_bytes and count <= max_runs:
            continue
        # First: to ask for one's own lock would lose it.
        if path.name != directory_name(run_id) and not is_locked(path / LOCK_NAME):
            shutil.rmtree(path, ignore_errors=True)
            total -= size
            count -= 1
            removed += 1
    return removed


def _kept_runs(home: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield when each run was last written, its bytes, and its directory."""
    with os.scandir(home / RUNS) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                continue
            with suppress(OSError), os.scandir(entry.path) as files:
                facts = [file.stat(follow_symlinks=False) for file in files]
                newest = max((one.st_mtime for one in facts), default=0.0)
                yield newest, sum(one.st_size for one in facts), Path(entry.path)
