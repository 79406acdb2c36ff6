"""The shipper's side of a spool: frames in order, segments freed once acknowledged.

A frame that does not check is *not yet* in the last segment of a live producer. In a segment
that is over (a later one has begun, or the producer is dead) it is corruption or the end: the
reader then looks for the next whole frame, so that nothing behind a damaged place is lost.

Segments of a live producer are found by the index in their headers. At its end all other files are
read in the order of their frames: a header may be damaged, a frame proves itself.
"""

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from realm_telemetry.spool.control import Control, ControlFile
from realm_telemetry.spool.frames import HEADER_BYTES, MAX_PAYLOAD_BYTES, Frame, parse_frame
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.segment import (
    SEALED,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    read_header,
    segment_paths,
)
from realm_telemetry.values.clock import monotonic

RESCAN_S: Final = 1.0
_BLOCK: Final = 65536
_SMALL_BLOCK: Final = 8192
# What may be a frame's header: a length up to 1 MiB, a format, a number below 2^40. A loop over all
# bytes of a damaged segment would keep the shipper from its other spools for seconds.
_HEADER_LIKE: Final = re.compile(rb"(?s)(?=..[\x00-\x10]\x00.{4}[\x01-\x03].{5}\x00\x00\x00)")
_HEX_NAME: Final = re.compile(r"[0-9a-f]{16}")
_NOTHING: Final = bytes(4)
_NO_NUMBER: Final = 2**64


class _Open:
    """A segment being read: by its descriptor, because a mapping would end whoever reads it by
    SIGBUS once another program has cut the file.

    Raises ValueError for an empty file, OSError for one that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(self._descriptor)
        self._file = found.st_dev, found.st_ino
        self.size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        if not self.size:
            self.close()
            raise ValueError(f"{path} is empty")
        self.index = 0
        self.position = SEGMENT_HEADER_BYTES
        self.over = False
        self.out_of_order = False
        self._block, self._block_at, self._block_bytes = b"", 0, _SMALL_BLOCK
        self._content: bytes | None = None

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file; fewer where it ends."""
        return os.pread(self._descriptor, size, offset)

    def content(self) -> bytes:
        """All of it; read once when no more is written."""
        if self._content is not None:
            return self._content
        blocks = []
        at = 0
        while block := self.bytes_at(at, _BLOCK):
            blocks.append(block)
            at += len(block)
        content = b"".join(blocks).ljust(self.size, b"\0")
        if self.over:
            self._content = content
        return content

    def frame(self) -> tuple[int, int, bytes] | None:
        """The whole frame at the reading position; None if there is none by now."""
        at = self.position - self._block_at
        found = parse_frame(self._block, at, len(self._block)) if at >= 0 else None
        if found is not None:
            return found
        for size in (self._block_bytes, HEADER_BYTES + MAX_PAYLOAD_BYTES):
            self._block, self._block_at = self.bytes_at(self.position, size), self.position
            found = parse_frame(self._block, 0, len(self._block))
            if found is not None or self._block[:4] in (_NOTHING, b""):
                break
        # A long way to go is gone in long steps; a spool that waits keeps no memory.
        self._block_bytes = _SMALL_BLOCK if found is None else _BLOCK
        if found is None:
            self._block = b""
        return found

    def sealed(self) -> bool:
        """Whether the next segment has begun."""
        return self.bytes_at(8, 1) == bytes([SEALED])

    def refresh(self) -> bool:
        """Read the header again; False while the segment is a spare."""
        if self.out_of_order:
            return True
        header = self.header()
        if header is None:
            return False
        self.index = header.index
        self.over = self.over or header.state == SEALED
        return True

    def header(self) -> SegmentHeader | None:
        """What the file's head says; None if it is no segment of this format."""
        return read_header(self.bytes_at(0, SEGMENT_HEADER_BYTES))

    def place_last(self, index: int) -> None:
        """Read the segment whatever its header says, after the one with an index."""
        self.position = 0 if self.header() is None else SEGMENT_HEADER_BYTES
        self.index = index + 1
        self.over = self.out_of_order = True

    def is_blank(self, start: int) -> bool:
        """Whether only zeros follow; looks at no more than it must."""
        while block := self.bytes_at(start, _BLOCK):
            if block.count(0) != len(block):
                return False
            start += len(block)
        return True

    def next_frame(self, start: int) -> int | None:
        """The offset of the next whole frame, found by its checksum."""
        content = self.content()
        written = len(content.rstrip(b"\0"))
        # The last bytes of a payload may be zeros, which `written` leaves out.
        end = min(written + MAX_PAYLOAD_BYTES, len(content))
        for match in _HEADER_LIKE.finditer(content, start, min(written + HEADER_BYTES, end)):
            if parse_frame(content, match.start(), end) is not None:
                return match.start()
        return None

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            found = os.fstat(self._descriptor)
            # Other code of this process may have closed it, and been given its number.
            if (found.st_dev, found.st_ino) == self._file:
                os.close(self._descriptor)
        self._content = None


class SpoolReader:
    """Reads one producer's spool; one reader at a time (the shipper holds the lock).

    exhausted: the producer is dead (`finish`) and the last `read` found nothing more.
    on_damage: called with (path, offset, bytes) of what did not check.
    unreadable: segment files that cannot be opened, once the producer is dead.
    Raises OSError if the directory cannot be read.
    """

    def __init__(
        self,
        directory: Path,
        *,
        on_damage: Callable[[Path, int, bytes], None] = lambda path, offset, data: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.directory = directory
        self.producer = directory.name
        self.control: Control = ControlFile(directory / "control")
        self._on_damage = on_damage
        self._clock = clock
        self._segments: list[_Open] = []
        self._read_to = 0
        self._reached: set[str] = set()
        self._firsts: dict[str, int] = {}
        self.unreadable: list[Path] = []
        self._rescan_at = 0.0
        self._tried: tuple[int, int, bool, bytes] | None = None
        self._dead = False
        self.exhausted = False

    def alive(self) -> bool:
        """Whether the producer still runs."""
        return is_alive(self.directory)

    def pending(self) -> bool:
        """Whether a frame may stand at the reading position."""
        current = self._current()
        if current is None or current.over or current.sealed():
            return True
        at = current.position
        return current.bytes_at(at, 4) != _NOTHING or self._clock() >= self._rescan_at

    def read(self, max_frames: int) -> list[Frame]:
        """The next frames, in order; fewer or none if there are no more by now."""
        frames: list[Frame] = []
        while len(frames) < max_frames:
            current = self._current() or self._advance(None)
            if current is None:
                break
            self._read_segment(current, frames, max_frames)
            if len(frames) < max_frames and self._advance(current) is None:
                break
        self.exhausted = self._dead and not frames
        self._tried = None if frames else self._place()
        return frames

    def has_news(self) -> bool:
        """Whether something is other than when the last read found no frame."""
        return self._tried != self._place()

    def _place(self) -> tuple[int, int, bool, bytes]:
        """Where the next frame is to stand, and what stands there."""
        current = self._current()
        if current is None:
            return 0, 0, False, b""
        at = current.position
        over = current.over or current.sealed()
        return current.index, at, over, current.bytes_at(at, HEADER_BYTES)

    def finish(self) -> None:
        """The producer is dead: what does not check now never will."""
        self._dead = True
        self._rescan_at = 0.0

    def acknowledge(self, position: tuple[int, int]) -> None:
        """Free the whole segments before a frame's position: the log has them."""
        while self._segments and self._segments[0].index < position[0]:
            done = self._segments.pop(0)
            self._read_to = max(self._read_to, done.index)
            done.close()
            done.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmap everything; files stay."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        self.control.close()

    def _current(self) -> _Open | None:
        return self._segments[-1] if self._segments else None

    def _read_segment(self, segment: _Open, frames: list[Frame], max_frames: int) -> None:
        segment.refresh()
        while len(frames) < max_frames:
            found = segment.frame()
            if found is None and not self._skip_damage(segment):
                return
            if found is not None:
                format_, number, payload = found
                segment.position += HEADER_BYTES + len(payload)
                frames.append(Frame(format_, number, payload, (segment.index, segment.position)))

    def _advance(self, current: _Open | None) -> _Open | None:
        """Open the segment after the current one, if it has begun."""
        now = self._clock()
        known_over = self._dead or current is None or current.over
        if not known_over and now < self._rescan_at:
            return None
        self._rescan_at = now + RESCAN_S
        following = self._following(current.index if current else self._read_to)
        if following is None:
            return None
        if current is not None and not current.over and not self._dead:
            # The next has begun though this one was not sealed: read what came last, first.
            following.close()
            current.over = True
            return current
        self._segments.append(following)
        self._reached.add(following.path.name)
        return following

    def _following(self, index: int) -> _Open | None:
        """The segment with the next index that holds a frame, or the next at all."""
        if self._dead:
            return self._next_unread(index)
        best: _Open | None = None
        for path in segment_paths(self.directory):
            if any(segment.path == path for segment in self._segments):
                continue
            candidate = _open_segment(path)
            if candidate is None or candidate.index <= index:
                continue
            if best is None or _rank(candidate) < _rank(best):
                best, candidate = candidate, best
            if candidate is not None:
                candidate.close()
        # Without a frame it may be the loser of a race for its index, unless one follows it.
        if best is not None and not (best.over or _has_frames(best)):
            best.close()
            return None
        return best

    def _next_unread(self, index: int) -> _Open | None:
        """The segment of a dead producer that comes next by the numbers of its frames."""
        paths = [path for path in segment_paths(self.directory) if path.name not in self._reached]
        for path in paths:
            if path.name not in self._firsts:
                self._firsts[path.name] = _first_number(path)
        for path in sorted(paths, key=lambda path: (self._firsts[path.name], path.name)):
            self._reached.add(path.name)
            try:
                segment = _Open(path)
            except ValueError:  # empty
                self._on_damage(path, 0, b"")
                continue
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):  # it is whole, and can wait
                    self._reached.discard(path.name)
                    raise
                self.unreadable.append(path)
                continue
            if not segment.is_blank(0) and not _is_unused(segment):
                segment.place_last(index)
                return segment
            segment.close()
        return None

    def _skip_damage(self, segment: _Open) -> bool:
        """Go on behind bytes that do not check; False if no frame follows (yet)."""
        if not (segment.over or self._dead):
            return False
        start = segment.position
        if segment.is_blank(start):
            return False
        found = segment.next_frame(start + 1)
        stop = segment.size if found is None else found
        damaged = segment.content()[start:stop]
        if found is None:
            damaged = damaged.rstrip(b"\0")
        segment.position = stop
        if damaged:
            self._on_damage(segment.path, start, damaged)
        return found is not None


def _open_segment(path: Path) -> _Open | None:
    """Open a segment that has been activated; None for spares and what is no segment."""
    try:
        segment = _Open(path)
    except (OSError, ValueError):  # freed meanwhile, or empty
        return None
    if segment.refresh():
        return segment
    segment.close()
    return None


def _rank(segment: _Open) -> tuple[int, bool]:
    return segment.index, not (segment.over or _has_frames(segment))


def _has_frames(segment: _Open) -> bool:
    return segment.bytes_at(SEGMENT_HEADER_BYTES, 4) != _NOTHING


def _is_unused(segment: _Open) -> bool:
    """Whether a segment was begun and holds nothing: the loser of a race, or the last."""
    return segment.header() is not None and segment.is_blank(SEGMENT_HEADER_BYTES)


def _first_number(path: Path) -> int:
    """The number of the first whole frame in a file; one above all if there is none."""
    try:
        segment = _Open(path)
    except (OSError, ValueError):
        return _NO_NUMBER
    try:
        if segment.is_blank(0):
            return _NO_NUMBER
        found = segment.frame()
        start = segment.next_frame(0) if found is None else None
        if start is not None:
            segment.position = start
            found = segment.frame()
        return _NO_NUMBER if found is None else found[1]
    finally:
        segment.close()


def producer_of(directory: Path, control: Control) -> str:
    """The producer whose frames a spool holds: another than its name says, if it is a copy."""
    headers = [_header_of(path) for path in segment_paths(directory)]
    named = {
        header.producer for header in headers if header is not None and header.producer is not None
    }
    # Beside segments that are damaged all, what the page says may be damage too.
    if control.producer is not None and (named or not headers):
        named.add(control.producer)
    # One that names the directory is enough: what others say may be damage.
    if not named or directory.name in named:
        return directory.name
    return min(named)


def _header_of(path: Path) -> SegmentHeader | None:
    try:
        with path.open("rb") as file:
            return read_header(file.read(SEGMENT_HEADER_BYTES))
    except OSError:
        return None


def spool_directories(pipeline_dir: Path) -> list[Path]:
    """The published spools of a pipeline."""
    with os.scandir(pipeline_dir) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if _HEX_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]
