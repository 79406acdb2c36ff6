"""Where an export goes: a file that is whole or not there, standard output, compressed or not."""

import errno
import gzip
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

STDOUT = Path("-")


@contextmanager
def opened_output(path: Path, *, compress: bool) -> Iterator[IO[bytes]]:
    """Open a file, or standard output for `-`, to write to.

    A file has its name only once the block has ended well; whatever was there before stays until
    then, and for good if the block fails. Raises OSError.
    """
    with _raw_output(path) as raw:
        if not compress:
            yield raw
            return
        # Without name and time: equal events give equal files.
        with gzip.GzipFile("", "wb", 6, cast(io.BytesIO, raw), 0) as file:
            yield cast(IO[bytes], file)


@contextmanager
def _raw_output(path: Path) -> Iterator[BinaryIO]:
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():  # a device or a pipe; a directory says so itself
        with path.open("wb") as file:
            yield file
    else:
        with replaced(path) as file:
            yield file


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place, synced, and move it there in one step. Raises OSError."""
    # Through links, so that a link stays one.
    path = path.resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(path.parent))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
