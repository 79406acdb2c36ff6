"""Segments: the memory-mapped files that a spool is made of."""

import errno
import mmap
import os
import re
import struct
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

FIRST_SEGMENT_BYTES: Final = 256 * 1024
SEGMENT_BYTES: Final = 8 * 1024 * 1024
SEGMENT_HEADER_BYTES: Final = 64
MAGIC: Final = b"RLMSEG1\n"
SHIPPERS_BYTES: Final = 64 * 1024
"""Left free on a disk: without its lock, status page and notes, a shipper empties no spool."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SPARE, ACTIVE, SEALED = 0, 1, 2

# magic, state, index among the spool's segments, first event number, size, producer (0 in 0.1.0)
_HEADER = struct.Struct("<8sQQQQQ")
_STATE = slice(8, 16)
_U64 = struct.Struct("<Q")
_names = count(1)
_SIZED_NAME: Final = re.compile(r"seg-[0-9a-f]+-[0-9a-f]+-([0-9a-f]+)")
CONTROL_NAME: Final = "control"
CONTROL_BYTES: Final = 4096


def producer_word(producer: str) -> int:
    """Return a producer id as headers and control pages have it; 0 for a name that is none."""
    try:
        return int(producer, 16)
    except ValueError:
        return 0


class SegmentHeader:
    """What the first 64 bytes of a segment file say."""

    __slots__ = ("first", "index", "producer", "size", "state")

    def __init__(self, state: int, index: int, first: int, size: int, producer: int) -> None:
        self.state = state
        self.index = index
        self.first = first
        self.size = size
        self.producer = f"{producer:016x}" if producer else None


class Cursor:
    """Where the next frame goes: an open segment and a position in it.

    pos: offset of the next frame; CLOSED once the segment has been swapped.
    seq: the number given last.
    end: where frames of any severity must end; hard_end: where urgent ones must.
    """

    __slots__ = ("end", "hard_end", "index", "mm", "path", "pos", "seq")

    def __init__(self, mm: mmap.mmap, path: Path | None, end: int) -> None:
        self.mm = mm
        self.path = path
        self.pos = SEGMENT_HEADER_BYTES
        self.seq = 0
        self.index = 0
        self.end = end
        self.hard_end = end

    def activate(self, index: int, first: int, producer: int = 0) -> None:
        """Give the segment its place in the order; it still holds no frame."""
        self.index = index
        self.seq = first - 1
        header = _HEADER.pack(MAGIC, ACTIVE, index, first, self.hard_end, producer)
        self.mm[: len(header)] = header

    def seal(self) -> None:
        """Mark for the reader that the next segment has begun."""
        self.mm[_STATE] = _U64.pack(SEALED)


CLOSED: Final = 1 << 62


def create_segment(directory: Path, size: int) -> Cursor:
    """Make a segment file whose blocks are allocated, so that writing to it cannot SIGBUS.

    Nor can it be cut: nobody but root may open it for writing again. Its name has its size, for
    `restore_sizes`. Raises OSError: a full disk is found here and not at the first write.
    """
    path = directory / f"seg-{os.getpid():x}-{next(_names):06x}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        os.posix_fallocate(descriptor, 0, size)
        mm = map_file(descriptor, size)
        # Only now: while it grows it is no file that was cut.
        path = path.rename(f"{path}-{size:x}")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return Cursor(mm, path, size)


def map_file(descriptor: int, size: int) -> mmap.mmap:
    """Map a file that is open; the caller may close its descriptor afterwards.

    Before Python 3.13 a map keeps a second descriptor, and closes that number when it is dropped.
    A program that closes descriptors it does not know, and has been given the number since, loses
    its file then. There is no way round that on those versions.
    """
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, size, trackfd=False)
    return mmap.mmap(descriptor, size)


def create_fitting_segment(directory: Path, size: int, least: int) -> Cursor:
    """Make a segment file as large as wanted, or smaller where the disk has little room.

    least: bytes below which none is any use.
    Raises OSError if there is no room even for that, beside what the shipper needs for its files.
    """
    while True:
        try:
            if free_bytes(directory) < size + SHIPPERS_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))
            return create_segment(directory, size)
        except OSError as error:
            if size <= least or error.errno not in _NO_ROOM:
                raise
            size = max(size // 8 // 4096 * 4096, least)


def free_bytes(directory: Path) -> int:
    """Bytes that are free on the disk of a directory."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def memory_segment(size: int) -> Cursor:
    """Make a segment without a file, for a process that has no place for a spool."""
    cursor = Cursor(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), None, size)
    cursor.activate(1, 1)
    return cursor


def read_header(buffer: mmap.mmap | bytes) -> SegmentHeader | None:
    """Read a segment's header; None if it is no segment of this format."""
    if len(buffer) < SEGMENT_HEADER_BYTES:
        return None
    magic, state, index, first, size, producer = _HEADER.unpack_from(buffer, 0)
    if magic != MAGIC or state not in (ACTIVE, SEALED):
        return None
    return SegmentHeader(state, index, first, size, producer)


def segment_paths(directory: Path) -> list[Path]:
    """All segment files of a spool, spares among them, in no order."""
    return [Path(entry.path) for entry in _entries(directory) if entry.name.startswith("seg-")]


class PageFile:
    """A page that producers have mapped, as the other side has it: by its descriptor.

    A mapping would end that one by SIGBUS once the file is cut. Other code of this process may
    have closed the descriptor and been given its number, so it is looked at before each write.
    Raises OSError where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = self._open()
        found = os.fstat(self._descriptor)
        self._file = found.st_dev, found.st_ino
        restore_size(path, CONTROL_BYTES)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the page: zeros where it is cut."""
        try:  # that of another file may be read: what is no page says so itself
            return os.pread(self._descriptor, size, offset).ljust(size, b"\0")
        except OSError:
            return os.pread(self._checked(), size, offset).ljust(size, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes where mappings of the page have them at once."""
        os.pwrite(self._checked(), data, offset)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            os.close(self._checked())
        self._descriptor = -1

    def _checked(self) -> int:
        with suppress(OSError):
            found = os.fstat(self._descriptor)
            if (found.st_dev, found.st_ino) == self._file:
                return self._descriptor
        self._descriptor = self._open()
        return self._descriptor

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def restore_size(path: Path, size: int) -> bool:
    """Give a file that others have cut its size again; whether it had been cut.

    Whoever writes to its mapping, or reads there, is ended by SIGBUS while it is too small.
    """
    with suppress(OSError):
        if path.stat().st_size >= size:
            return False
        mode = path.stat().st_mode
        path.chmod(mode | 0o200)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(descriptor, size)  # at once, and then what a full disk may refuse
            os.fchmod(descriptor, mode)
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
        return True
    return False


def is_cut(path: Path) -> bool:
    """Whether a file of a spool that is mapped is smaller than it was made."""
    if path.name == CONTROL_NAME:
        size = CONTROL_BYTES
    elif found := _SIZED_NAME.fullmatch(path.name):
        size = int(found[1], 16)
    else:
        return False
    with suppress(OSError):
        return path.stat().st_size < size
    return False


def restore_sizes(directory: Path) -> bool:
    """Do so for the files of a spool that are mapped; whether one had been cut."""
    cut = restore_size(directory / CONTROL_NAME, CONTROL_BYTES)
    for path in segment_paths(directory):
        found = _SIZED_NAME.fullmatch(path.name)
        cut |= found is not None and restore_size(path, int(found[1], 16))
    return cut


def spool_bytes(root: Path) -> int:
    """Bytes that all spools below a spool root take."""
    spools = [spool for pipeline in _directories(root) for spool in _directories(pipeline.path)]
    return sum(_size(file) for spool in spools for file in _entries(spool.path))


def _size(file: os.DirEntry[str]) -> int:
    try:
        return file.stat().st_size
    except OSError:  # freed by the shipper while we look
        return 0


def _directories(path: str | Path) -> list[os.DirEntry[str]]:
    return [entry for entry in _entries(path) if entry.is_dir(follow_symlinks=False)]


def _entries(path: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:  # no longer there
        return []
