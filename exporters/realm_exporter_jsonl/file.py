"""A file of whole lines that several processes append to."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from realm_telemetry.home import make_private_directory

_TAIL_BYTES: Final = 1024 * 1024
"""How much of the file's end is read to recognise events that come again."""


def append(path: Path, lines: Sequence[bytes], *, fsync: bool) -> None:
    """Append lines, all or none: what a full disk cut short is taken back.

    lines: without line ends. Raises OSError.
    """
    with _locked(path) as descriptor:
        start = _mend(descriptor)
        try:
            _write_all(descriptor, b"".join(line + b"\n" for line in lines))
            if fsync:
                os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, start)
            raise


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open the file that is at the path once the lock is held; rotation may have swapped it."""
    make_private_directory(path.parent)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _mend(descriptor: int) -> int:
    """End the file at a whole line and return its size.

    A crash leaves half a line, which is cut off: its event was not acknowledged and comes
    again. A whole one that only lacks its line end gets it.
    """
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    start = _line_start(descriptor, size)
    try:
        msgspec.json.decode(os.pread(descriptor, size - start, start))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        os.ftruncate(descriptor, start)
        return start
    _write_all(descriptor, b"\n")
    return size + 1


def _line_start(descriptor: int, end: int) -> int:
    while end > 0:
        start = max(end - 65_536, 0)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def last_lines(path: Path) -> list[bytes]:
    """Return the whole lines in the last MiB of the file, oldest first."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(size - _TAIL_BYTES, 0)
            file.seek(start)
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    return lines[1 if start else 0 : -1]


def rotate(path: Path, max_bytes: int, keep: int) -> None:
    """Move a file of at least max_bytes to `.1`, `.1` to `.2` ..., up to `keep` of them."""
    if not path.exists() or path.stat().st_size < max_bytes:
        return
    with _locked(path) as descriptor:
        if os.fstat(descriptor).st_size < max_bytes:
            return
        for number in range(keep, 0, -1):
            older = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number}"))
        if keep == 0:
            path.unlink()
